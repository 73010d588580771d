"""Monthly limits, as clients meet them."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import PacedBody
from s3orchestrator.bodies.sources import collect
from s3orchestrator.concurrency import start
from s3orchestrator.domain.usage import Counters
from s3orchestrator.errors import UsageLimitExceeded
from s3orchestrator.objects.copying import CopyOrder
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.parts import PartPlace
from s3orchestrator.protocol.errors import S3Error, as_s3_error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.payload import Payload
from s3orchestrator.testing.harness import NOW, Harness
from tests.unit.backends.gate import sample
from tests.unit.objects.copies import add_copy

DATA = bytes(1000)


def rejections(operation: str, limit_type: str) -> float:
    return sample("s3o_usage_limit_rejections_total", operation=operation, limit_type=limit_type)


class LimitsCase(SynchronousTestCase):
    def harness(self, **more: str) -> Harness:
        self.h = Harness(more=more)
        return self.h

    def put(self, key: str = "k", data: bytes = DATA) -> Coroutine[Any, Any, Any]:
        return self.h.core.objects.writing.put(self.h.bucket, key, self.h.incoming(data), ObjectMetadata())

    def open(self, key: str = "k") -> Coroutine[Any, Any, Any]:
        return self.h.core.objects.reading.open(self.h.bucket, key, lambda version: None)

    def refusal(self, work: Coroutine[Any, Any, Any]) -> S3Error:
        return as_s3_error(self.h.expect(UsageLimitExceeded, work))

    def holders(self) -> dict[str, int]:
        return {name: len(held) for name, held in self.h.stored().items()}


class WritesTests(LimitsCase):
    def test_passed_over(self) -> None:
        """A backend that may take no more is passed over, as one that is full."""
        self.harness(a="ingress_byte_limit: 2500")
        for number in range(4):
            self.h.put(f"k{number}", DATA)
        self.assertEqual(self.holders(), {"a": 2, "b": 2})
        self.h.put("small", b"1")
        self.assertEqual(self.holders(), {"a": 3, "b": 2})

    def test_none_left(self) -> None:
        """507, before the body is read, and nothing is reserved."""
        self.harness(a="ingress_byte_limit: 999", b="api_request_limit: 1")
        self.h.put("first", DATA)
        self.assertEqual(self.holders(), {"a": 0, "b": 1})
        before = rejections("PutObject", "write")
        body = PacedBody(DATA)
        incoming = Incoming(body, Payload.of({}, None, len(DATA)))
        work = self.h.core.objects.writing.put(self.h.bucket, "k", incoming, ObjectMetadata())
        refusal = self.refusal(work)
        self.assertEqual((refusal.status, refusal.code), (507, "InsufficientStorage"))
        self.assertFalse(body.started)
        self.assertEqual(rejections("PutObject", "write") - before, 1)
        self.assertEqual(self.h.run(self.h.core.ledger.blobs.names("a")), [])

    def test_fifty_writers(self) -> None:
        """Fifty clients at once get no more in than the limits allow; the others hear of it."""
        self.harness(a="ingress_byte_limit: 100000", b="ingress_byte_limit: 60000")
        size, writing = 10_000, []
        bodies = [PacedBody(bytes(size)) for _ in range(50)]
        for number, body in enumerate(bodies):
            body.pauseProducing()
            incoming = Incoming(body, Payload.of({}, None, size))
            work = self.h.core.objects.writing.put(self.h.bucket, f"k{number}", incoming, ObjectMetadata())
            writing.append(start(work))
        for body in bodies:
            body.resumeProducing()
        self.h.settle()
        for put in writing:
            put.addErrback(lambda failure: failure.trap(UsageLimitExceeded))
        self.h.settle()
        self.assertTrue(all(put.called for put in writing))
        self.assertEqual(self.holders(), {"a": 10, "b": 6})
        self.assertEqual(self.h.counters.used("a"), Counters(10, 0, 100_000))
        self.assertEqual(self.h.counters.used("b"), Counters(6, 0, 60_000))

    def test_parts(self) -> None:
        """A part can only go to its upload's backend; completing and aborting are always possible."""
        self.harness(a="ingress_byte_limit: 1500")
        uploads = [
            self.h.run(self.h.core.objects.multipart.create(self.h.bucket, key, ObjectMetadata(), owner=""))
            for key in ("one", "two")
        ]
        parts = self.h.core.objects.parts
        place = PartPlace(self.h.bucket, "one", uploads[0].id, 1)
        part = self.h.run(parts.put(place, self.h.incoming(DATA)))
        before = rejections("UploadPart", "write")
        self.assertEqual(self.refusal(parts.put(place, self.h.incoming(DATA))).status, 507)
        self.assertEqual(rejections("UploadPart", "write") - before, 1)
        multipart = self.h.core.objects.multipart
        self.h.run(multipart.complete(self.h.bucket, "one", uploads[0].id, [(1, part.etag, None)]))
        self.h.run(multipart.abort(self.h.bucket, "two", uploads[1].id))
        self.assertEqual(self.h.get("one"), DATA)

    def test_deletes(self) -> None:
        """Space can be freed over every limit."""
        self.harness(a="api_request_limit: 1")
        self.h.put("k", DATA)
        self.h.delete("k")
        self.assertEqual(self.holders(), {"a": 0, "b": 0})
        self.assertGreater(self.h.counters.used("a").api_requests, 1)


class ReadsTests(LimitsCase):
    def test_other_copy(self) -> None:
        """A copy whose backend may send no more is passed over."""
        self.harness(a="egress_byte_limit: 1500")
        self.h.put("k", DATA)
        add_copy(self.h, "k", "b")
        for _ in range(3):
            self.assertEqual(self.h.get("k"), DATA)
        self.assertEqual(self.h.counters.used("a").egress_bytes, 1000)
        self.assertEqual(self.h.counters.used("b").egress_bytes, 2000)

    def test_none_left(self) -> None:
        """429 for a copy that is there and may not be read."""
        self.harness(a="egress_byte_limit: 1500")
        self.h.put("k", DATA)
        self.h.get("k")
        before = rejections("GetObject", "read")
        refusal = self.refusal(self.open())
        self.assertEqual((refusal.status, refusal.code), (429, "SlowDown"))
        self.assertEqual(rejections("GetObject", "read") - before, 1)

    def test_readers_at_once(self) -> None:
        """Readers that begin together are held to the limit together."""
        self.harness(a="egress_byte_limit: 5000")
        self.h.put("k", DATA)
        opened: list[Any] = []
        refused: list[Any] = []
        for _ in range(20):
            start(self.open()).addCallbacks(opened.append, refused.append)
        self.assertEqual((len(opened), len(refused)), (5, 15))
        for each in opened:
            self.h.run(collect(each.body, len(DATA)))
        self.assertEqual(self.h.counters.used("a").egress_bytes, 5000)

    def test_copy_stays(self) -> None:
        """A copy within a backend moves no bytes, so their limits do not forbid it."""
        self.harness(a="egress_byte_limit: 1, ingress_byte_limit: 1000")
        self.h.put("k", DATA)
        order = CopyOrder(self.h.bucket, "k", self.h.bucket, "copy", lambda version: None)
        self.h.run(self.h.core.objects.copying.copy(order))
        self.assertEqual(self.holders(), {"a": 2, "b": 0})
        self.assertEqual(self.h.counters.used("a"), Counters(2, 0, 1000))


class MonthsTests(LimitsCase):
    def test_rollover(self) -> None:
        """With the new month what was used up may be used again; the old month's count is the ledger's."""
        self.harness(a="ingress_byte_limit: 1000", b="ingress_byte_limit: 1")
        self.h.put("k1", DATA)
        self.refusal(self.put("k2"))
        month = datetime(2025, 7, 1, tzinfo=UTC).timestamp() - NOW
        self.h.clock.advance(month)
        self.h.put("k2", DATA)
        self.h.run(self.h.usage_flush.run_once())
        totals = self.h.core.ledger.database.query(
            "SELECT period, ingress_bytes FROM backend_usage WHERE backend_name = 'a' ORDER BY period"
        )
        rows = [tuple(row) for row in self.h.run(totals)]
        self.assertEqual(rows, [("2025-06", 1000), ("2025-07", 1000)])

    def test_restart(self) -> None:
        """After a restart everything up to the last flush counts."""
        self.harness(a="ingress_byte_limit: 2500", b="ingress_byte_limit: 1")
        self.h.put("k1", DATA)
        self.h.run(self.h.usage_flush.run_once())
        self.h.put("k2", DATA)
        self.h.restart()
        self.assertEqual(self.h.counters.used("a"), Counters(1, 0, 1000))
        self.h.put("k3", DATA)
        self.refusal(self.put("k4"))

    def test_flush_while_writing(self) -> None:
        """A flush in the middle of writes neither frees what they hold nor counts it twice."""
        self.harness(a="ingress_byte_limit: 10000", b="ingress_byte_limit: 1")
        body = PacedBody(bytes(9000))
        body.pauseProducing()
        incoming = Incoming(body, Payload.of({}, None, 9000))
        writing: Deferred[Any] = start(
            self.h.core.objects.writing.put(self.h.bucket, "k", incoming, ObjectMetadata())
        )
        for _ in range(3):
            self.h.run(self.h.usage_flush.run_once())
            self.refusal(self.put("other", bytes(1001)))
        body.resumeProducing()
        self.h.settle()
        self.successResultOf(writing)
        self.h.run(self.h.usage_flush.run_once())
        self.assertEqual(self.h.counters.used("a").ingress_bytes, 9000)
