"""Keeps a second process away from a ledger that only one may have."""

from __future__ import annotations

import fcntl
import os

from attrs import define, field

from s3orchestrator.errors import LedgerInUse


@define(eq=False)
class LockFile:
    """
    A file whose lock is held from `acquire` to `release`, or until the process is gone.

    It names the holder, and stays when the lock is released: removing it would let two
    processes each lock a file of that name.
    """

    path: str
    _descriptor: int | None = field(init=False, default=None)

    def acquire(self) -> None:
        """:raises LedgerInUse: somebody holds the lock; they may be in this process, too."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LedgerInUse(f"{self.path} is locked by process {holder or 'unknown'}") from error
        os.truncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; harmless when nothing is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
