"""What monthly limits allow, and which month it is."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.usage import NO_LIMITS, Counters, Limits, allows, is_close, period_at

AMOUNT = st.integers(0, 1000)
COUNTERS = st.builds(Counters, AMOUNT, AMOUNT, AMOUNT)


class AllowsTests(SynchronousTestCase):
    def test_up_to_the_limit(self) -> None:
        """A limit may be reached, and not passed."""
        limits = Limits(ingress_bytes=100)
        self.assertTrue(allows(Counters(9, 9, 90), Counters(1, 0, 10), limits))
        self.assertFalse(allows(Counters(9, 9, 90), Counters(1, 0, 11), limits))

    def test_each_counter(self) -> None:
        """One counter that is used up is enough to refuse what would raise it."""
        for used, limits in (
            (Counters(5, 0, 0), Limits(5, 0, 0)),
            (Counters(0, 5, 0), Limits(0, 5, 0)),
            (Counters(0, 0, 5), Limits(0, 0, 5)),
        ):
            self.assertFalse(allows(used, Counters(1, 1, 1), limits))

    def test_what_is_not_raised(self) -> None:
        """Reads that went over their limit do not forbid writes."""
        self.assertTrue(allows(Counters(0, 101, 0), Counters(1, 0, 10), Limits(0, 100, 100)))

    @given(COUNTERS, COUNTERS)
    def test_no_limits(self, used: Counters, proposed: Counters) -> None:
        """Without limits everything is allowed, and nothing is close."""
        self.assertTrue(allows(used, proposed, NO_LIMITS))
        self.assertFalse(is_close(used, NO_LIMITS, 0.5))

    @given(COUNTERS, st.lists(COUNTERS), COUNTERS)
    def test_never_passed(self, used: Counters, calls: list[Counters], limit: Counters) -> None:
        """Whatever is asked for, in whatever order: a counter that was under its limit stays there."""
        limits = Limits(limit.api_requests, limit.egress_bytes, limit.ingress_bytes)
        before = used
        for call in calls:
            if allows(used, call, limits):
                used = used + call
        for name in ("api_requests", "egress_bytes", "ingress_bytes"):
            most = max(getattr(limits, name), getattr(before, name))
            self.assertTrue(not getattr(limits, name) or getattr(used, name) <= most)

    def test_close(self) -> None:
        """Close is a share of any one limit."""
        limits = Limits(100, 1000, 0)
        self.assertFalse(is_close(Counters(79, 799, 10**9), limits, 0.8))
        self.assertTrue(is_close(Counters(80, 0, 0), limits, 0.8))
        self.assertTrue(is_close(Counters(0, 800, 0), limits, 0.8))


class PeriodTests(SynchronousTestCase):
    def test_last_and_first_moment(self) -> None:
        """Months begin and end at midnight of UTC, also at the turn of a year."""
        turn = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        self.assertEqual(period_at(turn - 0.001).name, "2025-12")
        self.assertEqual(period_at(turn).name, "2026-01")
        self.assertEqual(period_at(turn - 1).ends, turn)

    @given(st.floats(0, 4e9))
    def test_holds_its_moments(self, seconds: float) -> None:
        """A moment is in its month, and the month's end is in the next one."""
        period = period_at(seconds)
        self.assertTrue(period.holds(seconds))
        self.assertFalse(period.holds(period.ends))
        self.assertGreater(period_at(period.ends).name, period.name)
