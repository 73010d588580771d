"""How many requests each client may send."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.rates import ENOUGH, FORGOTTEN_AT_ONCE, Rate, TokenBuckets

A, B = "192.0.2.1", "192.0.2.2"
RATE = Rate(per_second=10, burst=3, max_age=300, interval=60)
NOW = 1.7e9  # as clocks say it, with the precision that leaves


class TokenBucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buckets = TokenBuckets()

    def take(self, address: str = A, now: float = 0.0, rate: Rate = RATE) -> float:
        return self.buckets.take(address, NOW + now, rate)

    def test_burst(self) -> None:
        """A client may send a burst, and then as many as there is time for; others are not affected."""
        self.assertEqual([self.take() for _ in range(3)], [0, 0, 0])
        self.assertAlmostEqual(self.take(), 0.1)
        self.assertEqual(self.take(B), 0)
        self.assertEqual(self.take(A, 0.1), 0)
        self.assertGreater(self.take(A, 0.1), 0)

    def test_asking_in_vain(self) -> None:
        """Who goes on asking is not punished for it."""
        for _ in range(3):
            self.take()
        for hundredth in range(10):
            self.take(now=hundredth / 100)
        self.assertEqual(self.take(now=0.11), 0)

    def test_coming_back_in_time(self) -> None:
        """Who waits for as long as he was told is let in, whatever clocks and fractions do to the sum."""
        slow = Rate(per_second=0.3, burst=1)
        now = 0.0
        self.take(rate=slow)
        for _ in range(20):
            now += self.take(now=now, rate=slow)
            self.assertEqual(self.take(now=now, rate=slow), 0)

    def test_full(self) -> None:
        """Quiet hours do not add up to more than a burst."""
        self.take()
        self.assertEqual([self.take(now=7200) for _ in range(3)], [0, 0, 0])
        self.assertGreater(self.take(now=7200), 0)

    def test_networks(self) -> None:
        """Of IPv6 a /64 is one client, and IPv4 is the same in both notations."""
        for number in range(3):
            self.take(f"2001:db8::{number}")
        self.assertGreater(self.take("2001:db8::ffff"), 0)
        self.assertEqual(self.take("2001:db8:0:1::1"), 0)
        for _ in range(3):
            self.take(f"::ffff:{A}")
        self.assertGreater(self.take(A), 0)

    def test_new_rate(self) -> None:
        """A new rate is in force at once for those who are known already, without a gift."""
        for _ in range(3):
            self.take()
        self.assertGreater(self.take(rate=Rate(per_second=1000, burst=500)), 0)
        self.assertEqual(self.take(now=0.001, rate=Rate(per_second=1000, burst=500)), 0)
        self.take(B, rate=Rate(per_second=10, burst=500))
        self.assertEqual([bool(self.take(B)) for _ in range(4)], [False, False, False, True])

    def test_clock_set_back(self) -> None:
        """A clock that is set back neither gives nor takes, and goes on from there."""
        for _ in range(3):
            self.take(now=5000)
        self.assertGreater(self.take(now=0), 0)
        self.assertEqual(self.take(now=0.1), 0)

    def test_forgotten(self) -> None:
        """Who has been quiet is forgotten, and only then."""
        self.take(A, 0)
        self.take(B, 200)
        self.take(B, 299)
        self.assertEqual(len(self.buckets), 2)
        self.take(B, 370)
        self.assertEqual(len(self.buckets), 1)

    def test_forgotten_by_a_clock_set_back(self) -> None:
        """Nobody is kept until the clock is where it was."""
        self.take(A, 5000)
        self.take(A, 0)
        self.take(B, 400)
        self.assertEqual(len(self.buckets), 1)

    def test_nobody_gains_by_being_forgotten(self) -> None:
        """A bucket that takes long to fill is kept until it is full."""
        slow = Rate(per_second=0.01, burst=10, max_age=300, interval=1)
        for _ in range(10):
            self.take(A, 0, slow)
        self.take(B, 400, slow)
        self.assertGreater(sum(bool(self.take(A, 401, slow)) for _ in range(10)), 5)
        self.take(B, 401 + 1100, slow)
        self.assertEqual(len(self.buckets), 1)

    def test_forgetting_is_spread(self) -> None:
        """No request has to wait until a multitude has been forgotten."""
        many = 3 * FORGOTTEN_AT_ONCE
        for number in range(many):
            self.take(f"client {number}")
        self.take(A, 1000)
        self.assertEqual(len(self.buckets), many + 1 - FORGOTTEN_AT_ONCE)
        self.take(A, 1001)
        self.take(A, 1002)
        self.take(A, 1003)
        self.assertEqual(len(self.buckets), 1)

    def test_bounded(self) -> None:
        """However many addresses there are, only so many are remembered, the busy ones among them."""
        self.buckets = TokenBuckets(most=100)
        for number in range(1000):
            self.take(f"2001:db8:{number >> 8:x}:{number & 255:x}::1", number / 100)
            self.take(A, number / 100)
        self.assertEqual(len(self.buckets), 100)
        self.assertEqual(self.take("2001:db8:3:e7::2", 10), 0)
        for _ in range(3):
            self.take(A, 10)
        self.assertGreater(self.take(A, 10), 0)

    def test_clear(self) -> None:
        """Forgotten is forgotten."""
        for _ in range(3):
            self.take()
        self.buckets.clear()
        self.assertEqual((len(self.buckets), self.take()), (0, 0))

    @given(
        st.floats(0.01, 1000),
        st.integers(1, 50),
        st.lists(st.floats(0, 5), min_size=1, max_size=100),
    )
    def test_never_more(self, per_second: float, burst: int, pauses: list[float]) -> None:
        """In any time, at most a burst and what the rate allows; and who is refused would have passed it."""
        buckets, rate = TokenBuckets(), Rate(per_second, burst)
        now, taken = NOW, 0
        for pause in pauses:
            now += pause
            wait = buckets.take(A, now, rate)
            taken += not wait
            self.assertLessEqual(taken, burst + (now - NOW) * per_second + 1 - ENOUGH + 1e-3)
            self.assertLessEqual(wait, 1 / per_second)
