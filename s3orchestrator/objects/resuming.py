"""A body that goes on at another copy when its source dies half-way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.filtered import taken
from s3orchestrator.bodies.sockets import Connection
from s3orchestrator.bodies.splicing import outlet_of, pass_on
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendError
from s3orchestrator.protocol.ranges import ByteRange

# A body that moved no byte between two failures will not move by asking again.
FRUITLESS_RESUMES = 2

Refetch = Callable[[Blob, tuple[Blob, ...], ByteRange], Awaitable[tuple[Blob, IBodyProducer]]]


@implementer(IBodyProducer)
@define(eq=False)
class ResumedBody:
    """
    The bytes of `wanted`, from whichever copy has them.

    Fails with the last source's failure when no copy goes on; the consumer then holds half
    a body. More bytes than were asked for are never passed on.
    """

    _source: IBodyProducer
    _wanted: ByteRange
    _blobs: tuple[Blob, ...]
    _blob: Blob
    _refetch: Refetch
    length: int = field(init=False)
    started: bool = field(default=False, init=False)
    _delivered: int = field(default=0, init=False)
    _consumer: IConsumer | None = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)
    _fetching: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.length = self._wanted.end - self._wanted.start + 1

    @property
    def backend(self) -> str:
        """Whose copy is being read."""
        return self._blob.backend

    def take(self) -> bytes | None:
        """See `taken`."""
        data = taken(self._source)
        if data is not None:
            self.started = True
            self._delivered = len(data)
        return data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Deliver everything; cancelling stops whichever source is being read."""
        self.started = True
        self._consumer = consumer
        return start(self._run())

    def write(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._delivered += len(data)
        if self._consumer is not None:
            self._consumer.write(data)

    def outlet(self) -> Connection | None:
        """See `Passage`: only how many bytes were delivered is of interest."""
        return outlet_of(self._consumer)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        self._delivered += count
        pass_on(self._consumer, count)

    def pauseProducing(self) -> None:
        """Hold the bytes back, also those of a copy that is still being opened."""
        self._paused = True
        if not self._fetching:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Let the bytes come again."""
        self._paused = False
        if not self._fetching:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        """Stop for good."""
        self._stopped = True
        self._consumer = None
        self._source.stopProducing()

    async def _run(self) -> None:
        fruitless = 0
        while True:
            before = self._delivered
            try:
                await self._source.startProducing(self)
                return
            except CancelledError:
                raise
            except BackendError:
                if self._delivered == self.length:
                    return  # it failed after its last byte: nothing is missing
                fruitless = 0 if self._delivered > before else fruitless + 1
                if self._stopped or fruitless >= FRUITLESS_RESUMES:
                    raise
            await self._go_on()

    async def _go_on(self) -> None:
        rest = ByteRange(self._wanted.start + self._delivered, self._wanted.end)
        self._fetching = True
        try:
            self._blob, self._source = await self._refetch(self._blob, self._blobs, rest)
        finally:
            self._fetching = False
        if self._stopped:
            self._source.stopProducing()
            raise CancelledError
        if self._paused:
            self._source.pauseProducing()
