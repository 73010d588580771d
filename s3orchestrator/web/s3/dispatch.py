"""Which coroutine serves which operation."""

from __future__ import annotations

from collections.abc import Mapping

from s3orchestrator.protocol.operations import Operation
from s3orchestrator.web.s3.multipart import MultipartOperations
from s3orchestrator.web.s3.object import ObjectOperations
from s3orchestrator.web.s3.service import BucketOperations
from s3orchestrator.web.s3.task import Operate


def dispatch_table(
    buckets: BucketOperations, objects: ObjectOperations, uploads: MultipartOperations
) -> Mapping[Operation, Operate]:
    """Return the whole table; a test sees to it that no operation is missing."""
    return {
        Operation.LIST_BUCKETS: buckets.list_buckets,
        Operation.HEAD_BUCKET: buckets.head_bucket,
        Operation.CREATE_BUCKET: buckets.create_bucket,
        Operation.DELETE_BUCKET: buckets.delete_bucket,
        Operation.GET_BUCKET_LOCATION: buckets.get_location,
        Operation.GET_BUCKET_VERSIONING: buckets.get_versioning,
        Operation.GET_BUCKET_ACL: buckets.get_acl,
        Operation.GET_BUCKET_SUBRESOURCE: buckets.get_subresource,
        Operation.DELETE_BUCKET_SUBRESOURCE: buckets.delete_subresource,
        Operation.LIST_OBJECTS: buckets.list_objects,
        Operation.LIST_OBJECTS_V2: buckets.list_objects_v2,
        Operation.LIST_OBJECT_VERSIONS: buckets.list_versions,
        Operation.LIST_MULTIPART_UPLOADS: buckets.list_uploads,
        Operation.DELETE_OBJECTS: buckets.delete_objects,
        Operation.GET_OBJECT: objects.get_object,
        Operation.HEAD_OBJECT: objects.head_object,
        Operation.GET_OBJECT_ATTRIBUTES: objects.get_attributes,
        Operation.GET_OBJECT_ACL: objects.get_acl,
        Operation.GET_OBJECT_TAGGING: objects.get_tagging,
        Operation.PUT_OBJECT: objects.put_object,
        Operation.COPY_OBJECT: objects.copy_object,
        Operation.DELETE_OBJECT: objects.delete_object,
        Operation.CREATE_MULTIPART_UPLOAD: uploads.create,
        Operation.UPLOAD_PART: uploads.upload_part,
        Operation.UPLOAD_PART_COPY: uploads.upload_part_copy,
        Operation.COMPLETE_MULTIPART_UPLOAD: uploads.complete,
        Operation.ABORT_MULTIPART_UPLOAD: uploads.abort,
        Operation.LIST_PARTS: uploads.list_parts,
    }
