"""A request's body while it is still on its way from the client."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.bodies.sockets import Connection
from s3orchestrator.bodies.splicing import outlet_of, pass_on
from s3orchestrator.errors import BodyAborted

# Taken off the wire although nobody asked yet: enough that a client which leaves is noticed,
# and small bodies are complete when somebody does ask.
READ_AHEAD = 64 * 1024
# Bytes of a refused upload that are read and dropped so that its connection can live on.
DISCARD_LIMIT = 256 * 1024


class IUploader(Protocol):
    """The connection, as its body sees it."""

    def body_started(self, *, is_looked_at: bool) -> None:
        """Somebody wants the body: the client may go ahead. `is_looked_at`: not only to pass it on."""

    def body_moved(self) -> None:
        """How much is wanted has changed."""


@implementer(IBodyProducer)
class RequestBody:
    """
    What a client uploads, at the pace of whoever reads it.

    waiting → flowing ⇄ paused → over; `stopProducing` leads to *discarding* from anywhere. Nothing
    beyond `READ_AHEAD` is read before it is started, which is also what sends `100 Continue`.

    The Deferred of `startProducing` fails with `BodyAborted` when the client leaves, falls
    silent while we are reading, or breaks the framing.
    """

    length: int
    arrived: int  # bytes taken off the wire
    discarded: int  # those among them that nobody wanted any more

    def __init__(self, uploader: IUploader, length: int | None) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length  # type: ignore[assignment]
        self._uploader = uploader
        self._consumer: IConsumer | None = None
        self._produced: Deferred[None] | None = None
        self._failure: BodyAborted | None = None
        self._held: deque[bytes] = deque()
        self._held_size = 0
        self.arrived = 0
        self.discarded = 0
        self._is_paused = False
        self._is_stopped = False
        self._is_complete = False

    @property
    def started(self) -> bool:
        """Whether somebody has asked for the bytes, so that they cannot be offered to anybody else."""
        return self._produced is not None or self._is_stopped

    @property
    def is_read(self) -> bool:
        """Whether somebody waits for the client's next bytes: only then is silence the client's fault."""
        return self._consumer is not None and not (self._is_paused or self._is_complete)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody would be told if the rest did not come."""
        return self._consumer is not None

    @property
    def is_broken(self) -> bool:
        """Whether the rest will not come, or could not be understood."""
        return self._failure is not None

    @property
    def wants_more(self) -> bool:
        """Whether the next bytes should be taken off the wire."""
        if self._failure is not None:
            return False
        if self._is_stopped:
            return self.discarded < DISCARD_LIMIT
        if self._produced is None:
            return self._held_size < READ_AHEAD
        return not self._is_paused

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the whole body to `consumer`; what has come already is written before this returns."""
        if self._produced is not None or self._is_stopped:
            raise RuntimeError("a request's body can be read once")
        if self._failure is not None:
            return fail(self._failure)
        produced: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._produced = produced
        self._consumer = consumer
        if not self._is_complete:
            self._uploader.body_started(is_looked_at=isinstance(consumer, FilteredBody))
        self._flow()
        return produced

    def take(self) -> bytes | None:
        """See `bodies.filtered.taken`."""
        if not self._is_complete or self.started or self._failure is not None:
            return None
        self._is_stopped = True
        held = b"".join(self._held)
        self._held.clear()
        return held

    def pauseProducing(self) -> None:
        """Stop reading; the client's time stands still."""
        self._is_paused = True
        self._uploader.body_moved()

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._flow()
        self._uploader.body_moved()

    def stopProducing(self) -> None:
        """Want no more of it; may come at any time and more than once."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._consumer = None
        self._held.clear()
        self._uploader.body_moved()

    def received(self, data: bytes) -> None:
        """Take bytes off the wire; for the connection."""
        if not data:
            return
        self.arrived += len(data)
        if self._is_stopped or self._failure is not None:
            self.discarded += len(data)
        elif self._consumer is None or self._is_paused or self._held:
            self._held.append(data)
            self._held_size += len(data)
        else:
            self._consumer.write(data)

    def outlet(self) -> Connection | None:
        """See `Passage`; nothing may overtake what is held."""
        return None if self._held or self._is_paused else outlet_of(self._consumer)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        self.arrived += count
        pass_on(self._consumer, count)

    def completed(self) -> None:
        """Note that all of it has been received; for the connection."""
        self._is_complete = True
        self._flow()

    def failed(self, reason: BodyAborted) -> None:
        """Note that the rest will not come; for the connection."""
        if self._is_complete or self._failure is not None:
            return
        self._failure = reason
        self._held.clear()
        self._consumer = None
        if self._produced is not None and not self._is_stopped:
            self._produced.errback(reason)

    def _flow(self) -> None:
        # The consumer may pause, stop or cancel from within `write`.
        while self._held and self._consumer is not None and not self._is_paused:
            data = self._held.popleft()
            self._held_size -= len(data)
            self._consumer.write(data)
        if self._is_complete and not self._held and self._consumer is not None:
            self._consumer = None
            assert self._produced is not None
            self._produced.callback(None)


@implementer(IBodyProducer)
class NoBody:
    """The body of a request that has none; one for all."""

    length = 0
    arrived = 0
    started = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Be done."""
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to do."""

    def resumeProducing(self) -> None:
        """Nothing to do."""

    def stopProducing(self) -> None:
        """Nothing to do."""


NO_BODY = NoBody()
