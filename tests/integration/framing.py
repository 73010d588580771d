"""Bodies as clients frame them for S3."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from zlib import crc32

from attrs import define, field, frozen

from tests.integration.asking import Caller, Headers

SIGNED_CHUNKS = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@define
class Chunks:
    """
    Frames a body as aws-chunked, by the letter of Amazon's documentation.

    `request` is the head whose signature the chunks continue, None if they are not signed.
    """

    secret: str = ""
    request: bytes | None = None
    _signature: str = field(init=False, default="")
    _stamp: str = field(init=False, default="")
    _scope: str = field(init=False, default="")
    _key: bytes = field(init=False, default=b"")

    def __attrs_post_init__(self) -> None:
        if self.request is None:
            return
        text = self.request.decode("latin-1")
        self._signature = re.findall(r"Signature=([0-9a-f]{64})", text)[0]
        self._stamp = re.findall(r"x-amz-date: (\S+)", text)[0]
        self._scope = re.findall(r"Credential=[^/]+/([^,]+),", text)[0]
        key = b"AWS4" + self.secret.encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key

    def body(self, pieces: Iterable[bytes], trailers: Sequence[tuple[str, str]] | None = None) -> bytes:
        """Return a whole body; `trailers` is None for a form without."""
        framed = b"".join(self.chunk(piece) for piece in pieces) + self.last()
        return framed + (b"\r\n" if trailers is None else self.trailer(trailers))

    def chunk(self, data: bytes) -> bytes:
        """Return one chunk."""
        return b"%x%s\r\n%s\r\n" % (len(data), self._extension(data), data)

    def last(self) -> bytes:
        """Return the size line that ends the data."""
        return b"0%s\r\n" % self._extension(b"")

    def trailer(self, trailers: Sequence[tuple[str, str]]) -> bytes:
        """Return what comes after the data."""
        lines = "".join(f"{name}:{value}\r\n" for name, value in trailers)
        if self.request is not None:
            signed = "".join(f"{name}:{value}\n" for name, value in trailers)
            lines += f"x-amz-trailer-signature:{self._next('TRAILER', _hex(signed.encode()))}\r\n"
        return f"{lines}\r\n".encode()

    def _extension(self, data: bytes) -> bytes:
        if self.request is None:
            return b""
        return b";chunk-signature=" + self._next("PAYLOAD", f"{_hex(b'')}\n{_hex(data)}").encode()

    def _next(self, what: str, content: str) -> str:
        text = f"AWS4-HMAC-SHA256-{what}\n{self._stamp}\n{self._scope}\n{self._signature}\n{content}"
        self._signature = hmac.new(self._key, text.encode(), "sha256").hexdigest()
        return self._signature


def _hex(data: bytes) -> str:
    return sha256(data).hexdigest()


def http_chunked(data: bytes, size: int) -> bytes:
    """Return `data` in HTTP's own chunks of `size` bytes."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


SMALL = b"The quick brown fox jumps over the lazy dog. " * 100
LARGE = bytes(range(256)) * 4096  # 1 MiB, four times what is kept


EXPECT = {"expect": "100-continue"}


def crc_of(data: bytes) -> str:
    """CRC32 as S3 writes it."""
    return b64encode(crc32(data).to_bytes(4, "big")).decode()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@frozen
class Form:
    """A way to send a body."""

    payload_hash: bytes
    has_trailer: bool

    def request(self, caller: Caller, data: bytes, headers: Headers | None = None, **more: str) -> bytes:
        """The head for `data`, without a word about how long its framed form is."""
        sent: dict[str, str | bytes] = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(data)),
            **(headers or {}),
        }
        if self.has_trailer:
            sent.setdefault("x-amz-trailer", "x-amz-checksum-crc32")
        framed = {"transfer-encoding": "chunked", **sent}
        return caller.request(
            "PUT", more.get("target", "/photos/a"), b"", framed, payload_hash=self.payload_hash
        )

    def chunks(self, caller: Caller, request: bytes) -> Chunks:
        return Chunks(caller.secret, None if self.payload_hash == UNSIGNED_TRAILER else request)

    def body(self, caller: Caller, request: bytes, data: bytes, size: int) -> bytes:
        """The framed body."""
        trailers = [("x-amz-checksum-crc32", crc_of(data))] if self.has_trailer else None
        return self.chunks(caller, request).body(pieces(data, size), trailers)


SIGNED_FORM = "signed, with a trailer"
UNSIGNED_FORM = "unsigned, with a trailer"
FORMS = {
    "signed": Form(SIGNED_CHUNKS, False),
    SIGNED_FORM: Form(SIGNED_TRAILER, True),
    UNSIGNED_FORM: Form(UNSIGNED_TRAILER, True),
}


def with_length(request: bytes, body: bytes) -> bytes:
    """The same request, its body not in HTTP's chunks but counted."""
    assert b"transfer-encoding: chunked\r\n" in request
    return request.replace(b"transfer-encoding: chunked", b"content-length: %d" % len(body))
