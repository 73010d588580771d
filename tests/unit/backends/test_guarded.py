"""The gate before a backend: what trips its breaker, and what must not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from s3orchestrator.backends.faults import Fault, PacedBody
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.sources import BytesBody, collect, discard
from s3orchestrator.concurrency import deadline, start
from s3orchestrator.domain.breaker import STALE_AFTER, State
from s3orchestrator.errors import (
    BackendRefused,
    BackendUnavailable,
    BlobChanged,
    BodyAborted,
    IntegrityError,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import Description, IBackend, Stored
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.services.watchdog import Watchdog
from tests.unit.backends.gate import OPEN_FOR, PLAIN, THRESHOLD, Gate, sample

LONG = bytes(200_000)


class GateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.gate = Gate(self.id())
        self.backend = self.gate.backend

    def assertNotCounted(self, work: Callable[[], Coroutine[Any, Any, Any]], error: type) -> None:
        """Many times this, and the breaker stays as it is."""
        for _ in range(3 * THRESHOLD):
            self.assertIsInstance(self.gate.outcome(work()), error)
        self.assertEqual((self.gate.state, self.gate.breaker.failures), (State.CLOSED, 0))


class AnswersTests(GateCase):
    """Whoever says no is there."""

    def test_interface(self) -> None:
        """It is a backend."""
        verifyObject(IBackend, self.backend)

    def test_missing(self) -> None:
        """A missing object is an answer, however often (T39)."""
        self.assertNotCounted(lambda: self.backend.head("nothing"), NoSuchBlob)
        self.assertNotCounted(lambda: self.backend.get("nothing"), NoSuchBlob)

    def test_refusals(self) -> None:
        """So are the other ways to say no."""
        self.gate.put()
        taken = lambda: self.backend.put("k", BytesBody(b""), PLAIN, exclusive=True)  # noqa: E731
        self.assertNotCounted(taken, NameTaken)
        self.assertNotCounted(lambda: self.backend.get("k", etag="other"), BlobChanged)
        self.assertNotCounted(lambda: self.backend.head(""), BackendRefused)
        self.assertNotCounted(lambda: self.backend.put_part("k", "u", 1, BytesBody(b"")), NoSuchUpload)

    def test_answer_ends_the_row(self) -> None:
        """Failures are counted in a row, and a 404 interrupts it."""
        for _ in range(3):
            self.gate.fail(THRESHOLD - 1)
            self.gate.outcome(self.backend.head("nothing"))
        self.assertIs(self.gate.state, State.CLOSED)

    def test_server_errors(self) -> None:
        """An answer that it cannot answer now is a failure."""
        self.gate.memory.faults.always(Fault.FAILED)
        for _ in range(THRESHOLD):
            self.gate.outcome(self.backend.head("k"))
        self.assertIs(self.gate.state, State.OPEN)


class Impatient(MemoryBackend):
    """A backend that breaks uploads off when a test says so."""

    patience: Deferred[None]

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        start(discard(body)).addErrback(lambda failure: failure.trap(CancelledError))
        await self.patience
        body.stopProducing()
        raise BackendUnavailable("408: where is your body?", replied=True)


class DepartedTests(GateCase):
    """What the caller did is not held against the backend (T39)."""

    def test_cancelled(self) -> None:
        """A client that leaves while the backend is thinking says nothing about it."""
        self.gate.memory.faults.always(Fault.STALLED)
        for _ in range(3 * THRESHOLD):
            waiting = self.gate.begin(self.backend.head("k"))
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.assertEqual((self.gate.state, self.gate.breaker.failures), (State.CLOSED, 0))

    def test_callers_deadline(self) -> None:
        """Nor does a deadline of the caller's."""
        self.gate.memory.faults.always(Fault.STALLED)
        for _ in range(3 * THRESHOLD):
            waiting = start(deadline(1, self.backend.head("k"), self.gate.clock, lambda: BodyAborted("late")))
            self.gate.clock.advance(1)
            self.failureResultOf(waiting, BodyAborted)
        self.assertIs(self.gate.state, State.CLOSED)

    def test_bodies(self) -> None:
        """A body that breaks off or is not what was declared is its sender's."""
        for error in (BodyAborted("left"), IntegrityError("other bytes"), S3Error("BadDigest")):

            def put(error: Exception = error) -> Any:
                return self.backend.put("k", PacedBody(LONG, 10, lambda: error), PLAIN, exclusive=False)

            self.assertNotCounted(put, type(error))

    def test_reader_leaves(self) -> None:
        """A download that nobody wants the end of is no failure."""
        self.gate.put(LONG)
        self.gate.memory.faults.always(Fault.STALLED_BODY, "get")
        for _ in range(3 * THRESHOLD):
            fetched = self.gate.outcome(self.backend.get("k"))
            reading = start(collect(fetched.body, len(LONG)))
            reading.cancel()
            self.failureResultOf(reading, CancelledError)
        self.assertEqual((self.gate.state, self.gate.breaker.failures), (State.CLOSED, 0))

    def test_sender_was_silent(self) -> None:
        """A backend that will not wait for a client that sends nothing has not failed."""

        self.backend.backend = impatient = Impatient("impatient", self.gate.clock)
        for silence, state in ((30, State.CLOSED), (1, State.OPEN)):
            for _ in range(THRESHOLD):
                impatient.patience = Deferred()
                putting = start(self.backend.put("k", PacedBody(LONG, 10), PLAIN, exclusive=False))
                self.gate.clock.advance(silence)
                impatient.patience.callback(None)
                self.failureResultOf(putting, BackendUnavailable)
            self.assertIs(self.gate.state, state)


class OpenTests(GateCase):
    """A backend that is left alone, and how it comes back."""

    def test_refuses_at_once(self) -> None:
        """While it is open nothing reaches the backend, and the caller knows that nothing was sent."""
        self.gate.fail(THRESHOLD)
        before = len(self.gate.memory.calls)
        error = self.gate.put()
        self.assertIsInstance(error, BackendUnavailable)
        self.assertEqual((error.sent, error.is_unclear, error.replied), (False, False, False))
        self.assertIn(self.gate.name, str(error))
        self.assertEqual(len(self.gate.memory.calls), before)

    def test_original_errors(self) -> None:
        """The failure that opens it reaches the caller as it is: whether it was sent matters."""
        self.gate.memory.faults.always(Fault.LOST_ANSWER)
        errors = [self.gate.put() for _ in range(THRESHOLD)]
        self.assertEqual([error.sent for error in errors], [True] * THRESHOLD)

    def test_ordinary_call_is_the_probe(self) -> None:
        """When its time has come one call goes through, and closes it."""
        self.gate.fail(THRESHOLD)
        self.gate.clock.advance(OPEN_FOR)
        self.assertNotIsInstance(self.gate.put(), Exception)
        self.assertIs(self.gate.state, State.CLOSED)

    def test_one_probe(self) -> None:
        """Only one call goes through, whatever becomes of it; others are refused meanwhile."""
        self.gate.fail(THRESHOLD)
        self.gate.clock.advance(OPEN_FOR)
        self.gate.memory.faults.next("head", Fault.STALLED)
        probing = self.gate.begin(self.backend.head("k"))
        self.assertIsInstance(self.gate.put(), BackendUnavailable)
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.assertIs(self.gate.state, State.OPEN)
        self.assertNotIsInstance(self.gate.put(), Exception)  # the next one may try at once

    def test_probe_need_not_be_read(self) -> None:
        """A download that is the probe closes the breaker with its headers."""
        self.gate.put(LONG)
        self.gate.fail(THRESHOLD)
        self.gate.clock.advance(OPEN_FOR)
        fetched = self.gate.outcome(self.backend.get("k"))
        self.assertIs(self.gate.state, State.CLOSED)
        fetched.body.stopProducing()

    def test_watchdog(self) -> None:
        """A probe that never comes back is given up, also if nobody asks."""
        self.gate.fail(THRESHOLD)
        self.gate.clock.advance(OPEN_FOR)
        self.gate.memory.faults.next("head", Fault.STALLED)
        lost = self.gate.begin(self.backend.head("k"))
        watchdog = Watchdog(lambda: {"gated": self.gate.breaker}, self.gate.clock)
        self.gate.clock.advance(STALE_AFTER - 1)
        self.successResultOf(start(watchdog.run_once()))
        self.assertIs(self.gate.state, State.HALF_OPEN)
        self.gate.clock.advance(1)
        self.successResultOf(start(watchdog.run_once()))
        self.assertIs(self.gate.state, State.OPEN)
        self.assertNotIsInstance(self.gate.put(), Exception)
        lost.cancel()
        self.failureResultOf(lost, CancelledError)
        self.assertIs(self.gate.state, State.CLOSED)  # the late one changes nothing


class BodiesTests(GateCase):
    """Bodies that die."""

    def test_half_way(self) -> None:
        """Replies that die in the middle are failures, although their headers came."""
        self.gate.put(LONG)
        self.gate.memory.faults.always(Fault.TRUNCATED, "get")
        for _ in range(THRESHOLD):
            fetched = self.gate.outcome(self.backend.get("k"))
            self.assertIsInstance(self.gate.outcome(collect(fetched.body, len(LONG))), BackendUnavailable)
        self.assertIs(self.gate.state, State.OPEN)

    def test_whole(self) -> None:
        """Those that come to their end are not, and are what was put."""
        data = bytes(range(256)) * 1000
        self.gate.put(data)
        self.gate.fail(THRESHOLD - 1)
        fetched = self.gate.outcome(self.backend.get("k"))
        self.assertEqual(self.gate.outcome(collect(fetched.body, len(data))), data)
        self.assertEqual(self.gate.breaker.failures, 0)


class MetricsTests(GateCase):
    """What is shown of calls."""

    def count(self, operation: str, status: str) -> float:
        return sample(
            "s3o_backend_requests_total", operation=operation, backend=self.gate.name, status=status
        )

    def test_calls(self) -> None:
        """Each call that was made is counted by what became of it."""
        self.gate.put()
        self.gate.outcome(self.backend.head("nothing"))
        self.gate.outcome(self.backend.head(""))
        self.gate.fail(1)
        self.gate.memory.faults.next("head", Fault.STALLED)
        waiting = self.gate.begin(self.backend.head("k"))
        self.gate.clock.advance(3)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.count("PutObject", "success"), 1)
        found = [self.count("HeadObject", status) for status in ("success", "error", "cancelled")]
        self.assertEqual(found, [1, 2, 1])
        seconds = sample("s3o_backend_duration_seconds_sum", operation="HeadObject", backend=self.gate.name)
        self.assertEqual(seconds, 3)

    def test_refused_by_ourselves(self) -> None:
        """A call that was not made is not counted."""
        self.gate.fail(THRESHOLD)
        self.gate.put()
        self.assertEqual(self.count("PutObject", "success") + self.count("PutObject", "error"), 0)
