"""Bodies and consumers that behave as the worst of them do, and count what is done to them."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
@define(eq=False)
class HandFed:
    """A body whose bytes come when the test says so."""

    length: Any
    paused: bool = False
    stops: int = 0
    _consumer: IConsumer | None = field(init=False, default=None)
    _produced: Deferred[None] | None = field(init=False, default=None)

    @property
    def started(self) -> bool:
        return self._produced is not None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._produced = Deferred(lambda _: self.stopProducing())
        return self._produced

    def feed(self, data: bytes) -> None:
        assert self._consumer is not None
        self._consumer.write(data)

    def finish(self, failure: Failure | None = None) -> None:
        assert self._produced is not None
        if not self._produced.called:
            self._produced.callback(failure)  # type: ignore[arg-type]

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.stops += 1


@implementer(IBodyProducer)
@define(eq=False)
class Endless:
    """A body that writes a block whenever it may, until it has written `length` bytes."""

    reactor: Any
    length: int
    block: bytes = bytes(64 * 1024)
    written: int = field(init=False, default=0)
    stopped: bool = field(init=False, default=False)
    paused: bool = field(init=False, default=False)
    _consumer: Any = field(init=False, default=None)
    _produced: Deferred[None] | None = field(init=False, default=None)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._produced = Deferred(lambda _: self.stopProducing())
        self.reactor.callLater(0, self._step)
        return self._produced

    def _step(self) -> None:
        if self.paused or self.stopped:
            return
        data = self.block[: self.length - self.written]
        self.written += len(data)
        self._consumer.write(data)
        if self.written < self.length:
            self.reactor.callLater(0, self._step)
        elif self._produced is not None and not self._produced.called:
            self._produced.callback(None)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        if self.paused:
            self.paused = False
            self.reactor.callLater(0, self._step)

    def stopProducing(self) -> None:
        self.stopped = True


@implementer(IConsumer)
@define(eq=False)
class Kept:
    """A consumer that keeps everything; pauses its producer when told to."""

    chunks: list[bytes] = field(factory=list)
    producer: Any = None

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.chunks.append(data)
