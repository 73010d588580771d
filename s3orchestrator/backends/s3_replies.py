"""Headers between us and an S3 service: what we say of a blob, and what it says of one."""

from __future__ import annotations

import re

from twisted.web.iweb import UNKNOWN_LENGTH

from s3orchestrator.backends.exchange import Reply
from s3orchestrator.errors import BackendUnavailable, BlobChanged
from s3orchestrator.interfaces import Description, Fetched, Found, Stored
from s3orchestrator.protocol.encoding import parse_http_date
from s3orchestrator.protocol.ranges import ByteRange

_META = b"x-amz-meta-"
_CONTENT_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


def described(description: Description) -> dict[bytes, bytes]:
    """Return the headers that store `description` with an object."""
    headers = {_META + name.encode(): value.encode() for name, value in description.meta.items()}
    if description.content_type:
        headers[b"content-type"] = description.content_type.encode("latin-1")
    return headers


def bare_etag(value: str) -> str:
    """Return an ETag without its quotes."""
    return value.removeprefix("W/").strip().strip('"')


def etag_of(reply: Reply) -> str:
    """The ETag in a reply's headers, empty if there is none."""
    return bare_etag(reply.headers.get(b"etag", b"").decode("latin-1"))


def version_of(reply: Reply) -> str | None:
    """The version that a reply is about, on a service that keeps versions."""
    found = reply.headers.get(b"x-amz-version-id")
    return found.decode("latin-1") if found is not None else None


def stored(name: str, etag: str, reply: Reply) -> Stored:
    """
    Return what was stored.

    :raises BackendUnavailable: there is no ETag, so that nobody could tell later that a
        reply is about these bytes.
    """
    if not etag:
        raise BackendUnavailable(f"{name}: it answered {reply.status} without an ETag")
    return Stored(etag, version_of(reply))


def found_in(name: str, reply: Reply) -> Found:
    """
    Return what the reply to a HEAD says.

    :raises BackendUnavailable: it does not say how large the object is.
    """
    headers = reply.headers
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 18:
        raise BackendUnavailable(f"{name}: no length in the answer to a HEAD")
    modified = parse_http_date(headers.get(b"last-modified", b"").decode("latin-1"))
    meta = {
        key[len(_META) :].decode("latin-1"): value.decode("latin-1")
        for key, value in headers.items()
        if key.startswith(_META)
    }
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return Found(int(length), etag_of(reply), (modified or 0) * 1000, content_type, meta, version_of(reply))


def fetched(name: str, reply: Reply, wanted: ByteRange | None, etag: str | None) -> Fetched:
    """
    Return the object in a reply, after making sure that it is the one and the bytes that were asked for.

    The body is stopped if it is not.

    :raises BlobChanged: it is another object, or does not reach as far.
    :raises BackendUnavailable: the reply does not say what it is.
    """
    try:
        return _checked(name, reply, wanted, etag)
    except Exception:
        reply.body.stopProducing()
        raise


def _checked(name: str, reply: Reply, wanted: ByteRange | None, etag: str | None) -> Fetched:
    given = etag_of(reply)
    if etag is not None and given != etag:
        raise BlobChanged(f"{name}: the object's ETag is {given}, not {etag}")
    length = reply.body.length
    if length is UNKNOWN_LENGTH:
        raise BackendUnavailable(f"{name}: an object without a length")
    if wanted is None:
        if reply.status != 200:
            raise BackendUnavailable(f"{name}: a part of an object that was asked for whole")
        return Fetched(length, given, reply.body)
    if reply.status == 206:
        size = _size_of_range(name, reply, wanted)
    else:
        size = length
    reach = min(wanted.end, size - 1) - wanted.start + 1
    if length != reach:
        raise BackendUnavailable(f"{name}: {length} bytes instead of the {reach} that were asked for")
    return Fetched(size, given, reply.body)


def _size_of_range(name: str, reply: Reply, wanted: ByteRange) -> int:
    found = _CONTENT_RANGE.fullmatch(reply.headers.get(b"content-range", b""))
    if found is None:
        raise BackendUnavailable(f"{name}: a part of an object that does not say which")
    start, end, size = map(int, found.groups())
    if (start, end) != (wanted.start, min(wanted.end, size - 1)):
        raise BackendUnavailable(f"{name}: other bytes than were asked for")
    return size
