"""The engine as one value: what every door (the S3 API, commands, background work) is given."""

from __future__ import annotations

from attrs import frozen

from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.objects.copying import ObjectCopier
from s3orchestrator.objects.deleting import ObjectDeleter
from s3orchestrator.objects.listing import ObjectLister
from s3orchestrator.objects.multipart import MultipartUploads
from s3orchestrator.objects.parts import PartWriter
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import ObjectWriter


@frozen
class Objects:
    """Everything that can be done with buckets and objects."""

    catalog: Catalog
    reading: ObjectReader
    writing: ObjectWriter
    deleting: ObjectDeleter
    copying: ObjectCopier
    multipart: MultipartUploads
    parts: PartWriter
    listing: ObjectLister
