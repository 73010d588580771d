"""What a body may pass through."""

from __future__ import annotations

from typing import Protocol


class Filter(Protocol):
    """One stage in the life of a body: pure, incremental, raising if the bytes lie."""

    def resize(self, length: int) -> int:
        """Tell how many bytes come out for `length` bytes in."""

    def update(self, data: bytes) -> bytes:
        """Take the next bytes; give what may go on."""

    def finish(self) -> bytes:
        """Give the last bytes; called once, after everything has been taken."""
