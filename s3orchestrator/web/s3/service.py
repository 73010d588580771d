"""Operations on the service and on buckets."""

from __future__ import annotations

from attrs import define

from s3orchestrator.errors import BucketExists
from s3orchestrator.objects.engine import Objects
from s3orchestrator.protocol import documents, listdocuments
from s3orchestrator.protocol.addressing import check_key_length, is_valid_bucket_name
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.encoding import encode_key
from s3orchestrator.protocol.errors import S3Error, as_s3_error
from s3orchestrator.protocol.listqueries import BucketsQuery, ListQuery
from s3orchestrator.protocol.operations import subresource_of
from s3orchestrator.protocol.requestdocuments import CreateBucketReader, DeleteEntry, DeleteReader
from s3orchestrator.web.s3.access import AccessControl
from s3orchestrator.web.s3.response import Response, xml
from s3orchestrator.web.s3.task import REGION, Task
from s3orchestrator.web.s3.uploading import read_document


@define(eq=False)
class BucketOperations:
    """A coroutine per operation; each takes a `Task` and gives a `Response`."""

    _objects: Objects
    _access: AccessControl

    async def list_buckets(self, task: Task) -> Response:
        query = BucketsQuery.of(task.call.parameters)
        buckets, token = query.select(self._access.visible(task.identity))
        return xml(listdocuments.list_buckets(task.owner, buckets, query, token, REGION))

    async def head_bucket(self, task: Task) -> Response:
        return Response(headers={"x-amz-bucket-region": REGION, "Content-Type": documents.CONTENT_TYPE})

    async def create_bucket(self, task: Task) -> Response:
        name = task.call.bucket or ""
        if not is_valid_bucket_name(name):
            raise S3Error("InvalidBucketName", BucketName=name)
        reader = CreateBucketReader()
        await read_document(task, reader)
        reader.finish(_region_named_by(task))
        assert task.identity.user is not None  # nobody else may create buckets
        try:
            await self._objects.catalog.create(name, task.identity.user)
        except BucketExists as error:
            raise as_s3_error(self._as_seen(task, name, error), bucket=name) from error
        return Response(headers={"Location": f"/{encode_key(name)}"})

    def _as_seen(self, task: Task, name: str, error: BucketExists) -> BucketExists:
        """A bucket of the file that the caller may use counts as the caller's: tools go on with it."""
        bucket = self._objects.catalog.find(name)
        owned = bucket is not None and task.identity.may_see(bucket)
        return BucketExists(name, owned=owned or error.owned)

    async def delete_bucket(self, task: Task) -> Response:
        await self._objects.catalog.delete(task.bucket)
        return Response(204)

    async def get_location(self, task: Task) -> Response:
        return xml(documents.location(REGION))

    async def get_versioning(self, task: Task) -> Response:
        return xml(documents.versioning())

    async def get_acl(self, task: Task) -> Response:
        return xml(documents.acl(task.owner))

    async def get_subresource(self, task: Task) -> Response:
        return xml(documents.unconfigured(subresource_of(task.call) or "", task.bucket.name))

    async def delete_subresource(self, task: Task) -> Response:
        """What was never set is deleted already."""
        return Response(204)

    async def list_objects(self, task: Task) -> Response:
        query = ListQuery.objects(task.call.parameters)
        page = await self._objects.listing.objects(task.bucket, query)
        return xml(listdocuments.list_objects(task.bucket.name, query, page, task.owner))

    async def list_objects_v2(self, task: Task) -> Response:
        query = ListQuery.objects_v2(task.call.parameters)
        page = await self._objects.listing.objects(task.bucket, query)
        return xml(listdocuments.list_objects_v2(task.bucket.name, query, page, task.owner))

    async def list_versions(self, task: Task) -> Response:
        query = ListQuery.versions(task.call.parameters)
        page = await self._objects.listing.versions(task.bucket, query)
        return xml(listdocuments.list_versions(task.bucket.name, query, page, task.owner))

    async def list_uploads(self, task: Task) -> Response:
        query = ListQuery.uploads(task.call.parameters)
        page = await self._objects.listing.uploads(task.bucket, query)
        return xml(listdocuments.list_uploads(task.bucket.name, query, page, task.owner))

    async def delete_objects(self, task: Task) -> Response:
        reader = DeleteReader()
        await read_document(task, reader)
        request = reader.finish()
        for entry in request.entries:
            check_key_length(entry.key)
        outcome = await self._objects.deleting.delete_many(
            task.bucket, [(entry.key, entry.version_id, _condition(entry)) for entry in request.entries]
        )
        deletions = [
            documents.Deletion(
                entry.key,
                entry.version_id,
                None if removed.error is None else as_s3_error(removed.error, key=entry.key),
            )
            for entry, removed in zip(request.entries, outcome, strict=True)
        ]
        return xml(documents.delete_result(deletions, quiet=request.quiet))


def _region_named_by(task: Task) -> str:
    """The region a client believes to be in: it may sign for any, and creates its buckets there."""
    return task.verified.credential.region if task.verified is not None else REGION


def _condition(entry: DeleteEntry) -> WriteCondition | None:
    return None if entry.etag is None else WriteCondition(if_match=(entry.etag,))
