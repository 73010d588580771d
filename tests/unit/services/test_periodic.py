"""Work that is done again and again."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.services.periodic import Periodic


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
