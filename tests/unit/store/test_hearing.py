"""Telling whoever wants to hear."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.hearing import Hearers


class HearersTests(SynchronousTestCase):
    def test_told(self) -> None:
        """All hear what is said after they came, in that order; what one raises is logged."""
        said: list[tuple[int, str]] = []
        hearers: Hearers[str] = Hearers()
        hearers.tell("too early")
        hearers.add(lambda what: said.append((1, what)))
        hearers.add(lambda what: 1 // 0)
        hearers.add(lambda what: said.append((2, what)))
        hearers.tell("now")
        self.assertEqual(said, [(1, "now"), (2, "now")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_added_meanwhile(self) -> None:
        """Who comes because of what is said hears the next, and not this."""
        said: list[str] = []
        hearers: Hearers[str] = Hearers()
        hearers.add(lambda what: hearers.add(said.append))
        hearers.tell("first")
        self.assertEqual(said, [])
        hearers.tell("second")
        self.assertEqual(said, ["second"])
