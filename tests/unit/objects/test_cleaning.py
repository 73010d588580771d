"""What is doomed goes, now or later, and never takes anything else with it."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.domain.records import BlobState
from s3orchestrator.errors import NoSuchKey, StoreUnavailable
from s3orchestrator.objects import cleaning, deletions
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.browse import Browse
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness
from tests.unit.backends.gate import sample


class CleaningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness(backends=("a",), quotas={"a": 1000})

    def tearDown(self) -> None:
        self.assertEqual(self.h.findings(), [])

    def taken(self) -> int:
        return self.h.run(self.h.core.ledger.blobs.usage())[0].taken

    def test_deleted_at_once(self) -> None:
        """A delete empties the backend and gives the room back."""
        self.h.put("k", b"data")
        self.h.delete("k")
        self.assertEqual((self.h.stored(), self.taken()), ({"a": {}}, 0))
        self.h.expect(NoSuchKey, self.h.core.objects.reading.find(self.h.bucket, "k"))

    def test_backend_away(self) -> None:
        """Success does not wait for the backend; the bytes count as orphans until it is back."""
        self.h.put("k", b"data")
        self.h.backend("a").down()
        self.h.delete("k")
        self.assertEqual(self.taken(), 4)
        self.h.backend("a").faults.clear()
        self.h.advance(60)
        self.assertEqual(self.h.stored(), {"a": {}})
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.taken(), 0)

    def test_lease_lapsed(self) -> None:
        """What waits is left to others; nothing more of it is sent."""
        for number in range(40):
            self.h.put(f"{number}", b"data")
        self.h.backend("a").faults.always(Fault.STALLED, "delete")
        for number in range(40):
            self.h.delete(f"{number}")
        self.h.core.cleaner.let_go()
        self.assertEqual(self.h.core.cleaner.room(), cleaning.MAX_WAITING)
        self.h.backend("a").faults.clear()
        self.h.restart()
        self.h.advance(60)
        self.assertEqual(self.h.stored(), {"a": {}})

    def test_lost_answers(self) -> None:
        """A delete whose answer was lost is repeated, with more patience each time."""
        self.h.put("k", b"data")
        self.h.backend("a").faults.next("delete", Fault.LOST_ANSWER, Fault.FAILED, Fault.FAILED)
        self.h.delete("k")
        for _ in range(3):
            self.h.advance(600)
        self.assertEqual(self.h.stored(), {"a": {}})
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.taken(), 0)

    def test_late_delete_hits_nobody(self) -> None:
        """A delete that arrives late finds nobody else under the name."""
        self.h.put("k", b"old")
        self.h.backend("a").faults.next("delete", Fault.LATE)
        self.h.delete("k")
        self.h.put("k", b"new")
        self.h.backend("a").catch_up()
        self.assertEqual(self.h.get("k"), b"new")
        self.h.advance(3600)

    def test_plain_name_rests(self) -> None:
        """A name that was used comes back into use only after the quiet period."""
        self.h.put("k", b"one")
        self.h.delete("k")
        self.h.put("k", b"two")
        self.assertNotIn("photos/k", self.h.stored()["a"])
        self.h.delete("k")
        self.h.advance(QUIET_PERIOD + 1)
        self.h.put("k", b"three")
        self.assertIn("photos/k", self.h.stored()["a"])

    def test_recovery_after_a_crash(self) -> None:
        """What was being written when the process died is removed at the next start."""
        blob = self.h.run(self.h.core.ledger.blobs.reserve(self.h.bucket, "k", 4, ["a"]))
        self.h.put("other", b"x")
        self.h.backend("a").objects[blob.name] = self.h.backend("a").objects["photos/other"]
        self.assertEqual(self.h.run(self.h.core.ledger.blobs.recover()), 1)
        del self.h.backend("a").objects[blob.name]
        self.h.run(self.h.sweeper.run_once())
        self.assertEqual(self.taken(), 5)  # it may still arrive: its room is kept while its name rests
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.taken(), 1)

    def test_unanswered_is_not_counted(self) -> None:
        """However long a backend says nothing, its doomed objects go when it is back."""
        self.h.put("k", b"data")
        self.h.backend("a").faults.always(Fault.LOST_ANSWER, "delete")
        self.h.delete("k")
        for _ in range(20):
            self.h.advance(86_400)
        self.assertEqual(self.attempts(), [(BlobState.DOOMED, 0)])
        self.h.backend("a").faults.clear()
        self.h.advance(86_400)
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.attempts(), [])

    def test_given_up(self) -> None:
        """A backend that answers and does not delete is the operator's to look at, after ten times."""
        self.h.put("k", b"data")
        self.h.backend("a").faults.always(Fault.FAILED, "delete")
        self.h.delete("k")
        for _ in range(10):
            self.h.advance(86_400)
        self.assertEqual(self.attempts(), [(BlobState.DEAD, 10)])
        (entry,), _ = self.h.run(Browse(self.h.core.ledger.database).unwanted())
        self.assertIn("a: ", entry.last_error)

    def attempts(self) -> list[tuple[BlobState, int]]:
        return [(blob.state, blob.attempts) for blob in self.h.run(self.h.core.ledger.blobs.names("a"))]


class ToldTests(SynchronousTestCase):
    """What metrics and the audit trail say of deletions."""

    def setUp(self) -> None:
        self.h = Harness(backends=("told",))
        self.events: list[tuple[object, ...]] = []
        self.patch(deletions, "audit", self.heard)
        self.before = self.counted()

    def heard(self, event: str, **fields: object) -> None:
        self.events.append((event, fields["key"], fields["reason"], fields["attempt"]))

    def counted(self) -> list[float]:
        processed = "s3o_cleanup_queue_processed_total"
        return [
            sample("s3o_cleanup_queue_enqueued_total", reason="deleted"),
            *(sample(processed, status=status) for status in ("success", "retry", "exhausted")),
            sample("s3o_cleanup_dlq_enqueued_total", backend="told"),
        ]

    def rise(self) -> list[float]:
        return [now - before for now, before in zip(self.counted(), self.before, strict=True)]

    def test_at_once(self) -> None:
        """What is deleted at once was never in the queue."""
        self.h.put("k", b"data")
        self.h.delete("k")
        self.assertEqual((self.rise(), self.events), ([0, 0, 0, 0, 0], []))

    def test_later(self) -> None:
        """What was put off is counted each time, and its end is in the audit trail."""
        self.h.put("k", b"data")
        self.h.backend("told").faults.next("delete", Fault.FAILED, Fault.LOST_ANSWER)
        self.h.delete("k")
        self.assertEqual(self.rise(), [1, 0, 0, 0, 0])
        for _ in range(2):
            self.h.advance(600)
        self.assertEqual(self.rise(), [1, 1, 1, 0, 0])
        self.assertEqual(self.events, [("cleanup_queue.processed", "photos/k", "deleted", 2)])

    def test_given_up(self) -> None:
        """The tenth attempt that fails is the last."""
        self.h.put("k", b"data")
        self.h.backend("told").faults.always(Fault.FAILED, "delete")
        self.h.delete("k")
        for _ in range(10):
            self.h.advance(86_400)
        self.assertEqual(self.rise(), [1, 0, 8, 1, 1])
        self.assertEqual(self.events, [("cleanup_queue.exhausted_to_dlq", "photos/k", "deleted", 10)])


class StalledTests(SynchronousTestCase):
    def test_others_go_on(self) -> None:
        """Deletes that are not answered keep those on other backends from nothing."""
        h = Harness()
        for number in range(20):
            h.put(f"a{number}", b"x")
        h.backend("a").down()
        h.put("b", b"y")
        h.clock.advance(30)
        h.backend("a").faults.clear()
        h.backend("a").faults.always(Fault.STALLED, "delete")
        for number in range(20):
            h.delete(f"a{number}")
        h.delete("b")
        self.assertEqual(h.stored()["b"], {})

    def test_too_many(self) -> None:
        """What does not fit is given back at once, and a sweep claims no more than there is room for."""
        self.patch(cleaning, "MAX_WAITING_EACH", 100)
        h = Harness(backends=("a",))

        async def fill() -> None:
            for number in range(400):
                body = h.incoming(b"x")
                await h.core.objects.writing.put(h.bucket, f"{number:03}", body, ObjectMetadata(), None)

        h.run(fill())
        h.backend("a").faults.always(Fault.STALLED, "delete")
        before = self.commits(h)
        h.run(h.core.objects.deleting.delete_many(h.bucket, [(f"{n:03}", None, None) for n in range(400)]))
        self.assertLessEqual(self.commits(h) - before, 8)
        before = self.commits(h)
        h.advance(60)
        self.assertLessEqual(self.commits(h) - before, 5)

    def commits(self, h: Harness) -> int:
        return int(h.run(h.core.ledger.database.query("SELECT commits FROM ledger"))[0][0])


class PutOffTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cleaner = Harness().core.cleaner
        self.is_away = True
        self.told: list[int] = []
        self.waiting: list[Deferred[None]] = []

    async def tell(self, number: int) -> None:
        if self.is_away:
            raise StoreUnavailable("it is away")
        answer: Deferred[None] = Deferred()
        self.waiting.append(answer)
        await answer
        self.told.append(number)

    def test_few_at_a_time(self) -> None:
        """A ledger that is back is not told all at once what it missed; others want it, too."""
        for number in range(1000):
            self.cleaner.insist(partial(self.tell, number))
        self.is_away = False
        self.cleaner.tell_again()
        while self.waiting:
            self.assertLessEqual(len(self.waiting), cleaning.TOLD_AT_ONCE)
            self.waiting.pop().callback(None)
        self.assertEqual(sorted(self.told), list(range(1000)))

    def test_one_fails(self) -> None:
        """What cannot be told, for whatever reason, does not keep the rest from being told."""
        for number in range(100):
            self.cleaner.insist(partial(self.tell, number))
        self.is_away = False
        self.cleaner.tell_again()
        for _ in range(cleaning.TOLD_AT_ONCE):
            self.waiting.pop().errback(ValueError("no"))
        while self.waiting:
            self.waiting.pop().callback(None)
        self.assertEqual(len(self.told), 100 - cleaning.TOLD_AT_ONCE)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), cleaning.TOLD_AT_ONCE)
