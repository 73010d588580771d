"""
Where lines go: a file descriptor that keeps nobody waiting.

Whoever reads our output may stall: a pipe fills up, journald hangs. A daemon that waited for
that would serve nobody, so lines wait in memory, and the oldest are sent first when it goes on.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from fcntl import F_GETPIPE_SZ, fcntl, ioctl
from functools import partial
from itertools import islice
from select import POLLOUT, poll
from socket import MSG_DONTWAIT, socket
from stat import S_ISFIFO, S_ISREG, S_ISSOCK
from termios import FIONREAD
from threading import RLock
from time import sleep

from prometheus_client import Counter

LOST = Counter("s3o_log_lines_lost_total", "Lines that nobody read in time, and that are gone.")

MOST_BYTES = 8 << 20  # that wait: some fifteen thousand lines
_FAREWELL = 1000  # milliseconds for each piece when the process ends
_LOOK_AGAIN = 10  # of them, whether there is room for a long line
# A pipe that says it is ready takes this much without waiting, and so does a socket. Pipes are made of pieces
# of this size, too.
_PIECE = 4096
# A file never says that it is full for now. And of what can say so, a long line takes what there is room for:
# in pieces, it would have those of other processes in its midst.
_LARGE_PIECE = 64 * 1024

Put = Callable[[bytes], int]


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
        self._piece = _LARGE_PIECE if S_ISREG(os.fstat(descriptor).st_mode) else _PIECE
        self._ours = ExitStack()
        own = _not_waiting(descriptor, self._ours)
        self._put, self._most_at_once = (own, _LARGE_PIECE) if own else self._waiting_put()
        self._is_pipe = S_ISFIFO(os.fstat(descriptor).st_mode)
        if own:
            # A child is a daemon that leaves its terminal: somebody may wait for the end of its output there.
            os.register_at_fork(after_in_child=self._let_go)

    def write(self, text: str, /) -> None:
        """Write a line, its end included; when too many wait it is dropped, and that is said later."""
        self.writelines([text])

    def writelines(self, texts: Sequence[str], /) -> None:
        """Write several lines, as `write` does, with as few system calls as can be."""
        with self._lock:
            if self._waiting:
                self._flush()
            for text in texts:
                self._keep(text.encode("utf-8", "backslashreplace"))
            self._flush()

    def flush(self) -> None:
        """Write what waits, as much as can be written now."""
        if self._waiting:
            with self._lock:
                self._flush()

    def close(self) -> None:
        """Write what waits, for as long as somebody reads; the descriptor stays open."""
        with self._lock:
            self._flush(_FAREWELL)
            self._let_go()

    def _let_go(self) -> None:
        """Go on with the descriptor that we were given."""
        self._put, self._most_at_once = self._waiting_put()
        self._ours.close()

    def _waiting_put(self) -> tuple[Put, int]:
        return partial(os.write, self._descriptor), self._piece

    def _keep(self, line: bytes) -> None:
        if self._size + len(line) > self._most_bytes:
            self._lost += 1
            LOST.inc()
            return
        self._waiting.append(line)
        self._size += len(line)

    def _flush(self, patience: int = 0) -> None:
        while self._waiting:
            piece = self._next_piece()
            rest = self._send(piece, patience)
            self._forget(len(piece) - len(rest))
            if rest:
                return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._waiting.append(self._loss(lost).encode())
            self._size += len(self._waiting[0])
            self._flush(patience)

    def _next_piece(self) -> bytes:
        """Return the next line, and as many after it as fit into one piece."""
        size = 0
        for count, line in enumerate(self._waiting):  # noqa: B007 - how many there were before it does not fit
            size += len(line)
            if size > self._piece:
                break
        else:
            count = len(self._waiting)
        return b"".join(islice(self._waiting, max(count, 1)))

    def _forget(self, sent: int) -> None:
        """Let go of so many bytes, and keep the rest of a line that was sent in part."""
        self._size -= sent
        while sent:
            line = self._waiting.popleft()
            if len(line) > sent:
                self._waiting.appendleft(line[sent:])
                return
            sent -= len(line)

    def _send(self, data: bytes, patience: int = 0) -> bytes:
        """Return what could not be written without waiting longer than `patience` milliseconds."""
        try:
            while data and self._poll.poll(patience):
                if not self._is_crowded(len(data)):
                    data = data[self._put(data[: self._most_at_once]) :]
                elif patience > 0:
                    sleep(_LOOK_AGAIN / 1000)
                    patience -= _LOOK_AGAIN
                else:
                    break
        except OSError:
            pass  # where nobody reads any more, or the disk is full, it waits as well
        return data

    def _is_crowded(self, length: int) -> bool:
        """Tell whether a line so long might not go into a pipe whole, where shorter ones still would."""
        if not self._is_pipe or length <= _PIECE:
            return False
        try:
            held = int.from_bytes(ioctl(self._descriptor, FIONREAD, bytes(4)), sys.byteorder)
            size: int = fcntl(self._descriptor, F_GETPIPE_SZ)
        except OSError:  # a daemon has something else in its place
            return False
        # Of two pages in a row at least one half is full, for what does not fit begins a new one. Three are
        # for the first, which may have been read in part, our own last, and what others write meanwhile.
        room = size - 2 * held - 3 * _PIECE
        # One that takes half of all there is might wait for as long as the daemon is busy.
        return room < length <= size // 2 and held > 0


def _not_waiting(descriptor: int, ours: ExitStack) -> Put | None:
    """
    Return what writes as much as there is room for and never waits; None if there is no such thing.

    Others have the descriptor, too, and must not find that it does not wait any more: what is opened
    for it is in `ours`.
    """
    kind = os.fstat(descriptor).st_mode
    if S_ISSOCK(kind):
        same = ours.enter_context(socket(fileno=os.dup(descriptor)))
        return lambda data: same.send(data, MSG_DONTWAIT)
    if S_ISFIFO(kind):
        with suppress(OSError):  # it may be of a user whom we were
            again = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            ours.callback(os.close, again)
            return partial(os.write, again)
    return None
