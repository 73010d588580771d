"""Operations on whole objects."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from s3orchestrator.domain.records import Version
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.objects.copying import CopyOrder
from s3orchestrator.objects.engine import Objects
from s3orchestrator.objects.reading import Answered
from s3orchestrator.protocol import documents
from s3orchestrator.protocol.addressing import parse_part_number, parse_version_id
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.checksums import Checksum, for_copy
from s3orchestrator.protocol.conditions import ReadCondition, WriteCondition
from s3orchestrator.protocol.copysource import CopySource, check_tagging_directive, replaces_metadata
from s3orchestrator.protocol.encoding import http_date
from s3orchestrator.protocol.errors import DEGRADED, S3Error
from s3orchestrator.protocol.listqueries import AttributesQuery
from s3orchestrator.protocol.metadata import ObjectMetadata, response_overrides
from s3orchestrator.protocol.ranges import ByteRange, parse_range
from s3orchestrator.web.s3.access import AccessControl
from s3orchestrator.web.s3.response import Response, xml
from s3orchestrator.web.s3.task import Task
from s3orchestrator.web.s3.uploading import incoming, refuse_body

_SHOWN_UNCHANGED = ("Cache-Control", "Expires")  # RFC 9110 section 15.4.5: what a cache keeps


class NotModified(Answered):
    """The client has this version already."""


class EmptyPart(Answered):
    """The part that is asked for has no bytes, so that no range can name it."""


@define(eq=False)
class ObjectOperations:
    """A coroutine per operation; each takes a `Task` and gives a `Response`."""

    _objects: Objects
    _access: AccessControl
    _max_object_size: int

    async def put_object(self, task: Task) -> Response:
        call = task.call
        version = await self._objects.writing.put(
            task.bucket,
            task.key,
            incoming(task, self._max_object_size),
            ObjectMetadata.of(call),
            WriteCondition.of(call),
        )
        return Response(headers={"ETag": f'"{version.etag}"', **_checksum_headers(version.checksum)})

    async def get_object(self, task: Task) -> Response:
        call = task.call
        overrides = response_overrides(call)
        try:
            opened = await self._objects.reading.get(
                task.bucket, task.key, _decider(call), _version_id(call), degraded=task.operation.label
            )
        except NotModified as same:
            return Response(304, _unchanged_headers(same.version))
        except EmptyPart as empty:
            return _empty_part(call, empty.version, overrides)
        return _object_response(call, opened.version, opened.wanted, overrides, opened.body)

    async def head_object(self, task: Task) -> Response:
        call = task.call
        overrides = response_overrides(call)
        version = await self._objects.reading.head(
            task.bucket, task.key, _version_id(call), degraded=task.operation.label
        )
        try:
            wanted = _decider(call)(version)
        except NotModified as same:
            return Response(304, _unchanged_headers(same.version))
        except EmptyPart as empty:
            return _empty_part(call, empty.version, overrides)
        return _object_response(call, version, wanted, overrides, None)

    async def delete_object(self, task: Task) -> Response:
        call = task.call
        await self._objects.deleting.delete(
            task.bucket, task.key, _version_id(call), WriteCondition.of(call) or None
        )
        return Response(204)

    async def copy_object(self, task: Task) -> Response:
        call = task.call
        refuse_body(call)
        source = CopySource.of(call)
        check_tagging_directive(call)
        replace = replaces_metadata(call)
        source_bucket = await self._access.reach_source(task.identity, source.bucket)
        if (source.bucket, source.key) == (task.bucket.name, task.key) and not replace:
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without"
                " changing the object's metadata, storage class, website redirect location or encryption"
                " attributes.",
            )
        condition = ReadCondition.of_copy_source(call)

        def check(version: Version) -> None:
            condition.check(version.etag, version.modified_ms)
            if version.size > self._max_object_size:
                raise S3Error(
                    "InvalidRequest",
                    "The specified copy source is larger than the maximum allowable size for a copy source:"
                    f" {self._max_object_size}",
                )

        _, made = await self._objects.copying.copy(
            CopyOrder(
                source_bucket,
                source.key,
                task.bucket,
                task.key,
                check,
                source.version_id,
                ObjectMetadata.of(call) if replace else None,
                for_copy(call.headers),
                WriteCondition.of(call),
            )
        )
        return xml(documents.copy_result(made.etag, made.modified_ms, made.checksum))

    async def get_attributes(self, task: Task) -> Response:
        call = task.call
        query = AttributesQuery.of(
            call.header(b"x-amz-object-attributes"),
            call.header(b"x-amz-max-parts"),
            call.header(b"x-amz-part-number-marker"),
        )
        version = await self._objects.reading.head(task.bucket, task.key, _version_id(call))
        if ReadCondition.of(call).check(version.etag, version.modified_ms) == "not_modified":
            return Response(304, _unchanged_headers(version))
        return xml(
            documents.attributes(query, version, version.metadata.storage_class),
            headers={"Last-Modified": http_date(version.modified_ms // 1000)},
        )

    async def get_acl(self, task: Task) -> Response:
        await self._objects.reading.head(task.bucket, task.key, _version_id(task.call))
        return xml(documents.acl(task.owner))

    async def get_tagging(self, task: Task) -> Response:
        await self._objects.reading.head(task.bucket, task.key, _version_id(task.call))
        return xml(documents.tagging())


def _version_id(call: Call) -> str | None:
    return parse_version_id(call.parameters.get("versionId")) if call.query else None


def _decider(call: Call) -> Callable[[Version], ByteRange | None]:
    """Return what decides about a version: conditions first, then the part or the range."""
    condition = ReadCondition.of(call)
    number = call.parameters.get("partNumber") if call.query else None
    part = None if number is None else parse_part_number(number)
    header = call.header(b"range")
    if part is not None and header is not None:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")

    def decide(version: Version) -> ByteRange | None:
        if condition and condition.check(version.etag, version.modified_ms) == "not_modified":
            raise NotModified(version)
        if part is not None:
            return _range_of_part(version, part)
        return parse_range(header, version.size)

    return decide


def _range_of_part(version: Version, number: int) -> ByteRange | None:
    """
    Where a part lies; an object that was put whole is its own first part.

    :raises StoreUnavailable: only the ledger knows, and it is away.
    """
    if not version.parts_known:
        raise StoreUnavailable(f"the parts of {version.key} are not known without the database")
    start = 0
    for place, part in enumerate(version.parts, 1):
        if place == number:
            if not part.size:
                raise EmptyPart(version)
            return ByteRange(start, start + part.size - 1)
        start += part.size
    if not version.parts and number == 1:
        return ByteRange(0, version.size - 1) if version.size else None
    raise S3Error("InvalidPartNumber", ActualPartCount=len(version.parts) or 1, PartNumberRequested=number)


def _unchanged_headers(version: Version) -> dict[str, str]:
    stored = version.metadata.headers
    headers = {name: stored[name] for name in _SHOWN_UNCHANGED if name in stored}
    headers["ETag"] = f'"{version.etag}"'
    headers["Last-Modified"] = http_date(version.modified_ms // 1000)
    if version.is_hearsay:
        headers[DEGRADED] = "true"
    return headers


def _object_headers(call: Call, version: Version, overrides: dict[str, str]) -> dict[str, str]:
    """What is told of an object, whichever of its bytes are sent."""
    headers = version.metadata.response_headers()
    headers["ETag"] = f'"{version.etag}"'
    headers["Last-Modified"] = http_date(version.modified_ms // 1000)
    headers["Accept-Ranges"] = "bytes"
    if version.is_hearsay:
        headers[DEGRADED] = "true"
    if overrides:
        headers.update(overrides)
    if version.parts and _is_by_part(call):
        headers["x-amz-mp-parts-count"] = str(len(version.parts))
    return headers


def _is_by_part(call: Call) -> bool:
    return bool(call.query) and "partNumber" in call.parameters


def _empty_part(call: Call, version: Version, overrides: dict[str, str]) -> Response:
    return Response(206, _object_headers(call, version, overrides), length=0)


def _object_response(
    call: Call, version: Version, wanted: ByteRange | None, overrides: dict[str, str], body: object | None
) -> Response:
    headers = _object_headers(call, version, overrides)
    if call.header(b"x-amz-checksum-mode") == "ENABLED":
        headers.update(_checksum_headers(_checksum_to_tell(call, version, wanted)))
    length = version.size
    status = 200
    if wanted is not None:
        headers["Content-Range"] = wanted.content_range(version.size)
        length, status = wanted.length, 206
    if body is None:
        return Response(status, headers, length=length)
    return Response(status, headers, body)  # type: ignore[arg-type]


def _checksum_to_tell(call: Call, version: Version, wanted: ByteRange | None) -> Checksum | None:
    """The whole's with the whole, a part's with the part, none with a range."""
    by_part = _is_by_part(call)
    if wanted is None or (by_part and not version.parts):
        return version.checksum
    if by_part:
        return version.parts[int(call.parameters["partNumber"]) - 1].checksum
    return None


def _checksum_headers(checksum: Checksum | None) -> dict[str, str]:
    if checksum is None:
        return {}
    return {checksum.header: checksum.value, "x-amz-checksum-type": checksum.kind}
