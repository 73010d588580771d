"""Finishing what must be finished, doing several things at once, giving up in time."""

from __future__ import annotations

import gc

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import concurrently, deadline, finish, keep, shield, start
from s3orchestrator.errors import BackendUnavailable


class ShieldTests(SynchronousTestCase):
    def test_goes_on_when_the_caller_is_cancelled(self) -> None:
        """A commit whose client has left is finished all the same."""
        answer: Deferred[None] = Deferred()
        done = []

        async def commit() -> None:
            await answer
            done.append("committed")

        async def request() -> None:
            await shield(commit())

        serving = start(request())
        serving.cancel()
        self.failureResultOf(serving, CancelledError)
        answer.callback(None)
        self.assertEqual(done, ["committed"])

    def test_hands_over_results_and_failures(self) -> None:
        """Without a cancellation a shield is not noticed."""

        async def work(value: int) -> int:
            if value < 0:
                raise ValueError(value)
            return value

        self.assertEqual(self.successResultOf(shield(work(1))), 1)
        self.failureResultOf(shield(work(-1)), ValueError)

    def test_failure_nobody_waits_for_is_logged(self) -> None:
        """What goes wrong after the caller left is not lost."""
        answers: list[Deferred[None]] = [Deferred()]

        async def work() -> None:
            await answers[0]

        waiting = shield(work())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        answers.pop().errback(ValueError("late"))
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_foreseen_failure_nobody_waits_for(self) -> None:
        """A backend that is away after its client has left is nothing to alarm anybody with."""
        answers: list[Deferred[None]] = [Deferred()]

        async def work() -> None:
            await answers[0]

        waiting = shield(work())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        answers.pop().errback(BackendUnavailable("away"))
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])


class KeepTests(SynchronousTestCase):
    def test_result_nobody_takes_is_undone(self) -> None:
        """What was set aside for a caller that has left is given back."""
        answer: Deferred[int] = Deferred()
        undone: list[int] = []

        async def reserve() -> int:
            return await answer

        waiting = keep(reserve(), undone.append)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        answer.callback(7)
        self.assertEqual(undone, [7])

    def test_failure_after_leaving_is_nothing_to_undo(self) -> None:
        """A reservation that was refused after the caller left leaves nothing, not even a line in the log."""
        answer: Deferred[int] = Deferred()

        async def reserve() -> int:
            return await answer

        waiting = keep(reserve(), self.fail)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        answer.errback(ValueError("no room"))

    def test_otherwise_not_noticed(self) -> None:
        """A caller that stays gets the result, or the failure."""

        async def work(value: int) -> int:
            if value < 0:
                raise ValueError(value)
            return value

        self.assertEqual(self.successResultOf(keep(work(1), self.fail)), 1)
        self.failureResultOf(keep(work(-1), self.fail), ValueError)


class FinishTests(SynchronousTestCase):
    def test_cancellation_waits_for_the_end(self) -> None:
        """The caller hears of its cancellation only after the clean-up is done."""
        answer: Deferred[None] = Deferred()
        order: list[str] = []

        async def cleaning() -> None:
            await answer
            order.append("cleaned")

        async def request() -> None:
            try:
                await finish(cleaning())
            finally:
                order.append("left")

        serving = start(request())
        serving.cancel()
        self.assertNoResult(serving)
        answer.callback(None)
        self.failureResultOf(serving, CancelledError)
        self.assertEqual(order, ["cleaned", "left"])


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_expires(self) -> None:
        """What takes too long is cancelled, and the caller gets the failure it asked for."""
        cancelled = []
        never: Deferred[None] = Deferred(lambda _: cancelled.append(True))
        waiting = start(deadline(5, never, self.clock, lambda: TimeoutError("slow")))
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, TimeoutError)
        self.assertEqual(cancelled, [True])

    def test_leaves_no_timer(self) -> None:
        """What ends in time leaves nothing behind on the reactor."""

        async def quick() -> int:
            return 7

        self.assertEqual(self.successResultOf(start(deadline(5, quick(), self.clock, TimeoutError))), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancellation_is_not_a_timeout(self) -> None:
        """A caller that leaves cancels the work, and hears CancelledError."""
        never: Deferred[None] = Deferred()
        waiting = start(deadline(5, never, self.clock, TimeoutError))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ConcurrentlyTests(SynchronousTestCase):
    def test_limit(self) -> None:
        """Never more than the limit at a time, and all of them in the end."""
        running: dict[int, Deferred[None]] = {}
        most = 0

        async def work(item: int) -> None:
            nonlocal most
            running[item] = Deferred()
            most = max(most, len(running))
            await running[item]
            del running[item]

        everything = start(concurrently(3, work, range(10)))
        while running:
            running[min(running)].callback(None)
        self.successResultOf(everything)
        self.assertEqual(most, 3)

    def test_failure_is_raised_after_the_others(self) -> None:
        """One item's failure does not tear the others from their work."""
        ended = []
        slow: Deferred[None] = Deferred()

        async def work(item: int) -> None:
            if item == 0:
                raise ValueError(item)
            await slow
            ended.append(item)

        everything = start(concurrently(2, work, [0, 1]))
        self.assertNoResult(everything)
        slow.callback(None)
        self.failureResultOf(everything, ValueError)
        self.assertEqual(ended, [1])

    def test_cancelling_cancels_all(self) -> None:
        """Nobody goes on when the whole is cancelled."""
        cancelled = []

        async def work(item: int) -> None:
            try:
                await Deferred()
            except CancelledError:
                cancelled.append(item)
                raise

        everything = start(concurrently(2, work, [0, 1, 2]))
        everything.cancel()
        self.failureResultOf(everything, CancelledError)
        self.assertEqual(sorted(cancelled), [0, 1])
