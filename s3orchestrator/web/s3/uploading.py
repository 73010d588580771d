"""Request bodies: an object's bytes to be passed on, or a document to be read as it comes."""

from __future__ import annotations

from attrs import define

from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.bodies.sources import discard
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.claims import Kind
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.protocol.payload import Payload
from s3orchestrator.protocol.xml import Reader
from s3orchestrator.web.s3.task import Task

_CHECKSUMS = (b"x-amz-checksum-", b"x-amz-sdk-checksum-algorithm")
MAX_PUT = 5 * 1024**3  # S3's own limit for one request


def incoming(task: Task, max_object_size: int) -> Incoming:
    """
    Return the object or part in a request's body, with what its headers declare.

    :raises S3Error: the headers contradict themselves, or declare too much.
    """
    call = task.call
    payload = payload_of(task)
    limit = min(MAX_PUT, max_object_size)
    if payload.length > limit:
        raise S3Error("EntityTooLarge", ProposedSize=payload.length, MaxSizeAllowed=limit)
    return Incoming(call.body, payload, payload.algorithm)


def refuse_body(call: Call) -> None:
    """
    Refuse a body where none belongs, lest somebody who meant to upload it takes the success for that.

    :raises S3Error: `UnexpectedContent`.
    """
    if call.body.length:
        raise S3Error("UnexpectedContent")


def payload_of(task: Task) -> Payload:
    """Return what the headers say of the body."""
    call = task.call
    headers = call.headers
    if task.operation is Operation.COMPLETE_MULTIPART_UPLOAD:
        # Its checksum is that of the object, not of the list.
        headers = {name: values for name, values in headers.items() if not name.startswith(_CHECKSUMS)}
    if task.verified is not None and task.verified.kind is Kind.QUERY:
        # The JavaScript SDK presigns uploads with the checksum of no body at all, since it has none
        # yet; S3 takes no notice of checksums in a query, so neither do we.
        moved = {
            name: [text.encode("latin-1")]
            for name, text in call.headers_below(b"x-amz-").items()
            if not name.startswith(_CHECKSUMS)
        }
        headers = {**moved, **headers}
    return Payload.of(headers, task.verified, _content_length(call))


def _content_length(call: Call) -> int | None:
    """None both for a body that says itself where it ends, and for a request that says nothing of one."""
    return call.body.length if b"content-length" in call.headers else None


@define(eq=False)
class _Reading:
    """A filter that gives a document to its reader as it arrives, so that no turn of the reactor is long."""

    _reader: Reader

    def resize(self, length: int) -> int:
        return 0

    def update(self, data: bytes) -> bytes:
        self._reader.feed(data)
        return b""

    def finish(self) -> bytes:
        return b""


async def read_document(task: Task, reader: Reader) -> None:
    """
    Feed the whole body to `reader`, verified; its `finish` may be called afterwards.

    :raises S3Error: it is too long, not what was declared, or not XML.
    """
    headers = task.call.headers
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        return
    payload = payload_of(task)
    if payload.length > reader.max_bytes:
        raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=reader.max_bytes)
    body, _ = Incoming(task.call.body, payload).open(want_md5=False)
    await discard(FilteredBody(body, _Reading(reader)))
