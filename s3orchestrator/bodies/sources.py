"""Bodies that are already here, and what to do with a body whose bytes are wanted here."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.filtered import FilteredBody, taken


class BodyTooLong(Exception):
    """A body that was to be held in memory has more bytes than it may."""


@implementer(IBodyProducer)
@define(eq=False)
class BytesBody:
    """
    Bytes in memory. May be started any number of times; all of it is written at once.

    `sha256` (in hex) and `crc32` (in base64) are there if somebody has computed them before.
    """

    data: bytes
    sha256: str | None = None
    crc32: str | None = None
    started: bool = field(init=False, default=False)

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def take(self) -> bytes:
        """See `taken`."""
        self.started = True
        return self.data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write everything."""
        self.started = True
        if self.data:
            consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to hold back."""

    def resumeProducing(self) -> None:
        """Nothing is left to send."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


@define(eq=False)
class _AtMost:
    """A filter that passes everything on, up to a limit."""

    limit: int

    def resize(self, length: int) -> int:
        return length

    def update(self, data: bytes) -> bytes:
        self.limit -= len(data)
        if self.limit < 0:
            raise BodyTooLong("more bytes came than were to be held in memory")
        return data

    def finish(self) -> bytes:
        return b""


@implementer(IConsumer)
@define(eq=False)
class _Gathered:
    """A consumer that keeps what it is given, if it is told to."""

    chunks: list[bytes] | None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nobody is ever asked to pause."""

    def unregisterProducer(self) -> None:
        """Nobody was registered."""

    def write(self, data: bytes) -> None:
        if self.chunks is not None:
            self.chunks.append(data)


async def collect(body: IBodyProducer, limit: int) -> bytes:
    """
    Return all bytes of `body`, which is stopped if there are more than `limit`.

    :raises BodyTooLong: it is longer; if its length is known, without having been started.
    """
    length = body.length
    if length != UNKNOWN_LENGTH and length > limit:
        body.stopProducing()
        raise BodyTooLong(f"{length} bytes, where {limit} may be held in memory")
    data = taken(body)
    if data is not None:
        if len(data) > limit:
            raise BodyTooLong(f"{len(data)} bytes, where {limit} may be held in memory")
        return data
    gathered: list[bytes] = []
    await FilteredBody(body, _AtMost(limit)).startProducing(_Gathered(gathered))
    return b"".join(gathered)


async def discard(body: IBodyProducer) -> None:
    """Read `body` to its end and forget it."""
    await body.startProducing(_Gathered(None))
