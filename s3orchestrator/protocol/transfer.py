"""
Where a request's body ends: after a number of bytes, or after its last chunk.

Chunks are HTTP's own (RFC 9112, section 7.1), and read as strictly as heads are, for the
same reason.
"""

from __future__ import annotations

import re

MAX_LINE = 1024  # bytes of a size line with its extensions, or of a trailer
MAX_TRAILERS = 8 * 1024
# Framing may cost 16 bytes per chunk and twice the data; beyond that it may run up this many bytes more.
# Otherwise a single byte per packet with a long extension would be a cheap way to keep us busy.
MAX_OVERHEAD = 16 * 1024

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class MalformedChunks(ValueError):
    """The framing is not what RFC 9112 says; whatever follows cannot be understood."""


class LengthDecoder:
    """
    Counts the bytes of a body whose length is known.

    Once `is_finished`, `rest` holds what came after it. `left` is what has not come yet.
    """

    def __init__(self, length: int) -> None:
        self.left = length
        self.is_finished = False
        self.rest = b""

    def update(self, data: bytes) -> bytes:
        """Take bytes from the wire and return those of the body."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        self.is_finished = True
        if left < 0:
            data, self.rest = data[: self.left], data[self.left :]
        self.left = 0
        return data

    def passed(self, count: int) -> None:
        """Count bytes that were taken off the wire by somebody else; at most `left`."""
        self.left -= count
        self.is_finished = not self.left


class ChunkedDecoder:
    """
    Takes the framing off, piece by piece.

    Once `is_finished`, `rest` holds what came after the body. Trailers are checked and
    dropped: nobody here asks for any. How much is `left` is never known.
    """

    left = None

    def __init__(self) -> None:
        self.is_finished = False
        self.rest = b""
        self._held = b""  # the beginning of a line
        self._due = 0  # bytes of the chunk that have not come yet
        self._read = self._size
        self._overhead = 0
        self._trailers = 0

    def update(self, data: bytes) -> bytes:
        """
        Take bytes from the wire and return those of the body.

        :raises MalformedChunks: at the first byte that cannot be right.
        """
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._due:
                piece = data[at : at + self._due]
                pieces.append(piece)
                at += len(piece)
                self._due -= len(piece)
                continue
            end = data.find(b"\r\n", at, at + MAX_LINE + 2)
            if end < 0:
                self._hold(data[at:])
                break
            self._read(data[at:end])
            at = end + 2
            if self.is_finished:
                self.rest = data[at:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, line: bytes) -> None:
        if len(line) > MAX_LINE or b"\n" in line or (self._read == self._end and line != b"\r"):
            raise MalformedChunks("no end of line")
        self._held = line

    def _size(self, line: bytes) -> None:
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise MalformedChunks("malformed size")
        self._due = int(found[1], 16)
        self._read = self._end if self._due else self._trailer
        self._overhead = max(0, self._overhead + len(line) + 2 - 16 - 2 * self._due)
        if self._overhead > MAX_OVERHEAD:
            raise MalformedChunks("more framing than data")

    def _end(self, line: bytes) -> None:
        if line:
            raise MalformedChunks("chunk is longer than its size")
        self._read = self._size

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if not line:
            self.is_finished = True
        elif self._trailers > MAX_TRAILERS or not _TRAILER.fullmatch(line):
            raise MalformedChunks("malformed trailer")
