"""A large body that stops half-way until it is told to go on."""

from __future__ import annotations

import io
from hashlib import sha256, shake_128
from threading import Event

MIB = 1 << 20
_PATIENCE = 120.0  # seconds


class Paused(io.RawIOBase):
    """A file of `size` bytes, each MiB of them different; it can be read once, and measured before that."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._offset = 0
        self._begun = False
        self._block = shake_128(b"block").digest(MIB - 8)
        self._hash = sha256()
        self._half, self._going = Event(), Event()

    def wait_until_paused(self) -> None:
        """:raises AssertionError: half of it was not read in time."""
        assert self._half.wait(_PATIENCE), "nobody reads it"

    def go_on(self) -> None:
        """Let the rest be read."""
        self._going.set()

    def digest(self) -> str:
        """SHA-256 of all that has been read, in hex."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert not self._begun, "it can be read once only"
        self._offset = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}[whence]
        return self._offset

    def read(self, size: int = -1) -> bytes:
        self._begun = True
        if self._offset >= self._size // 2 and not self._going.is_set():
            self._half.set()
            assert self._going.wait(_PATIENCE), "it was left waiting"
        block, within = divmod(self._offset, MIB)
        piece = (block.to_bytes(8) + self._block)[within:]
        piece = piece[: min(len(piece), size if size >= 0 else MIB, self._size - self._offset)]
        self._offset += len(piece)
        self._hash.update(piece)
        return piece
