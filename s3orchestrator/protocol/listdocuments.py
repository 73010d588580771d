"""The documents that answer listings. A page of 1000 keys must not take more than a millisecond or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.documents import Owner, document
from s3orchestrator.protocol.encoding import encode_key, xml_time
from s3orchestrator.protocol.listing import Page
from s3orchestrator.protocol.listqueries import BucketsQuery, ListQuery, PartsQuery
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.xml import escape

Text = Callable[[str], str]


class BucketRow(Protocol):
    """A bucket as ListBuckets shows it."""

    @property
    def name(self) -> str: ...

    @property
    def created_ms(self) -> int: ...


class ObjectRow(Protocol):
    """A version as listings show it."""

    @property
    def key(self) -> str: ...

    @property
    def version_id(self) -> str: ...

    @property
    def is_latest(self) -> bool: ...

    @property
    def is_delete_marker(self) -> bool: ...

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str: ...

    @property
    def modified_ms(self) -> int: ...

    @property
    def storage_class(self) -> str: ...

    @property
    def checksum_algorithm(self) -> str | None: ...

    @property
    def checksum_kind(self) -> str | None: ...


class UploadRow(Protocol):
    """An unfinished upload as ListMultipartUploads shows it."""

    @property
    def id(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def initiated_ms(self) -> int: ...

    @property
    def metadata(self) -> ObjectMetadata: ...

    @property
    def checksum_algorithm(self) -> str | None: ...

    @property
    def checksum_kind(self) -> str | None: ...


class PartRow(Protocol):
    """A part as ListParts shows it."""

    @property
    def number(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str: ...

    @property
    def modified_ms(self) -> int: ...

    @property
    def checksum(self) -> Checksum | None: ...


def _text(url: bool) -> Text:
    """Return how names are written: percent-encoded, which needs no escaping, or escaped."""
    return encode_key if url else escape


def _boolean(value: bool, /) -> str:
    return "true" if value else "false"


def _optional(tag: str, value: str | None) -> str:
    return f"<{tag}>{value}</{tag}>" if value else ""


def _prefixes(page: Page[Any], text: Text) -> str:
    return "".join(
        f"<CommonPrefixes><Prefix>{text(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes
    )


def list_buckets(
    owner: Owner,
    buckets: Sequence[BucketRow],
    query: BucketsQuery,
    token: str | None = None,
    region: str = "",
) -> bytes:
    """Answer ListBuckets with what `query.select` gave; the region is told to those who page."""
    place = f"<BucketRegion>{escape(region)}</BucketRegion>" if query.paged and region else ""
    rows = "".join(
        f"<Bucket><Name>{escape(bucket.name)}</Name><CreationDate>{xml_time(bucket.created_ms)}</CreationDate>"
        f"{place}</Bucket>"
        for bucket in buckets
    )
    return document(
        "ListAllMyBucketsResult",
        f"{owner.element()}<Buckets>{rows}</Buckets>{_optional('ContinuationToken', token)}"
        f"{_optional('Prefix', escape(query.prefix))}",
    )


def list_objects(bucket: str, query: ListQuery, page: Page[Any], owner: Owner) -> bytes:
    """Answer ListObjects; without a delimiter clients go on from the last key."""
    text = _text(query.url)
    following = page.last.name if page.truncated and query.delimiter else None
    return document(
        "ListBucketResult",
        f"<Name>{escape(bucket)}</Name><Prefix>{text(query.prefix)}</Prefix><Marker>{text(query.marker)}</Marker>"
        f"{_optional('NextMarker', following and text(following))}{_common(query, page)}"
        f"{_contents(page.rows, text, owner.element())}{_prefixes(page, text)}",
    )


def list_objects_v2(bucket: str, query: ListQuery, page: Page[Any], owner: Owner) -> bytes:
    """Answer ListObjectsV2."""
    text = _text(query.url)
    start = "" if query.start_after is None else f"<StartAfter>{text(query.start_after)}</StartAfter>"
    token = "" if query.token is None else f"<ContinuationToken>{escape(query.token)}</ContinuationToken>"
    following = page.last.token() if page.truncated else None
    return document(
        "ListBucketResult",
        f"<Name>{escape(bucket)}</Name><Prefix>{text(query.prefix)}</Prefix>{start}{token}"
        f"{_optional('NextContinuationToken', following)}"
        f"<KeyCount>{len(page.rows) + len(page.prefixes)}</KeyCount>{_common(query, page)}"
        f"{_contents(page.rows, text, owner.element() if query.fetch_owner else '')}{_prefixes(page, text)}",
    )


def list_versions(bucket: str, query: ListQuery, page: Page[Any], owner: Owner) -> bytes:
    """Answer ListObjectVersions."""
    text = _text(query.url)
    following = (
        f"<NextKeyMarker>{text(page.last.name)}</NextKeyMarker>"
        f"{_optional('NextVersionIdMarker', page.last.id and escape(page.last.id))}"
        if page.truncated
        else ""
    )
    rows = "".join(_version(row, text, owner.element()) for row in page.rows)
    return document(
        "ListVersionsResult",
        f"<Name>{escape(bucket)}</Name><Prefix>{text(query.prefix)}</Prefix>"
        f"<KeyMarker>{text(query.marker)}</KeyMarker>"
        f"<VersionIdMarker>{escape(query.id_marker)}</VersionIdMarker>"
        f"{following}{_common(query, page)}{rows}{_prefixes(page, text)}",
    )


def list_uploads(bucket: str, query: ListQuery, page: Page[Any], owner: Owner) -> bytes:
    """Answer ListMultipartUploads."""
    text = _text(query.url)
    following = (
        f"<NextKeyMarker>{text(page.last.name)}</NextKeyMarker>"
        f"<NextUploadIdMarker>{escape(page.last.id or '')}</NextUploadIdMarker>"
        if page.truncated
        else ""
    )
    rows = "".join(_upload(row, text, owner) for row in page.rows)
    return document(
        "ListMultipartUploadsResult",
        f"<Bucket>{escape(bucket)}</Bucket><KeyMarker>{text(query.marker)}</KeyMarker>"
        f"<UploadIdMarker>{escape(query.id_marker)}</UploadIdMarker>{following}"
        f"<Prefix>{text(query.prefix)}</Prefix>{_common(query, page, limit='MaxUploads')}"
        f"{rows}{_prefixes(page, text)}",
    )


def list_parts(
    bucket: str, upload: UploadRow, query: PartsQuery, parts: Sequence[PartRow], owner: Owner
) -> bytes:
    """
    Answer ListParts.

    `parts` begins after the marker; one more than `query.limit` tells that there are more.
    """
    text = _text(query.url)
    page = parts[: query.limit]
    following = page[-1].number if page else query.marker
    return document(
        "ListPartsResult",
        f"<Bucket>{escape(bucket)}</Bucket><Key>{text(upload.key)}</Key><UploadId>{escape(upload.id)}</UploadId>"
        f"{owner.element('Initiator')}{owner.element()}"
        f"<StorageClass>{escape(upload.metadata.storage_class)}</StorageClass>"
        f"<PartNumberMarker>{query.marker}</PartNumberMarker>"
        f"<NextPartNumberMarker>{following}</NextPartNumberMarker><MaxParts>{query.limit}</MaxParts>"
        f"{'<EncodingType>url</EncodingType>' if query.url else ''}"
        f"<IsTruncated>{_boolean(bool(page) and len(parts) > len(page))}</IsTruncated>{_algorithm(upload)}"
        f"{''.join(map(_part, page))}",
    )


def _common(query: ListQuery, page: Page[Any], limit: str = "MaxKeys") -> str:
    """Return the elements that stand in the middle of all listings of keys."""
    delimiter = _text(query.url)(query.delimiter)
    return (
        f"<{limit}>{query.limit}</{limit}>{_optional('Delimiter', delimiter)}"
        f"{'<EncodingType>url</EncodingType>' if query.url else ''}"
        f"<IsTruncated>{_boolean(page.truncated)}</IsTruncated>"
    )


def _contents(rows: Sequence[ObjectRow], text: Text, owner: str) -> str:
    return "".join(
        [
            f"<Contents><Key>{text(row.key)}</Key><LastModified>{xml_time(row.modified_ms)}</LastModified>"
            f"<ETag>&quot;{escape(row.etag)}&quot;</ETag>{_algorithm(row)}<Size>{row.size}</Size>"
            f"<StorageClass>{row.storage_class}</StorageClass>{owner}</Contents>"
            for row in rows
        ]
    )


def _version(row: ObjectRow, text: Text, owner: str) -> str:
    named = (
        f"<Key>{text(row.key)}</Key><VersionId>{escape(row.version_id)}</VersionId>"
        f"<IsLatest>{_boolean(row.is_latest)}</IsLatest>"
        f"<LastModified>{xml_time(row.modified_ms)}</LastModified>"
    )
    if row.is_delete_marker:
        return f"<DeleteMarker>{named}{owner}</DeleteMarker>"
    return (
        f"<Version>{named}<ETag>&quot;{escape(row.etag)}&quot;</ETag>{_algorithm(row)}<Size>{row.size}</Size>"
        f"<StorageClass>{row.storage_class}</StorageClass>{owner}</Version>"
    )


def _upload(row: UploadRow, text: Text, owner: Owner) -> str:
    return (
        f"<Upload><Key>{text(row.key)}</Key><UploadId>{escape(row.id)}</UploadId>"
        f"{owner.element('Initiator')}{owner.element()}"
        f"<StorageClass>{escape(row.metadata.storage_class)}</StorageClass>"
        f"<Initiated>{xml_time(row.initiated_ms)}</Initiated>{_algorithm(row)}</Upload>"
    )


def _part(part: PartRow) -> str:
    checksum = part.checksum
    value = "" if checksum is None else f"<{checksum.element}>{escape(checksum.value)}</{checksum.element}>"
    return (
        f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{xml_time(part.modified_ms)}</LastModified>"
        f"<ETag>&quot;{escape(part.etag)}&quot;</ETag><Size>{part.size}</Size>{value}</Part>"
    )


def _algorithm(row: ObjectRow | UploadRow) -> str:
    """Name the checksum of a row, not its value: that is for those who ask for the object."""
    if row.checksum_algorithm is None:
        return ""
    kind = f"<ChecksumType>{row.checksum_kind}</ChecksumType>" if row.checksum_kind else ""
    return f"<ChecksumAlgorithm>{row.checksum_algorithm.upper()}</ChecksumAlgorithm>{kind}"
