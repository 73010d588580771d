"""A process that serves clients for us: started, watched until it is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from signal import (
    SIG_BLOCK,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGTERM,
    pthread_sigmask,
    signal,
)
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from s3orchestrator.workers.link import Link, join

PROGRAM = "s3orchestrator.cli.worker"
GRACE = 5.0  # seconds that a process has to be gone once nothing is heard of it any more
_LOOK_AGAIN = 0.01  # seconds; a process that has closed its end is gone in one
# These go to all processes of a service, or of a terminal's job; the first one acts on them.
_FOR_THE_FIRST = (SIGTERM, SIGINT, SIGHUP)


@define(eq=False)
class Process:
    """
    One process, from `started` until `gone`.

    `channel` is our end of a pair of sockets.
    """

    _popen: subprocess.Popen[bytes]
    _channel: socket.socket
    _reactor: Any
    _gone: Deferred[int] | None = field(default=None, init=False)

    @classmethod
    def started(cls, number: int, descriptors: Sequence[int], form: str, reactor: Any) -> Process:
        """
        Start one that inherits `descriptors`, under the numbers they have here.

        Each line of its log, which is written in that `form`, has the `number`.

        It is a program of its own and no copy of this process, whose threads it would lack.

        :raises OSError: there is no room for it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            channel = theirs.fileno()
            # -P: the directory we happen to be in is no place to look for modules.
            command = [sys.executable, "-P", "-m", PROGRAM, str(channel), str(number), form]
            # It begins with our mask: before it can ignore one of these, one would end it.
            blocked = pthread_sigmask(SIG_BLOCK, _FOR_THE_FIRST)
            try:
                popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[channel, *descriptors])
            except BaseException:
                ours.close()
                raise
            finally:
                pthread_sigmask(SIG_SETMASK, blocked)
        return cls(popen, ours, reactor)

    @property
    def pid(self) -> int:
        """Its number with the kernel, which is nobody else's before it is gone."""
        return self._popen.pid

    def connect(self, link: Link) -> None:
        """Let `link` be ours to the process; to be called once."""
        join(link, self._channel, self._reactor)

    def kill(self) -> None:
        """End it without giving it a chance to do anything."""
        self._popen.kill()

    def gone(self) -> Deferred[int]:
        """
        Wait for its end, which must be near: after a moment it is seen to. To be called once.

        Fires with the status, as `subprocess` has it, when nothing of the process is left: no
        connection of its, and nothing that it is still sending.
        """
        assert self._gone is None
        self._gone = gone = Deferred[int]()
        self._look(self._reactor.seconds() + GRACE)
        return gone

    def _look(self, until: float) -> None:
        assert self._gone is not None
        status = self._popen.poll()
        if status is not None:
            self._gone.callback(status)
            return
        if self._reactor.seconds() >= until:
            self._popen.kill()
        self._reactor.callLater(_LOOK_AGAIN, self._look, until)


def how_it_ended(status: int) -> str:
    """Return the end of a process in words."""
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def leave_signals_to_parent() -> None:
    """Ignore what goes to all processes: what it means for this one it is told."""
    for number in _FOR_THE_FIRST:
        signal(number, SIG_IGN)
    pthread_sigmask(SIG_UNBLOCK, _FOR_THE_FIRST)


def die_with_parent() -> None:
    """
    Have the kernel end this process when the one that started it ends, whatever it is doing then.

    It would end by itself when the link breaks, but not while its reactor stands still.
    """
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)


_PR_SET_PDEATHSIG = 1
