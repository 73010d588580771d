"""What a program that serves does to its own process."""

from __future__ import annotations

import gc
from contextlib import suppress
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from signal import SIGHUP, signal
from typing import Any

from s3orchestrator.telemetry.logging import make_logger

_log = make_logger()


def survive_hangups(reactor: Any) -> None:
    """
    Let SIGHUP, at which other daemons read their configuration again, not end this one.

    For programs, in the main thread.
    """

    def tell() -> None:
        _log.warn("the configuration is not read again while we run: that takes a restart")

    signal(SIGHUP, lambda *_: reactor.callFromThread(tell))


def take_descriptors() -> None:
    """
    Raise the limit of open files and connections as far as we may; for programs, before they start.

    The usual 1024 are for the sake of programs that use select.
    """
    hard = getrlimit(RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # the kernel may have come to allow less
        setrlimit(RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int | None:
    """How many clients may be connected: the rest of the descriptors is for files and for backends."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return None if soft == RLIM_INFINITY else soft * 3 // 4


def begun() -> None:
    """
    Exempt all that is in memory from garbage collection; for programs, once they serve.

    It lives as long as they do, and looking through it took 40 ms each time, in which nobody was served.
    """
    gc.collect()
    gc.freeze()
