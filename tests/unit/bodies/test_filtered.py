"""Bodies seen through filters, in every order of events."""

from __future__ import annotations

from typing import Any

from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.filtered import FilteredBody, pump
from s3orchestrator.bodies.sources import BodyTooLong, BytesBody, collect, discard
from s3orchestrator.concurrency import start
from s3orchestrator.errors import IntegrityError

EVENTS = ["feed", "choke", "pause", "resume", "stop", "cancel", "end", "fail"]


@implementer(IBodyProducer)
@define(eq=False)
class Source:
    """A body that does what the test says, and insists on how it is treated."""

    data: bytes = b""
    length: Any = 0
    paused: bool = False
    stops: int = 0
    _consumer: IConsumer | None = None
    _produced: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        assert self._produced is None, "started twice"
        self._consumer = consumer
        self._produced = Deferred(lambda _: self.stopProducing())
        if self.data:
            consumer.write(self.data)
        return self._produced

    @property
    def is_stopped(self) -> bool:
        return self.stops > 0

    def feed(self, data: bytes) -> None:
        if self._consumer is not None and not self.is_stopped:
            self._consumer.write(data)

    def end(self, result: Failure | None = None) -> None:
        if self._produced is not None and not self._produced.called and not self.is_stopped:
            self._produced.callback(result)  # type: ignore[arg-type]

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.stops += 1


@define(eq=False)
class Doubling:
    """Writes everything twice, and its name at the end; chokes on a `!`."""

    finished: int = 0

    def resize(self, length: int) -> int:
        return 2 * length + 3

    def update(self, data: bytes) -> bytes:
        if b"!" in data:
            raise IntegrityError("choked")
        return data + data

    def finish(self) -> bytes:
        self.finished += 1
        return b"end"


class FilteredBodyTests(SynchronousTestCase):
    """One filter on one source."""

    def setUp(self) -> None:
        self.source = Source(length=4)
        self.filter = Doubling()
        self.body = FilteredBody(self.source, self.filter)
        self.sink = StringTransport()

    def test_everything(self) -> None:
        """
        What the filter makes of each piece is written, then what it says at the end.
        """
        done = self.body.startProducing(self.sink)
        self.source.feed(b"ab")
        self.source.feed(b"cd")
        self.assertEqual(self.sink.value(), b"ababcdcd")
        self.source.end()
        self.successResultOf(done)
        self.assertEqual(self.sink.value(), b"ababcdcdend")
        self.assertEqual(self.filter.finished, 1)

    def test_length(self) -> None:
        """
        The length is what the filter makes of the source's; unknown stays unknown, unless one is given.
        """
        self.assertEqual(self.body.length, 11)
        self.assertEqual(FilteredBody(self.body, Doubling()).length, 25)
        self.assertEqual(FilteredBody(Source(length=UNKNOWN_LENGTH), Doubling()).length, UNKNOWN_LENGTH)
        self.assertEqual(FilteredBody(Source(length=UNKNOWN_LENGTH), Doubling(), 7).length, 7)

    def test_started(self) -> None:
        """
        Until it is started it can be offered to somebody else.
        """
        self.assertFalse(self.body.started)
        self.body.startProducing(self.sink)
        self.assertTrue(self.body.started)

    def test_pace(self) -> None:
        """
        Pausing, resuming and stopping reach the source.
        """
        self.body.startProducing(self.sink)
        self.body.pauseProducing()
        self.assertTrue(self.source.paused)
        self.body.resumeProducing()
        self.assertFalse(self.source.paused)
        self.body.stopProducing()
        self.assertTrue(self.source.is_stopped)

    def test_filter_fails(self) -> None:
        """
        What the filter raises stops the source and is the failure; nothing more is written.
        """
        done = self.body.startProducing(self.sink)
        self.source.feed(b"a")
        self.source.feed(b"!")
        self.failureResultOf(done, IntegrityError)
        self.assertTrue(self.source.is_stopped)
        self.body.write(b"b")
        self.assertEqual(self.sink.value(), b"aa")
        self.assertEqual(self.filter.finished, 0)

    def test_filter_fails_at_once(self) -> None:
        """
        Also before there is a Deferred that could be cancelled.
        """
        source = Source(b"!")
        done = FilteredBody(source, self.filter).startProducing(self.sink)
        self.failureResultOf(done, IntegrityError)
        self.assertTrue(source.is_stopped)

    def test_whole_source_at_once(self) -> None:
        """
        A source that delivers everything before it returns may fail the filter, too.
        """
        done = FilteredBody(BytesBody(b"a!"), self.filter).startProducing(self.sink)
        self.failureResultOf(done, IntegrityError)

    def test_filter_fails_at_the_end(self) -> None:
        """
        A digest that does not match is found out last.
        """

        class Wrong(Doubling):
            def finish(self) -> bytes:
                raise IntegrityError("wrong")

        done = FilteredBody(self.source, Wrong()).startProducing(self.sink)
        self.source.end()
        self.failureResultOf(done, IntegrityError)

    def test_source_fails(self) -> None:
        """
        The source's failure is passed on; the filter does not finish.
        """
        done = self.body.startProducing(self.sink)
        self.source.end(Failure(ValueError("gone")))
        self.failureResultOf(done, ValueError)
        self.assertEqual(self.filter.finished, 0)

    def test_consumer_fails(self) -> None:
        """
        A consumer that raises stops the source.
        """

        class Broken(StringTransport):
            def write(self, data: bytes) -> None:
                raise ValueError("broken")

        done = self.body.startProducing(Broken())
        self.source.feed(b"a")
        self.failureResultOf(done, ValueError)
        self.assertTrue(self.source.is_stopped)

    def test_cancelled(self) -> None:
        """
        Cancelling stops the source.
        """
        done = self.body.startProducing(self.sink)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(self.source.is_stopped)

    @given(
        st.lists(
            st.sampled_from(["feed", "choke", "pause", "resume", "stop", "cancel", "end", "fail"]),
            max_size=12,
        ),
        st.integers(1, 3),
    )
    def test_any_order(self, events: list[str], depth: int) -> None:
        """
        Whatever happens in whatever order: one result at most, nothing written after it, and the
        source has ended or was stopped once somebody wanted it to.
        """
        source, sink = Source(length=4), StringTransport()
        body: IBodyProducer = source
        for _ in range(depth):
            body = FilteredBody(body, Doubling())
        done = body.startProducing(sink)
        results: list[object] = []
        done.addBoth(results.append)
        stopped = ended = False
        for event in events:
            over = bool(results) or stopped
            before = sink.value()
            if event == "feed":
                source.feed(b"a")
            elif event == "choke":
                source.feed(b"!")
            elif event == "pause":
                body.pauseProducing()
            elif event == "resume":
                body.resumeProducing()
            elif event == "stop":
                body.stopProducing()
                stopped = True
            elif event == "cancel":
                done.cancel()
            else:
                ended = ended or not source.is_stopped
                source.end(Failure(ValueError()) if event == "fail" else None)
            if over:
                self.assertEqual(sink.value(), before)
        self.assertLessEqual(len(results), 1)
        if results or stopped:
            self.assertTrue(source.is_stopped or ended)
        else:
            self.assertFalse(source.is_stopped)


class PumpTests(SynchronousTestCase):
    """Delivering a body to a transport."""

    def setUp(self) -> None:
        self.source = Source()
        self.sink = StringTransport()
        self.pumping = start(pump(self.source, self.sink))

    def test_pace(self) -> None:
        """
        While it is delivered the consumer sets the pace; then it is let go.
        """
        self.assertIs(self.sink.producer, self.source)
        self.assertTrue(self.sink.streaming)
        self.source.feed(b"abc")
        self.source.end()
        self.successResultOf(self.pumping)
        self.assertEqual(self.sink.value(), b"abc")
        self.assertIsNone(self.sink.producer)

    def test_failure(self) -> None:
        """
        A failure is passed on; the consumer is let go, so that it can be aborted.
        """
        self.source.end(Failure(ValueError()))
        self.failureResultOf(self.pumping, ValueError)
        self.assertIsNone(self.sink.producer)

    def test_cancelled(self) -> None:
        """
        Cancelling stops the body.
        """
        self.pumping.cancel()
        self.failureResultOf(self.pumping, CancelledError)
        self.assertTrue(self.source.is_stopped)


class CollectTests(SynchronousTestCase):
    """Bodies that are wanted in memory."""

    def test_pieces(self) -> None:
        """
        All pieces, joined.
        """
        source = Source(length=UNKNOWN_LENGTH)
        collected = start(collect(source, 4))
        source.feed(b"ab")
        source.feed(b"cd")
        source.end()
        self.assertEqual(self.successResultOf(collected), b"abcd")

    def test_bytes(self) -> None:
        """
        Bytes are there already, as often as one likes.
        """
        body = BytesBody(b"abc")
        for _ in range(2):
            self.assertEqual(self.successResultOf(start(collect(body, 3))), b"abc")

    def test_announced_too_long(self) -> None:
        """
        A body that says it is too long is never started.
        """
        source = Source(length=5)
        self.failureResultOf(start(collect(source, 4)), BodyTooLong)
        self.assertTrue(source.is_stopped)
        self.failureResultOf(start(collect(BytesBody(b"12345"), 4)), BodyTooLong)

    def test_turns_out_too_long(self) -> None:
        """
        One that turns out to be is stopped.
        """
        source = Source(length=UNKNOWN_LENGTH)
        collected = start(collect(source, 4))
        source.feed(b"12345")
        self.failureResultOf(collected, BodyTooLong)
        self.assertTrue(source.is_stopped)

    def test_fails(self) -> None:
        """
        Half a body is no body.
        """
        source = Source(length=4)
        collected = start(collect(source, 4))
        source.feed(b"ab")
        source.end(Failure(ValueError()))
        self.failureResultOf(collected, ValueError)

    def test_discard(self) -> None:
        """
        What is read to its end and forgotten.
        """
        source = Source(length=4)
        discarding = start(discard(source))
        source.feed(b"abcd")
        self.assertNoResult(discarding)
        source.end()
        self.successResultOf(discarding)

    def test_restart(self) -> None:
        """
        Bytes can be sent again.
        """
        body = BytesBody(b"abc")
        for _ in range(2):
            sink = StringTransport()
            self.successResultOf(body.startProducing(sink))
            self.assertEqual(sink.value(), b"abc")
        self.assertEqual(body.length, 3)

    def test_results(self) -> None:
        """
        Sources that are over before they return are fine.
        """

        @implementer(IBodyProducer)
        class Over(Source):
            def startProducing(self, consumer: IConsumer) -> Deferred[None]:
                return succeed(None) if self.data else fail(ValueError())

        self.assertEqual(self.successResultOf(start(collect(Over(b"x"), 4))), b"")
        self.failureResultOf(start(collect(Over(), 4)), ValueError)
