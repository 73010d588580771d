"""
The aws-chunked framing of uploads: sizes, perhaps signatures, and trailers between the data.

It has nothing to do with HTTP's own chunked coding, inside which it may come.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from attrs import define, field

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.keys import PreparedHmac

# 16 digits, ";chunk-signature=", 64 digits, CR; a little more for extensions nobody has invented yet.
MAX_SIZE_LINE = 256
# One checksum and one signature take 200 bytes.
MAX_TRAILER = 4096

_HEX = b"0123456789abcdefABCDEF"
_NOTHING = sha256(b"").hexdigest().encode()
_SIGNATURE = b"chunk-signature="
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"


@define(eq=False, repr=False)
class SignatureChain:
    """
    Signatures each of which covers the one before; the first is the request's.

    `key`, `timestamp` and `scope` are those of the request.
    """

    _key: PreparedHmac
    _timestamp: bytes
    _scope: bytes
    _previous: bytes

    def check_chunk(self, signature: bytes, digest: bytes) -> None:
        """
        Check a chunk by the SHA-256 of its data, in hex.

        :raises S3Error: `SignatureDoesNotMatch`.
        """
        self._check(signature, b"AWS4-HMAC-SHA256-PAYLOAD", b"%s\n%s" % (_NOTHING, digest))

    def check_trailer(self, signature: bytes, trailer: bytes) -> None:
        """
        Check the trailer, given as `name:value` and a newline each.

        :raises S3Error: `SignatureDoesNotMatch`.
        """
        self._check(signature, b"AWS4-HMAC-SHA256-TRAILER", sha256(trailer).hexdigest().encode())

    def _check(self, signature: bytes, algorithm: bytes, content: bytes) -> None:
        signed = b"%s\n%s\n%s\n%s\n%s" % (algorithm, self._timestamp, self._scope, self._previous, content)
        expected = self._key.hexdigest(signed).encode()
        if not compare_digest(expected, signature):
            raise S3Error("SignatureDoesNotMatch")
        self._previous = expected


class _Sha256(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


@define(eq=False, repr=False)
class ChunkDecoder:
    """
    A filter that takes the framing away; `length` is that of the data inside.

    The data of a signed chunk goes on before its signature is known, all but its last
    bytes; so a body may only be used as a whole, and not before `finish` has returned.
    `trailers` is complete then. `chain` is None for unsigned chunks; `expected` are the
    names the request said would come as trailers, `has_trailer` says whether any may.

    It is always reading one of four things: a size line, data, the end of data, or all that
    comes after the last chunk.
    """

    length: int
    _chain: SignatureChain | None = None
    _expected: frozenset[bytes] = frozenset()
    _has_trailer: bool = False
    trailers: dict[bytes, bytes] = field(init=False, factory=dict)
    _read: Callable[[bytes, int, list[bytes | memoryview]], int] = field(init=False)
    _line: bytearray = field(init=False, factory=bytearray)
    _to_come: int = field(init=False)
    _left: int = field(init=False, default=0)
    _signature: bytes = field(init=False, default=b"")
    _hash: _Sha256 | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._read = self._read_size
        self._to_come = self.length

    def resize(self, length: int) -> int:
        return self.length

    def update(self, data: bytes) -> bytes:
        found: list[bytes | memoryview] = []
        position = 0
        while position < len(data):
            position = self._read(data, position, found)
        if len(found) == 1 and isinstance(found[0], bytes):
            return found[0]
        return b"".join(found)

    def finish(self) -> bytes:
        if self._read != self._read_rest:
            raise S3Error("IncompleteBody")
        self._read_trailers(bytes(self._line))
        return b""

    def _read_size(self, data: bytes, position: int, found: list[bytes | memoryview]) -> int:
        end = data.find(b"\n", position, position + MAX_SIZE_LINE) + 1
        self._line += data[position : end or position + MAX_SIZE_LINE]
        if len(self._line) >= MAX_SIZE_LINE:
            raise _malformed()
        if not end:
            return len(data)
        line = bytes(self._line)
        self._line.clear()
        self._begin_chunk(line)
        return end

    def _begin_chunk(self, line: bytes) -> None:
        digits, _, extension = line.removesuffix(b"\r\n").partition(b";")
        if not line.endswith(b"\r\n") or not 0 < len(digits) <= 16 or digits.translate(None, _HEX):
            raise _malformed()
        self._left = int(digits, 16)
        if self._chain is not None:
            if not extension.startswith(_SIGNATURE):
                raise S3Error("SignatureDoesNotMatch")
            self._signature = extension.removeprefix(_SIGNATURE)
            self._hash = sha256()
        if self._left > self._to_come or (self._left == 0 and self._to_come):
            raise S3Error("IncompleteBody", "The chunks do not add up to x-amz-decoded-content-length.")
        self._to_come -= self._left
        if self._left:
            self._read = self._read_data
        else:
            self._end_chunk()
            self._read = self._read_rest

    def _read_data(self, data: bytes, position: int, found: list[bytes | memoryview]) -> int:
        end = min(position + self._left, len(data))
        piece = data if end - position == len(data) else memoryview(data)[position:end]
        self._left -= end - position
        if self._hash is not None:
            self._hash.update(piece)
        if not self._left:
            self._end_chunk()
            self._read = self._read_end
        found.append(piece)
        return end

    def _end_chunk(self) -> None:
        if self._chain is not None and self._hash is not None:
            self._chain.check_chunk(self._signature, self._hash.hexdigest().encode())

    def _read_end(self, data: bytes, position: int, found: list[bytes | memoryview]) -> int:
        """The line break after a chunk's data, the first half of which is in `_line`."""
        if data[position] != b"\r\n"[len(self._line)]:
            raise _malformed()
        self._line += data[position : position + 1]
        if len(self._line) == 2:
            self._line.clear()
            self._read = self._read_size
        return position + 1

    def _read_rest(self, data: bytes, position: int, found: list[bytes | memoryview]) -> int:
        if len(self._line) + len(data) - position > MAX_TRAILER:
            raise S3Error("MalformedTrailerError")
        self._line += data[position:]
        return len(data)

    def _read_trailers(self, text: bytes) -> None:
        """
        Read all that came after the last chunk.

        Lines may end in LF alone, the empty line at the end may be missing, and one
        widespread client has an empty line before the signature and two at the end.
        """
        for line in text.split(b"\n"):
            name, colon, value = line.removesuffix(b"\r").partition(b":")
            name = name.strip().lower()
            if not name and not colon:
                continue
            if not colon or name in self.trailers or _TRAILER_SIGNATURE in self.trailers:
                raise S3Error("MalformedTrailerError")
            self.trailers[name] = value.strip()
        signature = self.trailers.pop(_TRAILER_SIGNATURE, None)
        if self._has_trailer and self._chain is not None:
            lines = [b"%s:%s\n" % trailer for trailer in self.trailers.items()]
            self._chain.check_trailer(signature or b"", b"".join(lines))
        elif signature is not None:
            raise S3Error("MalformedTrailerError")
        if self.trailers.keys() != self._expected:
            raise S3Error("MalformedTrailerError")


def _malformed() -> S3Error:
    return S3Error("InvalidRequest", "The aws-chunked framing of the body is malformed.")
