"""Three states, and what moves between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.breaker import STALE_AFTER, Breaker, Pass, State


class BreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.changes: list[tuple[State, State]] = []
        self.breaker = Breaker(
            3, 10.0, lambda: 0.0, lambda before, after: self.changes.append((before, after))
        )

    def passed(self, now: float) -> Pass:
        given = self.breaker.admit(now)
        assert given is not None
        return given

    def fail(self, times: int, now: float = 0.0) -> None:
        for _ in range(times):
            self.breaker.failed(self.passed(now), now)

    def test_opens_after_failures_in_a_row(self) -> None:
        """The last of them opens it; from then on nobody passes."""
        self.fail(2)
        self.assertIs(self.breaker.state, State.CLOSED)
        self.fail(1)
        self.assertIs(self.breaker.state, State.OPEN)
        self.assertIsNone(self.breaker.admit(9.9))
        self.assertEqual(self.changes, [(State.CLOSED, State.OPEN)])

    def test_success_in_between(self) -> None:
        """One success, and counting begins anew."""
        self.fail(2)
        self.breaker.succeeded(self.passed(0))
        self.fail(2)
        self.assertIs(self.breaker.state, State.CLOSED)

    def test_one_probe(self) -> None:
        """When its time has come one call passes, and only one."""
        self.fail(3)
        probe = self.passed(10)
        self.assertTrue(probe.is_probe)
        self.assertIsNone(self.breaker.admit(11))
        self.breaker.succeeded(probe)
        self.assertIs(self.breaker.state, State.CLOSED)
        self.assertEqual(self.breaker.open_for(12), 0)

    def test_probe_fails(self) -> None:
        """It opens again for as long as before, and remembers since when there has been trouble."""
        self.fail(3, now=5)
        self.breaker.failed(self.passed(15), 20)
        self.assertIsNone(self.breaker.admit(29.9))
        self.assertIsNotNone(self.breaker.admit(30))
        self.assertEqual(self.breaker.open_for(30), 25)

    def test_probe_abandoned(self) -> None:
        """A client that leaves proves nothing: the next caller probes at once."""
        self.fail(3)
        self.breaker.abandoned(self.passed(10), 11)
        self.assertIs(self.breaker.state, State.OPEN)
        self.assertTrue(self.passed(11).is_probe)

    def test_stale_probe(self) -> None:
        """A probe that never comes back does not keep it half-open for ever."""
        self.fail(3)
        lost = self.passed(10)
        self.assertFalse(self.breaker.admits(10 + STALE_AFTER - 1))
        self.assertFalse(self.breaker.give_up_stale(10 + STALE_AFTER - 1))
        self.assertTrue(self.breaker.admits(10 + STALE_AFTER))
        probe = self.passed(10 + STALE_AFTER)
        self.breaker.failed(lost, 140)
        self.assertIs(self.breaker.state, State.HALF_OPEN)
        self.breaker.succeeded(probe)
        self.assertIs(self.breaker.state, State.CLOSED)

    def test_late_failure(self) -> None:
        """A call from before it opened is not taken for the probe."""
        old = self.passed(0)
        self.fail(3)
        probe = self.passed(10)
        self.breaker.failed(old, 11)
        self.assertIs(self.breaker.state, State.HALF_OPEN)
        self.breaker.succeeded(probe)
        self.assertIs(self.breaker.state, State.CLOSED)

    def test_late_success(self) -> None:
        """Nor does its success close what has opened since."""
        old = self.passed(0)
        self.fail(3)
        self.breaker.succeeded(old)
        self.assertIs(self.breaker.state, State.OPEN)

    def test_jitter(self) -> None:
        """Up to a quarter of the time-out is added, anew each time."""
        chances = iter((0.0, 1.0))
        self.breaker = Breaker(1, 8.0, lambda: next(chances))
        self.fail(1)
        self.assertFalse(self.breaker.admits(7.9))
        self.breaker.failed(self.passed(8), 8)
        self.assertFalse(self.breaker.admits(17.9))
        self.assertTrue(self.breaker.admits(18))


steps = st.lists(
    st.tuples(st.sampled_from(("succeed", "fail", "abandon", "hold")), st.floats(0, 300)), max_size=60
)


class BreakerProperties(SynchronousTestCase):
    @given(steps)
    def test_never_stuck(self, history: list[tuple[str, float]]) -> None:
        """Whatever has happened, after time enough somebody may try; at most one probe is on its way."""
        breaker, now, held = Breaker(2, 10.0, lambda: 0.5), 0.0, []
        for outcome, passed in history:
            now += passed
            said = breaker.admits(now)
            given_pass = breaker.admit(now)
            assert said == (given_pass is not None)
            if given_pass is None:
                continue
            if outcome == "succeed":
                breaker.succeeded(given_pass)
            elif outcome == "fail":
                breaker.failed(given_pass, now)
            elif outcome == "abandon":
                breaker.abandoned(given_pass, now)
            else:
                held.append(given_pass)
        assert breaker.admits(now + STALE_AFTER + 10.0 * 1.25)
