"""What a disk's errors mean for a directory backend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from s3orchestrator.errors import BackendError, BackendRefused, BackendUnavailable

# These are about the name; every other error is about the disk, and may pass.
_ABOUT_THE_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP})

_EXPLAINED = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an error",
    errno.EXDEV: "another file system is mounted below the directory; it must be one",
}


@contextmanager
def disk_errors(backend: str, *, sent: bool) -> Iterator[None]:
    """
    Raise what `OSError` means to the engine.

    `sent`: whether the object may have been changed all the same. File operations either
    happen or do not, so that is rarer here than on a network.
    """
    try:
        yield
    except OSError as error:
        raise _translated(backend, error, sent) from error


def _translated(backend: str, error: OSError, sent: bool) -> BackendError:
    reason = _EXPLAINED.get(error.errno or 0, error.strerror or str(error))
    if error.errno in _ABOUT_THE_NAME:
        return BackendRefused(f"{backend}: no file can be used for this name: {reason}", status=400)
    return BackendUnavailable(f"{backend}: {reason}", sent=sent, replied=sent)
