"""A long body that is in memory already, sent no faster than it is taken."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

PIECE = 64 * 1024


@implementer(IBodyProducer)
@define(eq=False)
class PacedBody:
    """
    Bytes that several may be reading at once, each at a pace of its own; only pieces of them are copied.

    `BytesBody` writes all at once, which is right for what is short.
    """

    data: bytes
    _sent: int = field(default=0, init=False)
    _is_paused: bool = field(default=False, init=False)
    _is_writing: bool = field(default=False, init=False)
    _consumer: IConsumer | None = field(default=None, init=False)
    _done: Deferred[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._done = Deferred(lambda _: self._stop())

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write as much as is taken; fires when all is."""
        self._consumer = consumer
        self._write()
        return self._done

    def pauseProducing(self) -> None:
        """Write nothing until `resumeProducing`."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._write()

    def stopProducing(self) -> None:
        """Write nothing any more; may come twice."""
        self._stop()
        if not self._done.called:
            self._done.errback(CancelledError())

    def _stop(self) -> None:
        self._sent = len(self.data)
        self._consumer = None

    def _write(self) -> None:
        if self._is_writing:  # whoever takes a piece may ask for the next before we are back
            return
        self._is_writing = True
        while self._consumer is not None and not self._is_paused and self._sent < len(self.data):
            piece = self.data[self._sent : self._sent + PIECE]
            self._sent += len(piece)
            self._consumer.write(piece)
        self._is_writing = False
        if self._consumer is not None and self._sent == len(self.data) and not self._done.called:
            self._done.callback(None)
