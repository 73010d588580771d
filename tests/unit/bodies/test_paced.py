"""A body that is sent no faster than it is taken."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from s3orchestrator.bodies.paced import PIECE, PacedBody


@implementer(IConsumer)
class Taker:
    """Takes one piece, and pauses; an eager one asks for the next before it returns."""

    def __init__(self, body: PacedBody, *, eager: bool = False) -> None:
        self.body, self.eager = body, eager
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.body.pauseProducing()
        if self.eager:
            self.body.resumeProducing()

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class PacedBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = bytes(range(256)) * (PIECE // 100)
        self.body = PacedBody(self.data)
        self.taker = Taker(self.body)

    def test_pieces(self) -> None:
        """Each piece waits to be asked for; then all of them are the whole."""
        done = self.body.startProducing(self.taker)
        self.assertEqual(self.body.length, len(self.data))
        for taken in (1, 2, 3):
            self.assertEqual(len(self.taker.pieces), taken)
            self.body.resumeProducing()
        self.successResultOf(done)
        self.assertEqual(b"".join(self.taker.pieces), self.data)

    def test_eager(self) -> None:
        """Who asks for the next at once is given it, after the one before."""
        taker = Taker(self.body, eager=True)
        self.successResultOf(self.body.startProducing(taker))
        self.assertEqual(b"".join(taker.pieces), self.data)

    def test_stopped(self) -> None:
        """Stopped, or cancelled, it writes nothing more; stopping twice does no harm."""
        done = self.body.startProducing(self.taker)
        self.body.stopProducing()
        self.body.stopProducing()
        self.failureResultOf(done, CancelledError)
        other = PacedBody(self.data)
        taker = Taker(other)
        sending = other.startProducing(taker)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        for body in (self.body, other):
            body.resumeProducing()
        self.assertEqual((len(self.taker.pieces), len(taker.pieces)), (1, 1))

    def test_nothing(self) -> None:
        """Of nothing nothing is written."""
        body = PacedBody(b"")
        taker = Taker(body)
        self.successResultOf(body.startProducing(taker))
        self.assertEqual(taker.pieces, [])
