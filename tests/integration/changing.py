"""Requests that are changed after they were signed."""

from __future__ import annotations

import re
from collections.abc import Callable

Change = Callable[[bytes], bytes]


def replaced(pattern: str, by: str) -> Change:
    """What changes a signed request afterwards; the pattern must be found."""

    def change(request: bytes) -> bytes:
        text, count = re.subn(pattern, by, request.decode(), count=1)
        assert count, pattern
        return text.encode()

    return change
