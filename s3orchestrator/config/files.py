"""Opening files that others put where we are told to look, whatever they put there."""

from __future__ import annotations

import os
import stat
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO


def open_file(path: Path) -> BinaryIO:
    """
    Open for reading what is a file and nothing else: nobody has to be waited for, as with a pipe.

    :raises OSError: it cannot be opened, or is no file.
    """
    return open(path, "rb", opener=_opened)


def _opened(path: str, flags: int) -> int:
    # Without this flag, opening a pipe waits for somebody to write to it.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR):  # a directory is refused by our caller, in better words
        return descriptor
    os.close(descriptor)
    raise OSError(EINVAL, "is no regular file", path)
