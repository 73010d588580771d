"""
Ports for servers that tests start: nobody else's, also when several runs share a machine.

A port that the kernel picks is free only until somebody connects from it, or another run of tests is
given the same one: then a test asks somebody else's daemon, which answers as its own would.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from random import SystemRandom

_LOWEST = 10_000
_random = SystemRandom()  # the usual one is seeded by hypothesis, with the same number in every run
_given: set[int] = set()


def free_port() -> int:
    """Return a port of the loopback interface that is this process's as long as it lives."""
    while True:
        port = _random.randrange(_LOWEST, _below_connections())
        if port not in _given and _reserve(port) and _is_free(port):
            _given.add(port)
            return port


@cache
def _below_connections() -> int:
    """The first of the ports that the kernel gives to whoever connects."""
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return max(int(ports[0]), _LOWEST + 10_000)


@cache
def _file() -> int:
    # Never closed: with any descriptor of it all locks of the process would go.
    path = Path(tempfile.gettempdir(), f"s3orchestrator-test-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _reserve(port: int) -> bool:
    """Lock one byte for a port; the kernel lets go of it when the process ends, however it does."""
    try:
        fcntl.lockf(_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listening:
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
