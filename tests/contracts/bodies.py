"""Bodies and consumers that behave badly, or slowly, as clients and disks do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
@define(eq=False)
class PiecesBody:
    """
    Writes its pieces one per reactor turn, as a socket would, and not while paused.

    An exception among them ends it; `None` means that nothing more ever comes.
    """

    pieces: Sequence[bytes | Exception | None]
    reactor: Any
    length: Any = UNKNOWN_LENGTH
    started: bool = field(init=False, default=False)
    stopped: bool = field(init=False, default=False)
    pauses: int = field(init=False, default=0)
    written: int = field(init=False, default=0)
    at_hang: Deferred[None] = field(init=False, factory=Deferred)
    _paused: bool = field(init=False, default=False)
    _turn: Any = field(init=False, default=None)
    _next: int = field(init=False, default=0)
    _consumer: IConsumer | None = field(init=False, default=None)
    _done: Deferred[None] = field(init=False, factory=Deferred)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Begin with the next turn."""
        self.started = True
        self._consumer = consumer
        self._done = Deferred(lambda _: self.stopProducing())
        self._schedule()
        return self._done

    def pauseProducing(self) -> None:
        """Wait."""
        self.pauses += 1
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        self._schedule()

    def stopProducing(self) -> None:
        """Never go on."""
        self.stopped = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _schedule(self) -> None:
        if self._turn is None and not self._paused and not self.stopped:
            self._turn = self.reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        if self._next == len(self.pieces):
            self._done.callback(None)
            return
        piece = self.pieces[self._next]
        self._next += 1
        if piece is None:
            self.at_hang.callback(None)
        elif isinstance(piece, Exception):
            self.stopped = True
            self._done.errback(piece)
        else:
            assert self._consumer is not None
            self.written += len(piece)
            self._consumer.write(piece)
            self._schedule()


@implementer(IConsumer)
@define(eq=False)
class PausingConsumer:
    """Pauses its producer after every write; `go_on` lets one more come."""

    received: list[bytes] = field(init=False, factory=list)
    producer: Any = field(init=False, default=None)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Know whom to pause."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """It was the last."""

    def write(self, data: bytes) -> None:
        """Take it, and no more."""
        self.received.append(data)
        self.producer.pauseProducing()

    def go_on(self) -> None:
        """Take one more."""
        self.producer.resumeProducing()

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return sum(map(len, self.received))


async def swallow(waiting: Deferred[Any]) -> None:
    """Wait for a Deferred that has been cancelled."""
    try:
        await waiting
    except CancelledError:
        return
    raise AssertionError("was not cancelled")
