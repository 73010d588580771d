"""Work that is done again and again."""

from __future__ import annotations

from prometheus_client import REGISTRY
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.store.locks import LocalLocks


class PeriodicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ran: list[float] = []
        self.waiting: Deferred[None] | None = None
        self.fails = False
        self.service = Periodic("work", 60, self.work, self.clock)

    async def work(self) -> None:
        self.ran.append(self.clock.seconds())
        if self.fails:
            raise ValueError("broken")
        if self.waiting is not None:
            await self.waiting

    def test_ticks(self) -> None:
        """The first tick comes after one interval, the others follow."""
        self.service.startService()
        self.assertEqual(self.ran, [])
        self.clock.pump([60, 60, 60])
        self.assertEqual(self.ran, [60, 120, 180])

    def test_seen_before_it_runs(self) -> None:
        """From the start there are series for each way to end: rates need them before the first event."""
        service = Periodic("not yet run", 60, self.work, self.clock)
        service.startService()
        for result in ("success", "error", "skipped", "cancelled"):
            labels = {"service": "not yet run", "result": result}
            self.assertEqual(REGISTRY.get_sample_value("s3o_worker_ticks_total", labels), 0)
        failures = REGISTRY.get_sample_value("s3o_worker_consecutive_failures", {"service": "not yet run"})
        self.assertEqual(failures, 0)

    def test_failure_does_not_end_it(self) -> None:
        """A tick that fails is logged, and the next one comes."""
        self.fails = True
        self.service.startService()
        self.clock.pump([60, 60])
        self.assertEqual(self.ran, [60, 120])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_no_overlap(self) -> None:
        """A tick that takes long is not joined by a second one."""
        self.waiting = Deferred()
        self.service.startService()
        self.clock.pump([60, 60, 60])
        self.assertEqual(self.ran, [60])
        waiting, self.waiting = self.waiting, None
        waiting.callback(None)
        self.clock.advance(60)
        self.assertEqual(len(self.ran), 2)

    def test_stopping_cancels_the_tick(self) -> None:
        """Stopping waits until the tick in progress has let go."""
        let_go: Deferred[None] = Deferred()
        seen = []

        async def stubborn() -> None:
            try:
                await Deferred()
            except CancelledError:
                seen.append("cancelled")
                await let_go

        service = Periodic("stubborn", 60, stubborn, self.clock)
        service.startService()
        self.clock.advance(60)
        stopped = service.stopService()
        self.assertEqual(seen, ["cancelled"])
        self.assertNoResult(stopped)
        let_go.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_triggered_by_hand(self) -> None:
        """A tick can be run now; whoever asks while it runs waits for the same one."""
        self.waiting = Deferred()
        first, second = self.service.trigger(), self.service.trigger()
        self.waiting.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.ran), 1)

    def test_skipped_without_lock(self) -> None:
        """A tick does nothing while somebody else holds the lock, and the next one does not mind."""
        locks = LocalLocks()
        service = Periodic("work", 60, self.work, self.clock, locks=locks)
        elsewhere = locks.hold("work")
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(elsewhere.__aenter__())))
        self.successResultOf(service.trigger())
        self.assertEqual((self.ran, service.report().last_result), ([], "skipped"))
        self.successResultOf(Deferred.fromCoroutine(elsewhere.__aexit__(None, None, None)))
        self.successResultOf(service.trigger())
        self.assertEqual((len(self.ran), service.report().last_result), (1, "success"))

    def test_jitter(self) -> None:
        """Instances started together do not tick together."""
        service = Periodic("work", 60, self.work, self.clock, chance=lambda: 0.5)
        service.startService()
        self.clock.pump([15, 59, 1, 60])
        self.assertEqual(self.ran, [75, 135])
        self.successResultOf(service.stopService())

    def test_stopped_before_it_began(self) -> None:
        """Nothing is left on the clock."""
        service = Periodic("work", 60, self.work, self.clock, chance=lambda: 0.5)
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_interval_at_the_start(self) -> None:
        """Who has not begun to tick yet does not wait any longer than the new interval."""
        service = Periodic("work", 3600, self.work, self.clock, chance=lambda: 1.0)
        service.startService()
        service.set_interval(60)
        self.clock.advance(60)
        self.assertEqual(self.ran, [60])
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_interval(self) -> None:
        """A running service takes another pace."""
        self.service.startService()
        self.clock.advance(50)
        self.service.set_interval(30)
        self.clock.pump([29, 1, 30])
        self.assertEqual(self.ran, [80, 110])

    def test_report(self) -> None:
        """What an operator hears: the last success, and failures since."""
        self.service.startService()
        self.clock.advance(60)
        self.fails = True
        self.clock.pump([60, 60])
        report = self.service.report()
        self.assertEqual(
            (report.last_success, report.consecutive_failures, report.last_result), (60, 2, "error")
        )
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_ledger_away(self) -> None:
        """A run that the ledger puts off counts as failed, without a traceback each minute."""

        async def away() -> None:
            raise StoreUnavailable("away")

        service = Periodic("away", 60, away, self.clock)
        self.successResultOf(service.trigger())
        self.assertEqual(service.report().consecutive_failures, 1)
