"""Counting in the process: nothing is lost, moved or forgotten on the way to the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.usage import NOTHING, Counters
from s3orchestrator.interfaces import ICounters

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


class LocalCountersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(MIDNIGHT - 10)
        self.counters = LocalCounters(self.clock)

    def test_interface(self) -> None:
        """It is what the engine asks for."""
        verifyObject(ICounters, self.counters)

    def test_counts(self) -> None:
        """What is added is used, for its backend."""
        self.counters.add("a", Counters(1, 2, 3))
        self.counters.add("a", Counters(1, 0, 0))
        self.assertEqual(self.counters.used("a"), Counters(2, 2, 3))
        self.assertEqual(self.counters.used("b"), NOTHING)

    def test_counts_on_its_way(self) -> None:
        """There is no moment in which what is being recorded does not count."""
        self.counters.rebase("2026-02", {"a": Counters(10)})
        self.counters.add("a", Counters(1))
        taken = self.counters.take()
        self.assertEqual(taken, {("a", "2026-02"): Counters(1)})
        self.assertEqual(self.counters.used("a"), Counters(11))
        self.counters.add("a", Counters(1))
        self.assertEqual(self.counters.used("a"), Counters(12))
        self.counters.recorded()
        self.assertEqual(self.counters.used("a"), Counters(12))
        self.counters.rebase("2026-02", {"a": Counters(11 + 5)})  # another instance has recorded five
        self.assertEqual(self.counters.used("a"), Counters(17))

    def test_given_back(self) -> None:
        """What could not be recorded is taken again, with what came since."""
        self.counters.add("a", Counters(1))
        self.counters.take()
        self.counters.add("a", Counters(0, 7))
        self.counters.give_back()
        self.assertEqual(self.counters.used("a"), Counters(1, 7))
        self.assertEqual(self.counters.take(), {("a", "2026-02"): Counters(1, 7)})

    def test_new_month(self) -> None:
        """A month begins with nothing; what the old one still has to be recorded stays the old one's."""
        self.counters.rebase("2026-02", {"a": Counters(100)})
        self.counters.add("a", Counters(1))
        self.clock.advance(10)
        self.assertEqual(self.counters.period, "2026-03")
        self.assertEqual(self.counters.used("a"), NOTHING)
        self.counters.add("a", Counters(2))
        expected = {("a", "2026-02"): Counters(1), ("a", "2026-03"): Counters(2)}
        self.assertEqual(self.counters.take(), expected)
        self.counters.give_back()
        self.assertEqual(self.counters.take(), expected)
        self.counters.recorded()
        self.counters.rebase("2026-03", {"a": Counters(2)})
        self.assertEqual(self.counters.used("a"), Counters(2))

    @given(st.lists(st.sampled_from(["add", "record", "fail", "month"]), max_size=40))
    def test_what_was_added_is_recorded(self, steps: list[str]) -> None:
        """Whatever happens in between, the ledger gets every month's sum in the end."""
        clock = Clock()
        clock.advance(MIDNIGHT)
        counters, ledger, added = LocalCounters(clock), {}, {}

        def record() -> None:
            for which, used in counters.take().items():
                ledger[which] = ledger.get(which, NOTHING) + used
            counters.recorded()
            period = counters.period
            totals = {name: used for (name, month), used in ledger.items() if month == period}
            counters.rebase(period, totals)

        for step in steps:
            if step == "add":
                which = "a", counters.period
                added[which] = added.get(which, NOTHING) + Counters(1, 2, 3)
                counters.add("a", Counters(1, 2, 3))
            elif step == "record":
                record()
            elif step == "fail":
                counters.take()
                counters.give_back()
            else:
                clock.advance(31 * 86_400)
            self.assertEqual(counters.used("a"), added.get(("a", counters.period), NOTHING))
        record()
        self.assertEqual(ledger, added)
