"""Waiting for one's turn."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.store.turns import Turns


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []

    def take(self, name: str, key: str = "k") -> tuple[Deferred[None], Deferred[None]]:
        """Somebody who takes a turn until the second Deferred fires."""
        until: Deferred[None] = Deferred()

        async def working() -> None:
            async with self.turns.of(key):
                self.begun.append(name)
                await until

        return start(working()), until

    def test_in_order(self) -> None:
        """
        Those of one key come one after the other, in the order they came.
        """
        taken = [self.take(name) for name in "abc"]
        self.assertEqual(self.begun, ["a"])
        for number, (working, until) in enumerate(taken):
            until.callback(None)
            self.successResultOf(working)
            self.assertEqual(self.begun, ["a", "b", "c"][: number + 2])

    def test_other_key(self) -> None:
        """
        Others do not wait.
        """
        self.take("a", "k")
        self.take("b", "l")
        self.assertEqual(self.begun, ["a", "b"])

    def test_failure(self) -> None:
        """
        A turn that fails is over.
        """
        (failing, until), _ = self.take("a"), self.take("b")
        until.errback(ValueError("no"))
        self.failureResultOf(failing, ValueError)
        self.assertEqual(self.begun, ["a", "b"])

    def test_leaves(self) -> None:
        """
        Who leaves before it is called loses its place, and nobody waits for it.
        """
        (_, until), (leaving, _), _ = self.take("a"), self.take("b"), self.take("c")
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        until.callback(None)
        self.assertEqual(self.begun, ["a", "c"])

    def test_nothing_kept(self) -> None:
        """
        A key that nobody wants costs nothing.
        """
        working, until = self.take("a")
        until.callback(None)
        self.successResultOf(working)
        self.assertEqual(self.turns.keys, [])
