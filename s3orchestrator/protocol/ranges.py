"""Byte ranges: what a client may ask for, and what of it there is."""

from __future__ import annotations

import re

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.values import value

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")
_DIGITS = 19  # more than any size has; longer numbers all mean "beyond the end"


@value
class ByteRange:
    """Bytes `start` to `end`, both included, counted from 0."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes that is; never none."""
        return self.end - self.start + 1

    def content_range(self, size: int) -> str:
        """Return the `Content-Range` for this part of an object of `size` bytes."""
        return f"bytes {self.start}-{self.end}/{size}"

    @property
    def header(self) -> str:
        """This range as the value of a `Range` header."""
        return f"bytes={self.start}-{self.end}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """
    Return what `header` selects of an object of `size` bytes; None means all of it.

    What is not exactly one well-formed range is ignored, as S3 does it: the answer is 200.

    :raises S3Error: `InvalidRange`, if no byte of the object is in it.
    """
    found = _RANGE.match(header) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        return _suffix(last, size, found.string) if last else None
    start = _number(first)
    end = _number(last) if last else size - 1
    if last and end < start:
        return None
    if start >= size:
        raise invalid_range(found.string, size)
    return ByteRange(start, min(end, size - 1))


def _suffix(count: str, size: int, header: str) -> ByteRange:
    wanted = _number(count)
    if wanted == 0 or size == 0:
        raise invalid_range(header, size)
    return ByteRange(max(size - wanted, 0), size - 1)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def invalid_range(header: str, size: int) -> S3Error:
    """Return the 416 for a range that lies outside of an object of `size` bytes."""
    error = S3Error("InvalidRange", RangeRequested=header, ActualObjectSize=size)
    error.headers["Content-Range"] = f"bytes */{size}"
    return error
