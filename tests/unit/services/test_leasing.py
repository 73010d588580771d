"""Staying an owner, and saying so when one is none."""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import BlobState
from s3orchestrator.errors import LedgerTooNew, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.services.leasing import LeaseKeeper, TimelyLocks
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.store.locks import LocalLocks
from s3orchestrator.store.owners import Lease
from tests.unit.objects.world import SMALL, World


class LeaseKeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.w = World()
        self.database = self.w.ledger
        self.refused: list[LedgerTooNew] = []
        self.lease = Lease(self.database, 300.0, self.w.clock.seconds, too_new=self.refused.append)
        self.keeper = LeaseKeeper(self.lease, self.w.core.ledger.blobs)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error or "again" in (event["log_format"] or ""):
            self.said.append(event["log_format"])

    def keep(self, minutes: int = 1) -> None:
        for _ in range(minutes):
            self.w.clock.advance(60)
            self.successResultOf(start(self.keeper.run_once()))

    def fail_to_keep(self, minutes: int) -> None:
        for _ in range(minutes):
            self.w.clock.advance(60)
            self.failureResultOf(start(self.keeper.run_once()), StoreUnavailable)

    def test_kept(self) -> None:
        """
        As long as the ledger answers the lease never ends, and there is nothing to say.
        """
        self.keep(60)
        self.assertTrue(self.lease.may_send())
        self.assertEqual(self.said, [])

    def test_ledger_away(self) -> None:
        """
        When the ledger is away for too long nothing is sent; that is said once, and so is the end of it.
        """
        self.keep()
        self.w.points.transacting = lambda number: StoreUnavailable
        self.fail_to_keep(4)
        self.assertTrue(self.lease.may_send())
        self.assertEqual(self.said, [])
        self.fail_to_keep(10)
        self.assertFalse(self.lease.may_send())
        self.w.points.transacting = None
        self.keep(2)
        self.assertTrue(self.lease.may_send())
        over, again = self.said
        self.assertIn("running out", over)
        self.assertIn("again", again)

    def test_handed_back(self) -> None:
        """
        What nobody heard the outcome of is handed back with the next renewal, without anybody cleaning up.
        """
        self.w.points.transacting = lambda number: (TransactionUnclear,)
        self.w.expect(StoreUnavailable, self.w.putting("k", SMALL))
        self.w.points.transacting = None
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.usage())[0].reserved, len(SMALL))
        self.keep()
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.usage())[0].reserved, 0)

    def test_too_new(self) -> None:
        """
        After a newer release has changed the ledger nothing is sent any more; who built us is told.
        """
        self.keep()

        async def change(tx: ITransaction) -> None:
            await tx.run(
                "INSERT INTO schema_versions (version, name, compatible_with, applied_ms)"
                " VALUES (99, 'n', 99, 0)"
            )

        self.w.run(self.database.transact(change))
        self.keep()
        self.assertFalse(self.lease.may_send())
        self.assertEqual((len(self.refused), len(self.said)), (1, 1))

    def test_clock(self) -> None:
        """
        A clock that is far off is mentioned once, and once more when it is right again.
        """
        self.database.clock_skew_ms = 40_000
        self.keep(3)
        self.assertFalse(self.lease.clock_is_trusted)
        self.database.clock_skew_ms = 0
        self.keep(3)
        off, again = self.said
        self.assertIn("ahead", off)
        self.assertIn("again", again)

    def test_by_the_clock(self) -> None:
        """
        With a clock that is far off, what goes by time is skipped, and not called done.
        """
        done: list[str] = []

        async def work() -> None:
            done.append("done")

        service = Periodic("timely", 60.0, work, self.w.clock, locks=TimelyLocks(LocalLocks(), self.lease))
        self.database.clock_skew_ms = 31_000
        self.successResultOf(service.trigger())
        self.assertEqual((done, service.report().last_result), ([], "skipped"))
        self.database.clock_skew_ms = 0
        self.successResultOf(service.trigger())
        self.assertEqual((done, service.report().last_result), (["done"], "success"))

    def test_alone(self) -> None:
        """
        Where there can be no other process the lease never ends, whatever happens.
        """
        lease = Lease(self.database, None, self.w.clock.seconds)
        self.w.run(lease.renew())
        self.w.clock.advance(10**9)
        self.assertTrue(lease.may_send() and lease.is_held())
        blob = self.w.run(self.w.core.ledger.blobs.reserve(self.w.bucket, "k", 1, ["a"]))
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.reap(10, 0)), 0)
        self.w.run(lease.give_back())
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.reap(10, 0)), 1)
        held = self.w.run(self.w.core.ledger.blobs.by_name("a", blob.name))
        assert held is not None
        self.assertEqual(held.state, BlobState.DOOMED)
