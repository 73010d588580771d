"""What is doomed goes, now or later, and never takes anything else with it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.errors import NoSuchKey
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness


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
