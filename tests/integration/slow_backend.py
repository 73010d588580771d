"""A memory backend that can be held up, and that tells how much of a body has been asked of it."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.interfaces import Description, Fetched, Stored
from s3orchestrator.protocol.ranges import ByteRange


@implementer(IBodyProducer)
@define(eq=False)
class CountedBody:
    """A body that counts what it has produced."""

    _source: IBodyProducer
    produced: int = field(init=False, default=0)
    stopped: bool = field(init=False, default=False)
    _consumer: IConsumer | None = field(init=False, default=None)

    @property
    def length(self) -> int:
        return self._source.length

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        return self._source.startProducing(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self.produced += len(data)
        assert self._consumer is not None
        self._consumer.write(data)

    def pauseProducing(self) -> None:
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        self.stopped = True
        self._source.stopProducing()


class SlowBackend(MemoryBackend):
    """
    `hold` makes every put, copy and completion wait for `release`. `bodies` are those it has given out.
    """

    held: list[Deferred[None]] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.bodies: list[CountedBody] = []

    def hold(self) -> None:
        """Let nothing through from now on; call it in the reactor's thread."""
        self.held = []

    def release(self) -> None:
        """Let everything through; call it in the reactor's thread."""
        held, self.held = self.held or [], None
        for waiting in held:
            waiting.callback(None)

    async def _wait(self) -> None:
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        fetched = await super().get(name, wanted, etag=etag)
        body = CountedBody(fetched.body)
        self.bodies.append(body)
        return evolve(fetched, body=body)

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        await self._wait()
        return await super().put(name, body, description, exclusive=exclusive)

    async def copy(self, *arguments: Any, **more: Any) -> Stored:
        await self._wait()
        return await super().copy(*arguments, **more)

    async def complete_upload(self, *arguments: Any, **more: Any) -> Stored:
        await self._wait()
        return await super().complete_upload(*arguments, **more)
