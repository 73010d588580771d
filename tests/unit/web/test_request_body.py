"""Uploads, from the reader's side and from the wire's."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.errors import BodyAborted
from s3orchestrator.protocol.digests import Verifier
from s3orchestrator.web.request_body import DISCARD_LIMIT, NO_BODY, READ_AHEAD, RequestBody


class Connection:
    """Counts what a body asks of its connection."""

    def __init__(self) -> None:
        self.started = 0
        self.is_looked_at: bool | None = None

    def body_started(self, *, is_looked_at: bool) -> None:
        self.started += 1
        self.is_looked_at = is_looked_at

    def body_moved(self) -> None:
        pass


@implementer(IConsumer)
class Reader:
    """Keeps what it is given; may do something at each piece."""

    def __init__(self, react: Any = None) -> None:
        self.pieces: list[bytes] = []
        self._react = react

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        if self._react is not None:
            self._react()

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class RequestBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = Connection()
        self.body = RequestBody(self.connection, 100)
        self.reader = Reader()

    def start(self) -> Deferred[None]:
        return self.body.startProducing(self.reader)

    def test_interface(self) -> None:
        """It is a body like any other, and so is none at all."""
        verifyObject(IBodyProducer, self.body)
        verifyObject(IBodyProducer, NO_BODY)
        self.assertEqual(RequestBody(self.connection, None).length, UNKNOWN_LENGTH)
        self.assertEqual(self.body.length, 100)

    def test_nothing_is_asked_before_it_is_started(self) -> None:
        """The client goes ahead when somebody reads, not before."""
        self.assertEqual(self.connection.started, 0)
        self.start()
        self.assertEqual(self.connection.started, 1)

    def test_complete_before_it_is_started(self) -> None:
        """A small body that came with its head is simply there; nobody needs to go ahead."""
        self.body.received(b"all")
        self.body.completed()
        self.successResultOf(self.start())
        self.assertEqual(self.reader.pieces, [b"all"])
        self.assertEqual(self.connection.started, 0)

    def test_in_order(self) -> None:
        """What came before the start comes before what comes after it."""
        self.body.received(b"one")
        done = self.start()
        self.body.received(b"two")
        self.assertNoResult(done)
        self.body.completed()
        self.successResultOf(done)
        self.assertEqual(self.reader.pieces, [b"one", b"two"])

    def test_read_once(self) -> None:
        """It cannot be started again."""
        self.start()
        self.assertRaises(RuntimeError, self.start)

    def test_reads_ahead_a_little(self) -> None:
        """Unread bytes are taken up to a limit."""
        self.body.received(b"x" * (READ_AHEAD - 1))
        self.assertTrue(self.body.wants_more)
        self.body.received(b"x")
        self.assertFalse(self.body.wants_more)
        self.start()
        self.assertTrue(self.body.wants_more)

    def test_paused(self) -> None:
        """While it is paused nothing is delivered, wanted, or the client's fault."""
        self.start()
        self.assertTrue(self.body.is_read)
        self.body.pauseProducing()
        self.body.received(b"late")
        self.assertEqual((self.reader.pieces, self.body.wants_more, self.body.is_read), ([], False, False))
        self.body.resumeProducing()
        self.assertEqual(
            (self.reader.pieces, self.body.wants_more, self.body.is_read), ([b"late"], True, True)
        )

    def test_complete_while_paused(self) -> None:
        """The end is told after the last byte has been delivered."""
        done = self.start()
        self.body.pauseProducing()
        self.body.received(b"last")
        self.body.completed()
        self.assertNoResult(done)
        self.body.resumeProducing()
        self.successResultOf(done)
        self.assertEqual(self.reader.pieces, [b"last"])

    def test_paused_by_its_reader(self) -> None:
        """A reader that pauses at each piece gets one piece at a time."""
        self.reader = Reader(self.body.pauseProducing)
        self.body.received(b"one")
        self.body.received(b"two")
        self.start()
        self.assertEqual(self.reader.pieces, [b"one"])
        self.body.received(b"three")
        self.body.resumeProducing()
        self.assertEqual(self.reader.pieces, [b"one", b"two"])

    def test_looked_at(self) -> None:
        """
        A body that goes through a filter is told from one that is only passed on.
        """
        for is_looked_at in (False, True):
            connection = Connection()
            body: IBodyProducer = RequestBody(connection, 10)
            if is_looked_at:
                body = FilteredBody(body, Verifier(10, ["md5"]))
            body.startProducing(Reader())
            self.assertIs(connection.is_looked_at, is_looked_at)

    def test_taken(self) -> None:
        """
        All of it can be had at once when all of it is here, once and only before it is started.
        """
        body = RequestBody(Connection(), 10)
        body.received(b"01234")
        self.assertIsNone(body.take())
        body.received(b"56789")
        body.completed()
        self.assertFalse(body.started)
        self.assertEqual(body.take(), b"0123456789")
        self.assertTrue(body.started)
        self.assertIsNone(body.take())
        self.assertEqual((body.arrived, body.discarded), (10, 0))

    def test_not_taken(self) -> None:
        """
        What is broken or has been started cannot be had at once.
        """
        broken = RequestBody(Connection(), 10)
        broken.failed(BodyAborted("gone"))
        self.assertIsNone(broken.take())
        started = RequestBody(Connection(), 4)
        started.received(b"data")
        started.completed()
        started.startProducing(Reader())
        self.assertIsNone(started.take())

    def test_stopped(self) -> None:
        """After it was stopped, once or twice, nothing is delivered and the end is not told."""
        done = self.start()
        self.body.stopProducing()
        self.body.stopProducing()
        self.body.received(b"more")
        self.body.completed()
        self.assertNoResult(done)
        self.assertEqual(self.reader.pieces, [])

    def test_stopped_from_within(self) -> None:
        """A reader may stop at the first piece."""
        self.reader = Reader(self.body.stopProducing)
        self.body.received(b"one")
        self.body.received(b"two")
        self.start()
        self.assertEqual(self.reader.pieces, [b"one"])

    def test_cancelled(self) -> None:
        """Cancelling stops it."""
        done = self.start()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.body.received(b"more")
        self.body.failed(BodyAborted("left"))
        self.assertEqual(self.reader.pieces, [])

    def test_stopped_before_it_was_started(self) -> None:
        """What nobody wants is dropped up to a limit, and cannot be read any more."""
        self.body.stopProducing()
        self.assertRaises(RuntimeError, self.start)
        self.body.received(b"x" * (DISCARD_LIMIT - 1))
        self.assertTrue(self.body.wants_more)
        self.body.received(b"x")
        self.assertFalse(self.body.wants_more)

    def test_the_client_leaves(self) -> None:
        """The reader is told, even while it pauses."""
        done = self.start()
        self.body.pauseProducing()
        self.body.received(b"undelivered")
        self.body.failed(BodyAborted("the client left"))
        self.failureResultOf(done, BodyAborted)
        self.body.resumeProducing()
        self.assertEqual(self.reader.pieces, [])

    def test_the_client_left_before(self) -> None:
        """Who starts it too late is told so."""
        self.body.failed(BodyAborted("the client left"))
        self.failureResultOf(self.start(), BodyAborted)

    def test_leaving_after_the_end(self) -> None:
        """A complete body stays complete."""
        self.body.received(b"all")
        self.body.completed()
        self.body.failed(BodyAborted("too late"))
        self.successResultOf(self.start())

    def test_no_body(self) -> None:
        """No body is done at once, any number of times."""
        self.successResultOf(NO_BODY.startProducing(self.reader))
        self.successResultOf(NO_BODY.startProducing(self.reader))
        self.assertEqual((NO_BODY.length, self.reader.pieces), (0, []))
