"""
A body seen through a filter, and the one way to deliver a body.

Filters are pure and live with the protocol and the decisions; this joins them to sources
and consumers without giving up the pace, the length or the way to stop.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.interfaces import Filter


def taken(body: IBodyProducer) -> bytes | None:
    """
    Return all of `body` if all of it is here and may be had at once; then that was its only reading.

    None: it has to be started. Bodies that can be taken have a method `take`; most of what is small
    comes in one piece, and starting, pausing and ending it would cost more than moving it.

    :raises: what a filter raises.
    """
    take: Callable[[], bytes | None] | None = getattr(body, "take", None)
    return None if take is None else take()


@implementer(IBodyProducer)
@define(eq=False)
class FilteredBody:
    """
    A body seen through a filter; itself a body, so filters stack.

    What the filter raises stops the source and fails the Deferred of `startProducing`;
    nothing is written after that. `size` is how many bytes come out, for sources that do
    not know how many go in.
    """

    _source: IBodyProducer
    _filter: Filter
    _size: int | None = None
    _consumer: IConsumer | None = field(init=False, default=None)
    _produced: Deferred[None] | None = field(init=False, default=None)
    _failure: Failure | None = field(init=False, default=None)
    _over: bool = field(init=False, default=False)
    _is_taken: bool = field(init=False, default=False)

    @property
    def started(self) -> bool:
        """Whether somebody has asked for the bytes, so that the source cannot be offered again."""
        return self._consumer is not None or self._is_taken

    def take(self) -> bytes | None:
        """See `taken`."""
        data = taken(self._source)
        if data is None:
            return None
        self._is_taken = True
        return self._filter.update(data) + self._filter.finish()

    @property
    def length(self) -> int:
        """What was said of it, or the source's length, resized by the filter."""
        if self._size is not None:
            return self._size
        length: int = self._source.length
        # Twisted's sentinel is a string, whatever the types say; a filter does arithmetic.
        return length if length is UNKNOWN_LENGTH else self._filter.resize(length)  # type: ignore[comparison-overlap]

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Deliver to `consumer` what the filter makes of the source."""
        self._consumer = consumer
        produced: Deferred[None] = self._source.startProducing(self)
        self._produced = produced
        produced.addCallback(self._finish)
        produced.addBoth(self._end)
        if self._failure is not None:  # failed before there was a Deferred to cancel
            produced.cancel()
        return produced

    def write(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._emit(lambda: self._filter.update(data))

    def pauseProducing(self) -> None:
        """Pause the source."""
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the source."""
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        """Stop the source for good; may come twice, or before the start."""
        self._over = True
        self._source.stopProducing()

    def _finish(self, _: None) -> None:
        self._emit(self._filter.finish)

    def _end(self, result: Failure | None) -> Failure | None:
        self._over = True
        return self._failure or result

    def _emit(self, produce: Callable[[], bytes]) -> None:
        if self._over or self._failure is not None:
            return
        try:
            if data := produce():
                assert self._consumer is not None
                self._consumer.write(data)
        except Exception:
            self._failure = Failure()
            if self._produced is not None:
                self._produced.cancel()


async def pump(body: IBodyProducer, consumer: IConsumer) -> None:
    """
    Deliver all of `body` at the pace `consumer` asks for; cancelling stops the body.

    After a failure the consumer holds half a body, and its owner aborts it.
    """
    consumer.registerProducer(body, True)
    try:
        await body.startProducing(consumer)
    finally:
        consumer.unregisterProducer()
