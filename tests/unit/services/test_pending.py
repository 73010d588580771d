"""The reaper's part in what is left behind; the ledger's part is its contract's."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import BlobState
from s3orchestrator.services.pending import BATCH, PendingReaper
from s3orchestrator.store.owners import Lease
from tests.unit.backends.gate import sample
from tests.unit.objects.world import World


class Left:
    """A world in which somebody has left `count` pending blobs behind, handed back."""

    def __init__(self, count: int) -> None:
        self.w = World()
        database, self.blobs = self.w.core.ledger.database, self.w.core.ledger.blobs
        lease = Lease(database, None, self.w.clock.seconds)
        for number in range(count):
            self.w.run(self.blobs.reserve(self.w.bucket, f"{number}", 1, ["a"]))
        self.w.run(lease.give_back())
        self.w.run(lease.renew())
        self.reaper = PendingReaper(self.blobs, lambda: 3600.0)

    def states(self) -> set[BlobState]:
        return {blob.state for blob in self.w.run(self.blobs.names("a"))}

    def reap(self) -> None:
        start(self.reaper.run_once())


class PendingReaperTests(SynchronousTestCase):
    def test_all(self) -> None:
        """
        Everything that is old enough is doomed in one run, however much it is, and then removed.
        """
        left = Left(2 * BATCH + 1)
        left.reap()
        self.assertEqual(left.states(), {BlobState.PENDING})
        left.w.clock.advance(3600)
        before = sample("s3o_pending_intents_resolved_total", status="dropped")
        left.reap()
        self.assertEqual(left.states(), {BlobState.DOOMED})
        after = sample("s3o_pending_intents_resolved_total", status="dropped")
        self.assertEqual(after - before, 2 * BATCH + 1)
        left.w.quiesce()
        self.assertEqual(left.w.problems(), [])
