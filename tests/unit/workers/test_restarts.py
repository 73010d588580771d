"""When a process that has ended is replaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.workers.restarts import GIVEN_UP, LONG_ENOUGH, LONGEST, Restarts, are_hopeless


def after(*served: float | None) -> Restarts:
    """How it stands after these ends."""
    restarts = Restarts()
    for each in served:
        restarts = restarts.after(each)
    return restarts


class DelayTests(SynchronousTestCase):
    def test_accident(self) -> None:
        """One that has served for a while is replaced at once, however often that happens."""
        self.assertEqual(after(LONG_ENOUGH).delay, 0)
        self.assertEqual(after(*[3600.0] * 100).delay, 0)

    def test_habit(self) -> None:
        """One that ends again and again is waited for longer each time."""
        delays = [after(*[1.0] * number).delay for number in range(1, 6)]
        self.assertEqual(delays, [0, 0.1, 0.2, 0.4, 0.8])
        self.assertEqual(after(*[None] * 3).delay, after(*[1.0] * 3).delay)

    def test_forgiven(self) -> None:
        """Once it has served for a while that is forgotten."""
        self.assertEqual(after(*[None] * 9, 60.0).delay, 0)

    @given(st.lists(st.none() | st.floats(0, 1e6), max_size=50))
    def test_bounded(self, served: list[float | None]) -> None:
        """Nobody waits for ever."""
        self.assertLessEqual(after(*served).delay, LONGEST)


class HopelessTests(SynchronousTestCase):
    def test_all_in_vain(self) -> None:
        """There is no hope when nobody serves, and none could be started so many times in a row."""
        in_vain = after(*[None] * GIVEN_UP)
        self.assertTrue(are_hopeless([in_vain, in_vain], serving=0))
        self.assertFalse(are_hopeless([in_vain, in_vain], serving=1))
        self.assertFalse(are_hopeless([in_vain, after(*[None] * (GIVEN_UP - 1))], serving=0))

    def test_served_soon_enough(self) -> None:
        """One that has served, be it for a moment, may do so again."""
        self.assertFalse(are_hopeless([after(*[None] * 20, 0.1)], serving=0))
