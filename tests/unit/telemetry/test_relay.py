"""Lines of the log that wait for whoever asks for them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.relay import Relay
from s3orchestrator.telemetry.ring import MOST_BYTES, MOST_LINES


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.relay = Relay()

    def add(self, *texts: str) -> None:
        for text in texts:
            self.relay.add([(1.0, "info", "main", text)])

    def taken(self, most: int = 1000) -> list[str]:
        return [line[-1] for line in self.relay.take(most)]

    def test_taken_once(self) -> None:
        """Lines come in their order, and once."""
        self.add("a", "b")
        self.assertEqual(self.relay.take(1000)[0], (1.0, "info", "main", "a"))
        self.add("c")
        self.assertEqual((self.taken(), self.taken()), (["c"], []))

    def test_portions(self) -> None:
        """No more is taken at a time than is wanted, but never nothing."""
        self.add("12345", "12345", "x" * 50)
        self.assertEqual([self.taken(12), self.taken(12), self.taken(12)], [["12345"] * 2, ["x" * 50], []])

    def test_bounded(self) -> None:
        """When nobody asks, the latest are kept."""
        self.add(*map(str, range(MOST_LINES + 10)))
        self.assertEqual(len(taken := self.taken(MOST_BYTES)), MOST_LINES)
        self.assertEqual((taken[0], taken[-1]), ("10", str(MOST_LINES + 9)))
        self.add("x" * (MOST_BYTES - 10), "y" * 11)
        self.assertEqual(self.taken(), ["y" * 11])
