"""Tests for blocking calls in threads."""

from __future__ import annotations

from threading import Event, current_thread
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from s3orchestrator.backends.blocking import BlockingCalls
from s3orchestrator.errors import BackendUnavailable
from tests.contracts.bodies import swallow


class BlockingCallsTests(TestCase):
    """Tests for `BlockingCalls`."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.threads = BlockingCalls(self.reactor, "disk", 2)
        self.gate = Event()
        self.addCleanup(self.threads.close)
        self.addCleanup(self.gate.set)

    async def until(self, condition: Any) -> None:
        for _ in range(2000):
            if condition():
                return
            await deferLater(self.reactor, 0.001)
        self.fail("never happened")

    async def test_result(self) -> None:
        """What the call returns comes back, and it was made in a thread of that name."""
        self.assertEqual(await self.threads.call(lambda: current_thread().name), "disk-0")

    async def test_failure(self) -> None:
        """What the call raises comes back."""
        with self.assertRaises(ZeroDivisionError):
            await self.threads.call(lambda: 1 // 0)

    async def test_limit(self) -> None:
        """No more calls run at once than there may be threads; the others wait their turn."""
        begun: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            self.gate.wait(10)
            return number

        calls = [self.threads.call(lambda number=number: work(number)) for number in range(5)]  # type: ignore[misc]
        await self.until(lambda: len(begun) == 2)
        self.gate.set()
        results = await DeferredList(calls)
        self.assertEqual([result for _, result in results], [0, 1, 2, 3, 4])
        self.assertEqual(sorted(begun), [0, 1, 2, 3, 4])

    async def test_cancelled_in_time(self) -> None:
        """A call that is cancelled before its turn is never made."""
        blocking = [self.threads.call(lambda: self.gate.wait(10)) for _ in range(2)]
        made: list[bool] = []
        waiting = self.threads.call(lambda: made.append(True))
        waiting.cancel()
        await swallow(waiting)
        self.gate.set()
        await DeferredList(blocking)
        await self.threads.call(lambda: None)
        self.assertEqual(made, [])

    async def test_cancelled_too_late(self) -> None:
        """Cancelling takes effect at once, and what the call returns later is undone."""
        begun = Event()
        undone: list[str] = []

        def work() -> str:
            begun.set()
            self.gate.wait(10)
            return "descriptor"

        running = self.threads.call(work, undone.append)
        await self.until(begun.is_set)
        running.cancel()
        await swallow(running)
        self.gate.set()
        await self.until(lambda: undone == ["descriptor"])

    async def test_close(self) -> None:
        """Closing waits for calls that were made, refuses others, and still cleans up."""
        running = self.threads.call(lambda: self.gate.wait(10))
        closing = self.threads.close()
        with self.assertRaises(BackendUnavailable) as caught:
            self.threads.call(lambda: None)
        self.assertFalse(caught.exception.sent)
        self.assertFalse(closing.called)
        self.gate.set()
        await closing
        self.assertTrue(await running)
        cleaned: list[bool] = []
        await self.threads.clean_up(lambda: cleaned.append(True))
        self.assertEqual(cleaned, [True])
        await self.threads.close()
