"""What time brings: things that are due again, rests that end, uploads that went stale."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.domain.owning import MARKER
from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendUnavailable, StoreUnavailable
from s3orchestrator.services import stale_uploads
from s3orchestrator.testing.harness import QUIET_PERIOD
from tests.unit.objects.world import LARGE, SMALL, STALE, World, small_parts


class SweeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World(quotas={"a": 20_000})
        self.a = self.w.backend("a")

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def rows(self, backend: str = "a") -> list[Blob]:
        return list(self.w.run(self.w.core.ledger.blobs.names(backend)))

    def orphans(self) -> int:
        return self.w.run(self.w.core.ledger.blobs.usage())[0].orphan

    def fail_transactions(self) -> None:
        self.w.points.transacting = lambda number: StoreUnavailable

    def test_clear_names_are_forgotten_without_a_call(self) -> None:
        """Plain names rest, others do not; and when they have, nobody is asked."""
        self.w.run(self.w.putting("k", SMALL))
        self.w.run(self.w.putting("k", LARGE))
        self.w.delete("k")
        self.assertEqual([row.name for row in self.rows()], ["photos/k"])
        self.a.calls.clear()
        self.w.advance(QUIET_PERIOD + 1)
        asked = [called for called in self.a.calls if called.name != MARKER]
        self.assertEqual((self.rows(), asked), ([], []))

    def test_unclear_name_is_looked_at(self) -> None:
        """A write that came after all is removed, and the name rests once more."""
        self.a.faults.next("put", Fault.LATE)
        self.w.run(self.w.putting("k", SMALL))
        self.a.catch_up()
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.w.stored()["a"], {})
        self.assertEqual((len(self.rows()), self.orphans()), (1, len(SMALL)))
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual((self.rows(), self.orphans()), ([], 0))

    def test_stranger_under_an_unclear_name(self) -> None:
        """What is not ours stays, and our row goes."""
        self.a.faults.next("put", Fault.LATE)
        self.w.run(self.w.putting("k", SMALL))
        self.a.catch_up()
        self.w.clock.advance(11)
        self.w.run(self.w.putting("other", LARGE))
        stranger = self.a.objects["photos/k"] = self.a.objects["photos/other"]
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual([row.name for row in self.rows()], ["photos/other"])
        self.assertIs(self.a.objects["photos/k"], stranger)
        del self.a.objects["photos/k"]

    def test_no_clear_answer(self) -> None:
        """A name that cannot be looked at rests on, whatever else is due."""
        self.a.faults.next("put", Fault.FAILED)
        self.w.run(self.w.putting("k", SMALL))
        self.w.backend("b").faults.next("delete", Fault.REFUSED)
        self.w.delete("k")
        self.a.down()
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(len(self.rows()), 1)
        self.assertEqual(self.w.stored()["b"], {})
        self.a.faults.clear()
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.rows(), [])

    def test_silent_backend_keeps_nobody_waiting(self) -> None:
        """While one name waits for its answer others are looked at."""
        for number in range(3):
            self.a.faults.next("put", Fault.FAILED)
            self.w.run(self.w.putting(f"k{number}", SMALL))
            self.w.clock.advance(11)
        self.a.faults.next("head", Fault.STALLED)
        self.w.clock.advance(QUIET_PERIOD + 1)
        running = start(self.w.sweeper.run_once())
        self.w.settle()
        self.assertEqual(len(self.rows()), 1)
        self.w.clock.advance(31)
        self.w.settle()
        self.successResultOf(running)

    def test_what_the_ledger_could_not_be_told(self) -> None:
        """With the next sweep it is told, whatever it was."""
        self.w.run(self.w.putting("k", SMALL))
        upload, _ = self.w.uploaded("u", SMALL)
        first = self.w.points.transactions
        # The reservation succeeds; everything after it fails.
        self.w.points.transacting = lambda number: StoreUnavailable if number > first else None
        self.w.expect(StoreUnavailable, self.w.putting("l", SMALL))
        self.assertIn("photos/l", self.w.stored()["a"])
        self.w.points.transacting = None
        self.a.faults.next("put_part", Fault.REFUSED)
        first = self.w.points.transactions
        self.w.points.transacting = lambda number: StoreUnavailable if number > first else None
        self.w.expect(BackendUnavailable, self.w.part(upload, 2, LARGE))
        self.w.points.transacting = None
        self.w.advance(1)
        self.w.settle()
        self.assertNotIn("photos/l", self.w.stored()["a"])
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.usage())[0].taken, 2 * len(SMALL))

    def test_ledger_away_during_a_sweep(self) -> None:
        """A sweep that cannot ask gives up; the next one does everything."""
        self.w.run(self.w.putting("k", SMALL))
        self.w.delete("k")
        self.w.clock.advance(QUIET_PERIOD + 1)
        self.fail_transactions()
        self.w.expect(StoreUnavailable, self.w.sweeper.run_once())
        self.w.points.transacting = None
        self.w.advance(1)
        self.assertEqual(self.rows(), [])

    def test_more_than_a_batch(self) -> None:
        """However many are due, they are done."""
        for number in range(230):
            self.w.run(self.w.putting(f"k{number:03}", b""))
        self.a.down()
        for number in range(230):
            self.w.delete(f"k{number:03}")
        self.a.faults.clear()
        self.w.advance(61)
        self.w.settle()
        self.assertEqual(self.w.stored()["a"], {})
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.rows(), [])

    def test_stale_uploads(self) -> None:
        """Many at once, and only those nobody has touched for a day."""
        cleaned: list[int] = []
        self.patch(stale_uploads, "audit", lambda event, **fields: cleaned.append(fields["cleaned"]))
        old = [self.w.uploaded(f"u{number}", SMALL)[0] for number in range(120)]
        self.w.clock.advance(STALE - 10)
        fresh, _ = self.w.uploaded("fresh", SMALL)
        self.w.advance(11)
        self.w.settle()
        self.assertEqual(sum(cleaned), 120)
        still = {upload.upload_id for upload in self.w.run(self.a.list_uploads())}
        self.assertEqual(still, {fresh.backend_upload})
        self.assertEqual(len(old), 120)
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.usage())[0].taken, len(SMALL))
