"""Bodies that tell how far they have come: on their way to a backend, and on their way from one."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.sockets import Connection
from s3orchestrator.bodies.splicing import outlet_of, pass_on

# Counting each piece would cost more than it tells: a check asks for what is held as well.
STEP = 1024 * 1024

# A sender that was silent for so long when the backend gave up may be why it did: services
# break uploads off after 20 to 60 seconds of silence, hasty proxies after fewer.
STARVED = 5.0


@implementer(IBodyProducer)
@define(eq=False)
class MeteredBody:
    """
    A body whose bytes are counted as they pass.

    `moved` is told of bytes, in steps and at the end; `ended` once, of what ended it: None if
    all came, `CancelledError` if nobody wanted the rest. `was_starved`: when it was ended its
    taker had been waiting for bytes for long.
    """

    _source: IBodyProducer
    _clock: IReactorTime
    _moved: Callable[[int], None]
    _ended: Callable[[BaseException | None], None]
    was_starved: bool = field(default=False, init=False)
    _consumer: IConsumer | None = field(default=None, init=False)
    _untold: int = field(default=0, init=False)
    _is_paused: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)
    _last: float = field(default=0.0, init=False)

    @property
    def length(self) -> int:
        """The source's."""
        length: int = self._source.length
        return length

    @property
    def started(self) -> bool:
        """Whether somebody has asked for the bytes."""
        return self._consumer is not None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Start the source."""
        self._consumer = consumer
        self._last = self._clock.seconds()
        produced: Deferred[None] = self._source.startProducing(self)
        return produced.addBoth(self._end)

    def write(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._count(len(data))
        assert self._consumer is not None
        self._consumer.write(data)

    def outlet(self) -> Connection | None:
        """See `Passage`: only how many there are is looked at."""
        return outlet_of(self._consumer)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        self._count(count)
        pass_on(self._consumer, count)

    def _count(self, count: int) -> None:
        self._untold += count
        self._last = self._clock.seconds()
        if self._untold >= STEP:
            self._tell()

    def pauseProducing(self) -> None:
        """Pause the source."""
        self._is_paused = True
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the source."""
        self._is_paused = False
        self._last = self._clock.seconds()
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        """Stop the source for good; may come twice, or before the start."""
        self._finish(CancelledError())
        self._source.stopProducing()

    def _end(self, result: Failure | None) -> Failure | None:
        self._finish(result.value if isinstance(result, Failure) else None)
        return result

    def _finish(self, error: BaseException | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        if error is not None and self.started and not self._is_paused:
            self.was_starved = self._clock.seconds() - self._last >= STARVED
        self._tell()
        self._ended(error)

    def _tell(self) -> None:
        untold, self._untold = self._untold, 0
        if untold:
            self._moved(untold)
