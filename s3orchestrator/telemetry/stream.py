"""
Where lines go: a file descriptor that keeps nobody waiting.

Whoever reads our output may stall: a pipe fills up, journald hangs. A daemon that waited for
that would serve nobody, so lines wait in memory, and the oldest are sent first when it goes on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from select import POLLOUT, poll
from threading import RLock

from prometheus_client import Counter

LOST = Counter("s3o_log_lines_lost_total", "Lines that nobody read in time, and that are gone.")

MOST_BYTES = 8 << 20  # that wait: some fifteen thousand lines
_FAREWELL = 1000  # milliseconds for each piece when the process ends
# A pipe that says it is ready takes this much without waiting, and so does a socket.
_PIECE = 4096


class Stream:
    """
    Writes lines at once where that is possible; what waits goes out with a later line, or by `close`.

    May be called from any thread. A line is with the kernel when `write` returns, unless its reader
    stalls. `loss` words a line about lines that were dropped.
    """

    def __init__(self, descriptor: int, loss: Callable[[int], str], most_bytes: int = MOST_BYTES) -> None:
        self._descriptor = descriptor
        self._loss = loss
        self._most_bytes = most_bytes
        self._poll = poll()
        self._poll.register(descriptor, POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._lock = RLock()

    def write(self, text: str, /) -> None:
        """Write a line, its end included; when too many wait it is dropped, and that is said later."""
        line = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting:
                self._flush()
            rest = line if self._waiting else self._send(line)
            if rest:
                self._keep(rest)

    def flush(self) -> None:
        """Write what waits, as much as can be written now."""
        if self._waiting:
            with self._lock:
                self._flush()

    def close(self) -> None:
        """Write what waits, for as long as somebody reads; the descriptor stays open."""
        with self._lock:
            self._flush(_FAREWELL)

    def _keep(self, line: bytes) -> None:
        if self._size + len(line) > self._most_bytes:
            self._lost += 1
            LOST.inc()
            return
        self._waiting.append(line)
        self._size += len(line)

    def _flush(self, patience: int = 0) -> None:
        while self._waiting:
            line = self._waiting[0]
            rest = self._send(line, patience)
            self._size -= len(line) - len(rest)
            if rest:
                self._waiting[0] = rest
                return
            self._waiting.popleft()
        if self._lost:
            lost, self._lost = self._lost, 0
            self._waiting.append(self._loss(lost).encode())
            self._size += len(self._waiting[0])
            self._flush(patience)

    def _send(self, data: bytes, patience: int = 0) -> bytes:
        """Return what could not be written without waiting longer than `patience` milliseconds."""
        try:
            while data and self._poll.poll(patience):
                data = data[os.write(self._descriptor, data[:_PIECE]) :]
        except OSError:
            pass  # where nobody reads any more, or the disk is full, it waits as well
        return data
