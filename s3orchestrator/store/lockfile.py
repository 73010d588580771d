"""Keeps other processes away from a ledger that only one, and its children, may have."""

from __future__ import annotations

import fcntl
import os
import time

from attrs import define, field

from s3orchestrator.errors import LedgerInUse

PATIENCE = 5.0  # seconds that the children of one that died have to notice it
DYING = 0.2  # seconds that one which has been killed may still look alive
_LOOK_AGAIN = 0.05  # seconds
_DEAD = (b"Z", b"X")  # states of a process that is gone and whose parent has not looked
_BORN = 18  # fields after the state (proc_pid_stat(5))


@define(eq=False)
class LockFile:
    """
    A file whose lock is held from `acquire` to `release`, or until the process is gone.

    Children that inherit `descriptor` hold it too: it is free when the last of them is gone. The
    file names the parent by number and time of birth: in containers all have the same few numbers. It
    stays when the lock is released: removing it would let two processes each lock a file of that name.
    """

    path: str
    _patience: float = field(default=PATIENCE, kw_only=True)
    _descriptor: int | None = field(init=False, default=None)

    @property
    def descriptor(self) -> int:
        """What holds the lock, while it is held."""
        assert self._descriptor is not None
        return self._descriptor

    def acquire(self) -> None:
        """
        Take the lock. It blocks, for a few seconds, where only children of a process that died have it.

        :raises LedgerInUse: somebody holds the lock; they may be in this process, too.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.truncate(descriptor, 0)
        ours = str(os.getpid())
        os.pwrite(descriptor, f"{ours} {_birth(ours) or ''}".strip().encode() + b"\n", 0)
        self._descriptor = descriptor

    def _lock(self, descriptor: int) -> None:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                waited = time.monotonic() - began
                holder, born = _holder(descriptor)
                if _is_alive(holder, born) and waited >= DYING:
                    raise LedgerInUse(f"{self.path} is locked by process {holder or 'unknown'}") from error
                if waited >= self._patience:
                    raise LedgerInUse(
                        f"{self.path} is locked by processes that process {holder} has left behind"
                    ) from error
                time.sleep(_LOOK_AGAIN)

    def release(self) -> None:
        """Let go, for this process; harmless when nothing is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> tuple[str, str]:
    """Return number and time of birth of the parent; either may be missing."""
    number, _, born = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip().partition(" ")
    return number, born


def _is_alive(holder: str, born: str) -> bool:
    """Tell whether that process is there; of nobody knows who, that it is."""
    if not holder.isdigit():
        return True
    birth = _birth(holder)
    return birth is not None and born in ("", birth)


def _birth(holder: str) -> str | None:
    """Return when a process was born, in ticks since the machine was started; None if it is no more."""
    try:
        with open(f"/proc/{holder}/stat", "rb") as stat:
            # Its name may hold anything, so what follows is what stands after the last bracket.
            state, *others = stat.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if state in _DEAD else others[_BORN].decode("ascii")
