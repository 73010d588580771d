"""Usage: what is counted, and that limits hold however many ask at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from s3orchestrator.backends.faults import Fault, PacedBody
from s3orchestrator.backends.metering import Meter
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.domain.usage import NO_LIMITS, Counters, Limits
from s3orchestrator.errors import UsageLimitExceeded
from s3orchestrator.interfaces import ICountsRequests
from s3orchestrator.protocol.ranges import ByteRange
from tests.unit.backends.gate import PLAIN, Gate

LONG = bytes(3_000_000)


class CountingTests(SynchronousTestCase):
    """What a call uses."""

    def setUp(self) -> None:
        self.gate = Gate(self.id())
        self.backend = self.gate.backend

    def stream(self, data: bytes, name: str = "k") -> Any:
        return self.gate.outcome(self.backend.put(name, PacedBody(data), PLAIN, exclusive=False))

    def test_put(self) -> None:
        """A request, and the bytes; whether they were in memory or streamed."""
        self.gate.put(b"12345")
        self.assertEqual(self.gate.used, Counters(1, 0, 5))
        self.stream(LONG)
        self.assertEqual(self.gate.used, Counters(2, 0, 5 + len(LONG)))

    def test_get(self) -> None:
        """A request, and what was read of it."""
        self.stream(LONG)
        for wanted, size in ((None, len(LONG)), (ByteRange(5, 14), 10)):
            before = self.gate.used.egress_bytes
            fetched = self.gate.outcome(self.backend.get("k", wanted))
            self.gate.outcome(collect(fetched.body, size))
            self.assertEqual(self.gate.used.egress_bytes - before, size)
        self.assertEqual(self.gate.used.api_requests, 3)

    def test_failures_count(self) -> None:
        """What failed after it was sent was used all the same; what never left was not."""
        self.gate.memory.faults.next("put", Fault.LOST_ANSWER, Fault.TRUNCATED, Fault.REFUSED)
        self.gate.put(b"12345")
        self.assertEqual(self.gate.used, Counters(1, 0, 5))
        self.stream(LONG)
        self.assertEqual(self.gate.used.api_requests, 2)
        self.assertGreaterEqual(self.gate.used.ingress_bytes, len(LONG) // 2)
        before = self.gate.used
        self.gate.put(b"12345")
        self.assertEqual(self.gate.used, before)

    def test_half_read(self) -> None:
        """Of a reply that dies, what had come."""
        self.stream(LONG)
        self.gate.memory.faults.next("get", Fault.TRUNCATED)
        fetched = self.gate.outcome(self.backend.get("k"))
        self.gate.outcome(collect(fetched.body, len(LONG)))
        self.assertEqual(self.gate.used, Counters(2, len(LONG) // 2, len(LONG)))

    def test_every_verb(self) -> None:
        """Each call is a request; bytes that stay on the backend are not counted."""
        self.stream(LONG)
        before = self.gate.used
        run, backend = self.gate.outcome, self.backend
        run(backend.head("k"))
        run(backend.copy("k", "copy", PLAIN, exclusive=False))
        upload = run(backend.create_upload("u", PLAIN))
        part = run(backend.put_part("u", upload, 1, BytesBody(b"123")))
        run(backend.copy_part("u", upload, 2, "k", None))
        run(backend.complete_upload("u", upload, [(1, part.etag)], exclusive=False))
        run(backend.abort_upload("u", upload))
        run(backend.list_objects())
        run(backend.list_uploads())
        run(backend.list_versions("k"))
        run(backend.delete("k"))
        self.assertEqual(self.gate.used, before + Counters(11, 0, 3))

    def test_backend_that_counts(self) -> None:
        """A backend that knows how many requests it has sent is believed."""

        @implementer(ICountsRequests)
        class Service:
            requests_sent = 0

        service = Service()
        meter = Meter("m", self.gate.counters, lambda: NO_LIMITS, service)  # type: ignore[arg-type]
        for sent in (1, 4, 0):  # an ordinary call, pages of a listing, and nobody there
            held = meter.hold(Counters(1))
            service.requests_sent += sent
            held.called(sent=True)
            held.let_go()
        self.assertEqual(self.gate.counters.used("m"), Counters(5))


class LimitsTests(SynchronousTestCase):
    """Limits hold."""

    def setUp(self) -> None:
        self.gate = Gate(self.id())
        self.backend = self.gate.backend

    def test_requests(self) -> None:
        """The last request that is allowed is made, the next is not."""
        self.gate.limits = Limits(api_requests=2)
        self.gate.put()
        self.gate.put()
        error = self.gate.put()
        self.assertIsInstance(error, UsageLimitExceeded)
        self.assertEqual((error.sent, error.is_unclear), (False, False))
        self.assertEqual(len(self.gate.memory.calls), 2)

    def test_fifty_at_once(self) -> None:
        """Fifty writers that begin together get in no more than the limit has room for."""
        self.gate.limits = Limits(ingress_bytes=10 * 1000 + 999)
        bodies = [PacedBody(bytes(1000)) for _ in range(50)]
        for body in bodies:
            body.pauseProducing()  # as if all of them had only begun
        writing = [
            start(self.backend.put(f"k{number}", body, PLAIN, exclusive=False))
            for number, body in enumerate(bodies)
        ]
        refused = [put for put in writing if put.called]
        self.assertEqual(len(refused), 40)
        for put in refused:
            self.failureResultOf(put, UsageLimitExceeded)
        for body in bodies:
            if body.started:
                body.resumeProducing()
        for put in writing:
            if put not in refused:
                self.successResultOf(put)
        self.assertEqual(self.gate.used, Counters(10, 0, 10_000))
        self.assertIsInstance(self.gate.put(bytes(1000)), UsageLimitExceeded)
        self.assertNotIsInstance(self.gate.put(bytes(999)), Exception)

    def test_what_is_not_used_is_free_again(self) -> None:
        """A write that its client gives up leaves its room to others, save what was sent."""
        self.gate.limits = Limits(ingress_bytes=1000)
        given_up = start(self.backend.put("k", PacedBody(bytes(1000), 400), PLAIN, exclusive=False))
        self.assertIsInstance(self.gate.put(b"1"), UsageLimitExceeded)
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.assertIsInstance(self.gate.put(bytes(601)), UsageLimitExceeded)
        self.assertNotIsInstance(self.gate.put(bytes(600)), Exception)

    def test_readers(self) -> None:
        """Readers, too, hold what they have yet to read; one who leaves gives it back."""
        self.gate.put(bytes(1000))
        self.gate.limits = Limits(egress_bytes=2500)
        one, two = (self.gate.outcome(self.backend.get("k")) for _ in range(2))
        self.assertIsInstance(self.gate.outcome(self.backend.get("k")), UsageLimitExceeded)
        one.body.stopProducing()
        three = self.gate.outcome(self.backend.get("k", ByteRange(0, 999)))
        for fetched in (two, three):
            self.gate.outcome(collect(fetched.body, 1000))
        self.assertEqual(self.gate.used.egress_bytes, 2000)
        self.assertIsInstance(self.gate.outcome(self.backend.get("k", ByteRange(0, 500))), UsageLimitExceeded)
        self.assertNotIsInstance(self.gate.outcome(self.backend.get("k", ByteRange(0, 499))), Exception)

    def test_freeing_space(self) -> None:
        """Deleting, aborting, completing and looking are never refused."""
        self.gate.put()
        upload = self.gate.outcome(self.backend.create_upload("u", PLAIN))
        part = self.gate.outcome(self.backend.put_part("u", upload, 1, BytesBody(b"1")))
        self.gate.limits = Limits(api_requests=1, egress_bytes=1, ingress_bytes=1)
        for work in (
            self.backend.complete_upload("u", upload, [(1, part.etag)], exclusive=False),
            self.backend.abort_upload("v", "unknown"),
            self.backend.head("k"),
            self.backend.list_objects(),
            self.backend.delete("k"),
        ):
            self.assertNotIsInstance(self.gate.outcome(work), Exception)
        self.assertEqual([*self.gate.memory.objects], ["u"])

    def test_refused_probe(self) -> None:
        """A call that the limits refuse does not use up the breaker's probe."""
        self.gate.limits = Limits(ingress_bytes=1)
        self.gate.fail(3)
        self.gate.clock.advance(60)
        self.assertIsInstance(self.gate.put(b"12"), UsageLimitExceeded)
        self.assertNotIsInstance(self.gate.put(b"1"), Exception)

    def test_hanging_call_holds(self) -> None:
        """A request that has had no answer yet is one, as far as the limit is concerned."""
        self.gate.limits = Limits(api_requests=1)
        self.gate.memory.faults.next("head", Fault.STALLED)
        waiting: Deferred[Any] = start(self.backend.head("k"))
        self.assertIsInstance(self.gate.put(), UsageLimitExceeded)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.gate.used, Counters(1))
