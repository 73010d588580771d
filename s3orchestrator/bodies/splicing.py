"""
Bodies that nobody looks at, moved from socket to socket by the kernel.

Bytes that are not hashed, encrypted or kept need not come into this process: splice(2) puts
them into a pipe and from there into the other socket, pages and all. Who reads a body off a
connection offers it here; each time that something has arrived it is asked where the bytes
would go if they were read and written, and if that is a socket they go there by themselves.
If not, or not just now, they are read as ever: the two ways may follow each other at any
byte, and neither knows of the other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, fcntl
from typing import Any, Literal
from typing import Protocol as Typed

from attrs import Factory, define, field
from prometheus_client import Counter

from s3orchestrator.bodies.sockets import Connection, plain_connection
from s3orchestrator.telemetry.logging import make_logger

SPLICED = Counter(
    "s3o_spliced_bytes_total",
    "Bytes of bodies that the kernel moved from socket to socket, unseen by this process.",
    ["direction"],
)
Direction = Literal["download", "upload"]
_SPLICED = {direction: SPLICED.labels(direction) for direction in ("download", "upload")}

# Of smaller ones too much comes along with the head, and is copied, for the rest to make a difference.
SPLICED_FROM = 256 * 1024

# The most that is moved at a time, so that others get their turn; as much as the kernel lets anybody have.
PIPE_SIZE = 1024 * 1024
# What a pipe has by default. Those who hold many get smaller ones, with which copying is as good.
LEAST_SIZE = 64 * 1024
# Each holds bytes only while somebody is slow to take them: with none left, others are copied.
MOST_PIPES = 256
MOST_IDLE = 16
# How often none is asked for, once none could be made.
SPARED = 100

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

# What a kernel, or who confines us, says to splice(2) on something it will never do it for.
_REFUSALS = frozenset([errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP])


class Passage(Typed):
    """What takes bytes, and need not see them."""

    def outlet(self) -> Connection | None:
        """Return what the next bytes are sent on as they are; None if somebody wants to see or hold them."""

    def passed(self, count: int) -> None:
        """So many bytes went there without having been written here."""


def outlet_of(consumer: object) -> Connection | None:
    """Return where what is written to `consumer` goes as it is; None if nobody can tell."""
    outlet: Callable[[], Connection | None] | None = getattr(consumer, "outlet", None)
    return None if outlet is None else outlet()


def pass_on(consumer: Any, count: int) -> None:
    """Tell `consumer`, which had an outlet, of bytes that went there; nobody, if it has been let go of."""
    if consumer is not None:
        consumer.passed(count)


class Reader(Passage, Typed):
    """Who reads a body off a connection."""

    def still_to_come(self) -> int:
        """Return how many bytes of the body have not been taken off the connection; more are not its own."""


@define(eq=False)
class Pipe:
    """
    Where bytes are between two sockets.

    It is given back with `release`, and closed then if there are still bytes in it: they are nobody's.
    """

    _pipes: Pipes
    _exit: int
    _entry: int
    size: int
    held: int = field(init=False, default=0)

    def fill(self, source: int, most: int) -> int:
        """
        Take what has arrived at a socket, at most `most` bytes, and return how many; only while it is empty.

        0 means that it has to be read: it has ended, or nothing is there, or what is there is not for
        splice. Urgent bytes are not: whoever waited for splice to take them would never come to rest.

        :raises OSError: the connection is lost.
        """
        try:
            self.held = os.splice(source, self._entry, min(most, self.size), flags=_FLAGS)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            self._pipes.give_up(error)
        return self.held

    def drain(self, sink: int) -> None:
        """
        Give a socket what it takes.

        :raises BlockingIOError: it takes nothing just now.
        :raises OSError: the connection is lost, or cannot be spliced to; see `refused`.
        """
        self.held -= os.splice(self._exit, sink, self.held, flags=_FLAGS)

    def refused(self, error: OSError) -> bool:
        """Tell whether `drain` will never do, so that the bytes must be taken by `empty`."""
        if error.errno not in _REFUSALS:
            return False
        self._pipes.give_up(error)
        return True

    def empty(self) -> bytes:
        """Return all that is in it."""
        pieces = []
        while self.held:
            pieces.append(os.read(self._exit, self.held))
            self.held -= len(pieces[-1])
        return b"".join(pieces)

    def release(self) -> None:
        """Give it back; once."""
        self._pipes.take_back(self)

    def close(self) -> None:
        """Close both ends; for the pool."""
        os.close(self._exit)
        os.close(self._entry)


@define(eq=False)
class Pipes:
    """
    The pipes of this process: `most` at a time, and no more than the kernel allows.

    An unprivileged user may have so and so many pages in pipes (`pipe-user-pages-soft`); others of
    the same user count. Whoever gets none copies.
    """

    log = make_logger()
    _most: int = MOST_PIPES
    _size: int = PIPE_SIZE
    _idle: list[Pipe] = field(init=False, factory=list)
    _made: int = field(init=False, default=0)
    _spared: int = field(init=False, default=0)
    _is_closed: bool = field(init=False, default=False)

    def take(self) -> Pipe | None:
        """Return an empty pipe, None if there is none to be had."""
        if self._idle:
            return self._idle.pop()
        if self._is_closed or self._made >= self._most:
            return None
        if self._spared:
            self._spared -= 1
            return None
        pipe = self._make()
        if pipe is None:
            self._spared = SPARED
        else:
            self._made += 1
        return pipe

    def take_back(self, pipe: Pipe) -> None:
        """Keep a pipe for the next, or close it."""
        if pipe.held or self._is_closed or len(self._idle) >= MOST_IDLE:
            self._made -= 1
            pipe.close()
        else:
            self._idle.append(pipe)

    def give_up(self, error: OSError) -> None:
        """Give out no more: nothing can be spliced here."""
        if not self._is_closed:
            self.log.warn("all bodies are copied, for splice is refused: {error}", error=str(error))
            self.close()

    def close(self) -> None:
        """Give out no more, and close them all: those that are in use when they come back."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        self._made -= len(idle)
        for pipe in idle:
            pipe.close()

    def _make(self) -> Pipe | None:
        try:
            exit_end, entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # no descriptors left
            return None
        with suppress(OSError):  # we may not have so much; how much we have is asked next
            fcntl(entry, F_SETPIPE_SZ, self._size)
        pipe = Pipe(self, exit_end, entry, fcntl(entry, F_GETPIPE_SZ))
        if pipe.size < LEAST_SIZE:
            pipe.close()
            return None
        return pipe


@define(eq=False)
class Splice:
    """A body on its way past us. `reader` learns of each byte that goes, as it would of one that is read."""

    reader: Reader
    _source: Connection
    _pipes: Pipes
    _spliced: Counter

    def move(self) -> int:
        """
        Move what has arrived to where it goes; return how much, 0 if it has to be read instead.

        :raises OSError: the connection is lost.
        """
        outlet = self.reader.outlet()
        if outlet is None or not outlet.sends_at_once:
            return 0
        pipe = self._pipes.take()
        if pipe is None:
            return 0
        count = 0
        try:
            count = pipe.fill(self._source.fileno(), self.reader.still_to_come())
        finally:
            if not count:
                pipe.release()
        if count:
            self._spliced.inc(count)
            outlet.send_pipe(pipe)
        return count


@define(eq=False)
class Splicer:
    """Decides which bodies may go past us: those of at least `least` bytes, between plain connections."""

    _pipes: Pipes = Factory(Pipes)
    _least: int = SPLICED_FROM

    def offer(self, transport: object, reader: Reader, direction: Direction) -> None:
        """Let the body that `reader` reads off a connection go past us if it can, until `retract`."""
        source = plain_connection(transport)
        if source is not None and reader.still_to_come() >= self._least:
            source.splice = Splice(reader, source, self._pipes, _SPLICED[direction])

    @staticmethod
    def retract(transport: object) -> None:
        """The body is over."""
        if isinstance(transport, Connection):
            transport.splice = None

    def close(self) -> None:
        """Let no more go past us, and close the pipes."""
        self._pipes.close()
