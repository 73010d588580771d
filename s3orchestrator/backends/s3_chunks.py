"""Signing a body while it streams: aws-chunked framing, each chunk signed after the one before."""

from __future__ import annotations

from hashlib import sha256

from attrs import define, field

from s3orchestrator.protocol.canonical import ALGORITHM
from s3orchestrator.protocol.keys import PreparedHmac

# What SDKs use; at least 8 KiB is asked for, and a chunk is held in memory while it fills.
CHUNK = 64 * 1024

_EMPTY = sha256(b"").hexdigest().encode()
_EXTENSION = len(b";chunk-signature=") + 64


def framed_length(length: int) -> int:
    """Return how many bytes `length` bytes become."""
    whole, rest = divmod(length, CHUNK)
    return whole * _framed(CHUNK) + (_framed(rest) if rest else 0) + _framed(0)


def _framed(size: int) -> int:
    return len(b"%x" % size) + _EXTENSION + 2 + size + 2


@define(eq=False)
class SignedChunks:
    """
    A filter that frames and signs for `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.

    `seed` is the signature of the request, made with `key` at `timestamp` for `scope`.
    """

    _key: PreparedHmac
    _timestamp: bytes
    _scope: bytes
    _seed: bytes
    _buffer: bytearray = field(init=False, factory=bytearray)

    def resize(self, length: int) -> int:
        """Tell how long the framed body is."""
        return framed_length(length)

    def update(self, data: bytes) -> bytes:
        """Return the chunks that are full."""
        self._buffer += data
        chunks = []
        while len(self._buffer) >= CHUNK:
            chunks.append(self._chunk(bytes(self._buffer[:CHUNK])))
            del self._buffer[:CHUNK]
        return b"".join(chunks)

    def finish(self) -> bytes:
        """Return what is left, and the empty chunk that ends it."""
        last = self._chunk(bytes(self._buffer)) if self._buffer else b""
        return last + self._chunk(b"")

    def _chunk(self, data: bytes) -> bytes:
        text = b"%s-PAYLOAD\n%s\n%s\n%s\n%s\n%s" % (
            ALGORITHM,
            self._timestamp,
            self._scope,
            self._seed,
            _EMPTY,
            sha256(data).hexdigest().encode(),
        )
        self._seed = self._key.hexdigest(text).encode()
        return b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), self._seed, data)
