"""What a memory backend can be told to do wrong, and the bodies that show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import cast

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.filtered import pump
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable, BodyAborted

PIECE = 64 * 1024


class Fault(Enum):
    """A way to fail; what is not about a body works for every verb."""

    REFUSED = "nobody listens: nothing was sent"
    FAILED = "a clear 500: nothing was done"
    STALLED = "no answer ever comes; nothing is done"
    LOST_ANSWER = "the work is done, and the connection lost before the answer"
    LATE = "the connection is lost, and the work done when `MemoryBackend.catch_up` says so"
    TRUNCATED = "the connection is lost in mid-body, of a put, a part or a get"
    STALLED_BODY = "in mid-body nothing moves any more, of a put, a part or a get"
    WRONG_BYTES = "one bit of a body is another, of a put, a part or a get"
    WRONG_ETAG = "the answer's ETag is not the object's"
    WRONG_SIZE = "the answer's size is one more than the object's"


@define(eq=False)
class Faults:
    """Which fault each verb (a method's name) meets next."""

    _next: dict[str, deque[Fault | None]] = field(init=False, factory=dict)
    _always: dict[str, Fault] = field(init=False, factory=dict)

    def next(self, verb: str, *faults: Fault | None) -> None:
        """Let the next calls of `verb` meet these, one each; None is a call that goes well."""
        self._next.setdefault(verb, deque()).extend(faults)

    def always(self, fault: Fault, *verbs: str) -> None:
        """Let every call meet `fault`, or those of `verbs` if any are given."""
        self._always.update(dict.fromkeys(verbs or ("",), fault))

    def clear(self) -> None:
        """Let everything go well again."""
        self._next.clear()
        self._always.clear()

    def take(self, verb: str) -> Fault | None:
        """Return what a call meets that begins now."""
        if waiting := self._next.get(verb):
            return waiting.popleft()
        return self._always.get(verb) or self._always.get("")


@implementer(IBodyProducer)
@define(eq=False)
class PacedBody:
    """
    Bytes in memory, delivered in pieces at the consumer's pace.

    After `end` bytes, if that is less than all, it stalls, or breaks if `failure` is given.
    """

    data: bytes
    end: int = field()
    _failure: Callable[[], Exception] | None = None
    started: bool = field(init=False, default=False)
    _sent: int = field(init=False, default=0)
    _consumer: IConsumer | None = field(init=False, default=None)
    _produced: Deferred[None] | None = field(init=False, default=None)
    _is_paused: bool = field(init=False, default=False)
    _is_sending: bool = field(init=False, default=False)
    _is_over: bool = field(init=False, default=False)

    @end.default
    def _all(self) -> int:
        return len(self.data)

    @property
    def length(self) -> int:
        """What the reply announced."""
        return len(self.data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Deliver the bytes; once."""
        self.started = True
        self._consumer = consumer
        produced: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._produced = produced
        if self._is_over:
            produced.errback(CancelledError())
        else:
            self._send()
        return produced

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._send()

    def stopProducing(self) -> None:
        """Deliver nothing more."""
        self._is_over = True

    def _send(self) -> None:
        if self._is_sending or self._consumer is None:
            return
        self._is_sending = True
        while not self._is_paused and not self._is_over and self._sent < self.end:
            piece = self.data[self._sent : min(self._sent + PIECE, self.end)]
            self._sent += len(piece)
            self._consumer.write(piece)
        self._is_sending = False
        if self._sent >= self.end and not self._is_over and not self._is_paused:
            self._reach_end()

    def _reach_end(self) -> None:
        assert self._produced is not None
        if self.end == len(self.data):
            self._is_over = True
            self._produced.callback(None)
        elif self._failure is not None:
            self._is_over = True
            self._produced.errback(self._failure())


@implementer(IConsumer)
@define(eq=False)
class _Gathering:
    """Takes a body, up to `limit` bytes: then it stops listening, pauses it and tells `on_full`."""

    limit: int | None
    on_full: Callable[[], None] | None = None
    chunks: list[bytes] = field(init=False, factory=list)
    size: int = field(init=False, default=0)
    is_full: bool = field(init=False, default=False)
    _producer: IPushProducer | None = field(init=False, default=None)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Know whom to pause."""
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        """Nobody is to be paused any more."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        if self.is_full:
            return
        self.chunks.append(data)
        self.size += len(data)
        if self.limit is not None and self.size >= self.limit:
            self.is_full = True
            if self._producer is not None:
                self._producer.pauseProducing()
            if self.on_full is not None:
                self.on_full()


async def gather(body: IBodyProducer, fault: Fault | None, lost: Callable[[], BackendUnavailable]) -> bytes:
    """
    Return the bytes of a body that a put or a part meeting `fault` is given.

    :raises BodyAborted: it was shorter or longer than announced.
    :raises ValueError: nothing was announced, and no S3 service would take it either.
    """
    length = body.length
    if length == UNKNOWN_LENGTH:
        raise ValueError("a body of unknown length")
    if fault in (Fault.TRUNCATED, Fault.STALLED_BODY):
        await _break_off(body, length // 2, fault)
        raise lost()
    gathering = _Gathering(limit=None)
    await pump(body, gathering)
    if length != gathering.size:
        raise BodyAborted(f"the body had {gathering.size} bytes where {length} were announced")
    data = b"".join(gathering.chunks)
    return flipped(data) if fault is Fault.WRONG_BYTES else data


async def _break_off(body: IBodyProducer, limit: int, fault: Fault) -> None:
    """Take `limit` bytes of a body and stop it, or wait for ever."""
    gathering = _Gathering(limit)
    producing = start(pump(body, gathering))
    if fault is Fault.TRUNCATED:
        gathering.on_full = producing.cancel
        if gathering.is_full:
            producing.cancel()
    try:
        await producing
    except CancelledError:
        if fault is Fault.TRUNCATED and gathering.is_full:
            return
        raise
    if fault is Fault.STALLED_BODY:  # all of it came at once, before it could be paused
        await Deferred()


def faulty_body(data: bytes, fault: Fault | None, lost: Callable[[], BackendUnavailable]) -> IBodyProducer:
    """Return the body of a get that meets `fault`."""
    if fault is Fault.WRONG_BYTES:
        data = flipped(data)
    if fault is Fault.TRUNCATED:
        return PacedBody(data, len(data) // 2, lost)
    if fault is Fault.STALLED_BODY:
        return PacedBody(data, len(data) // 2)
    return PacedBody(data)


def flipped(data: bytes) -> bytes:
    """Return `data` with one bit in its middle the other way round."""
    if not data:
        return data
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
