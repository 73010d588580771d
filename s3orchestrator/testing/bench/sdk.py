"""Requests as an SDK makes them: signed, with all the headers that one sends beside what S3 needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from uuid import UUID

from attrs import define, field

from s3orchestrator.protocol.forms import UNSIGNED_PAYLOAD
from s3orchestrator.protocol.signer import Signer

REGION = "us-east-1"
NO_HEADERS: Mapping[bytes, bytes] = {}

# boto3's, which are about as long as anybody's.
_USER_AGENT = (
    b"Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux#6.1.0 md/arch#x86_64 lang/python#3.11.2"
    b" md/pyimpl#CPython cfg/retry-mode#standard Botocore/1.40.1"
)
_FIXED = {
    b"User-Agent": _USER_AGENT,
    b"Accept-Encoding": b"identity",
    b"amz-sdk-request": b"attempt=1",
}


@define(eq=False)
class Sdk:
    """
    Somebody with a key pair, and a clock that gives Unix time in seconds.

    A request is good for 15 minutes after it was made, as often as it is sent.
    """

    host: bytes
    access_key_id: str
    secret: str = field(repr=False)
    _now: Callable[[], float]
    _signer: Signer = field(init=False)
    _made: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._signer = Signer(self.host, REGION, self.access_key_id, self.secret)

    def request(
        self,
        method: bytes,
        path: bytes,
        query: bytes = b"",
        body: bytes = b"",
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> bytes:
        """Return a whole request; the hash of its body is signed, and what `headers` must be (`x-amz-*`)."""
        digest = sha256(body).hexdigest().encode()
        has_body = method in (b"PUT", b"POST")
        length = {b"Content-Length": b"%d" % len(body)} if has_body else {}
        return self._head(method, path, query, digest, {**length, **headers}) + body

    def upload(
        self,
        path: bytes,
        size: int,
        payload_hash: bytes = UNSIGNED_PAYLOAD,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
        query: bytes = b"",
    ) -> bytes:
        """Return the head of a PUT of `size` bytes."""
        return self._head(b"PUT", path, query, payload_hash, {b"Content-Length": b"%d" % size, **headers})

    def _head(
        self, method: bytes, path: bytes, query: bytes, payload_hash: bytes, more: Mapping[bytes, bytes]
    ) -> bytes:
        self._made += 1
        signed = self._signer.sign(method, path, query, more, payload_hash, now=self._now())
        invocation = {b"amz-sdk-invocation-id": str(UUID(int=self._made)).encode()}
        headers = {b"Host": self.host} | _FIXED | invocation | signed | dict(more)
        target = path + b"?" + query if query else path
        lines = [b"%s %s HTTP/1.1" % (method, target)]
        lines += [b"%s: %s" % header for header in headers.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n"
