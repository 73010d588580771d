"""Operations on multipart uploads."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define

from s3orchestrator.config.live import Live
from s3orchestrator.domain.records import Part, Version
from s3orchestrator.objects.engine import Objects
from s3orchestrator.objects.parts import PartPlace, PartSource
from s3orchestrator.protocol import checksums, documents, listdocuments
from s3orchestrator.protocol.addressing import parse_part_number
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.canonical import canonical_path
from s3orchestrator.protocol.conditions import ReadCondition, WriteCondition
from s3orchestrator.protocol.copysource import CopySource, parse_copy_range
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.listqueries import PartsQuery
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.protocol.requestdocuments import CompleteReader
from s3orchestrator.web.s3.access import AccessControl
from s3orchestrator.web.s3.response import Response, xml
from s3orchestrator.web.s3.task import Task
from s3orchestrator.web.s3.uploading import incoming, read_document, refuse_body


@define(eq=False)
class MultipartOperations:
    """A coroutine per operation; each takes a `Task` and gives a `Response`."""

    _objects: Objects
    _access: AccessControl
    _max_object_size: int
    _max_uploads_by_bucket: Live[Mapping[str, int]]

    async def create(self, task: Task) -> Response:
        call = task.call
        chosen = checksums.for_upload(call.headers)
        algorithm, kind = chosen or (None, None)
        upload = await self._objects.multipart.create(
            task.bucket,
            task.key,
            ObjectMetadata.of(call),
            owner=task.identity.owner_id,
            algorithm=algorithm,
            kind=kind,
            max_open=self._max_uploads_by_bucket.now.get(task.bucket.name, 0),
        )
        headers = {}
        if algorithm and kind:
            headers = {"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": kind}
        return xml(documents.upload_created(task.bucket.name, task.key, upload.id), headers=headers)

    async def upload_part(self, task: Task) -> Response:
        part = await self._objects.parts.put(_place(task), incoming(task, self._max_object_size))
        return Response(headers={"ETag": f'"{part.etag}"', **_checksum_headers(part)})

    async def upload_part_copy(self, task: Task) -> Response:
        call = task.call
        refuse_body(call)
        place = _place(task)
        source = CopySource.of(call)
        bucket = await self._access.reach_source(task.identity, source.bucket)
        condition = ReadCondition.of_copy_source(call)

        def decide(version: Version) -> ByteRange | None:
            condition.check(version.etag, version.modified_ms)
            return parse_copy_range(call.header(b"x-amz-copy-source-range"), version.size)

        part = await self._objects.parts.copy(
            place, PartSource(bucket, source.key, decide, source.version_id)
        )
        return xml(documents.copy_part_result(part.etag, part.modified_ms, part.checksum))

    async def complete(self, task: Task) -> Response:
        call = task.call
        reader = CompleteReader()
        await read_document(task, reader)
        listed = reader.finish()
        version = await self._objects.multipart.complete(
            task.bucket,
            task.key,
            _upload_id(call),
            [(part.number, part.etag, part.checksum) for part in listed],
            size=_declared_size(call),
            expected=_expected_checksum(call),
            condition=WriteCondition.of(call),
        )
        scheme = "https" if call.secure else "http"
        document = documents.upload_completed(
            task.bucket.name,
            task.key,
            version.etag,
            location=f"{scheme}://{call.header(b'host') or ''}{canonical_path(call.path).decode()}",
            checksum=version.checksum,
        )
        return xml(document)

    async def abort(self, task: Task) -> Response:
        await self._objects.multipart.abort(task.bucket, task.key, _upload_id(task.call))
        return Response(204)

    async def list_parts(self, task: Task) -> Response:
        query = PartsQuery.of(task.call.parameters)
        upload, parts = await self._objects.listing.parts(task.bucket, task.key, _upload_id(task.call), query)
        return xml(listdocuments.list_parts(task.bucket.name, upload, query, parts, task.owner))


def _place(task: Task) -> PartPlace:
    number = parse_part_number(task.call.parameters.get("partNumber"))
    return PartPlace(task.bucket, task.key, _upload_id(task.call), number)


def _upload_id(call: Call) -> str:
    return call.parameters.get("uploadId", "")


def _expected_checksum(call: Call) -> checksums.Checksum | None:
    """The whole object's checksum, if the client told it beside its list."""
    return checksums.in_headers(call.headers)


def _declared_size(call: Call) -> int | None:
    text = call.header(b"x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise S3Error("InvalidRequest", "Value for x-amz-mp-object-size header is invalid.")
    return int(text)


def _checksum_headers(part: Part) -> dict[str, str]:
    return {part.checksum.header: part.checksum.value} if part.checksum is not None else {}
