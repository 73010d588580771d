"""Who may guess how often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.throttling import ALLOWED, LOCKED_FOR, Throttle

A, B = "192.0.2.1", "192.0.2.2"


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.throttle = Throttle()

    def fail(self, address: str, times: int = ALLOWED, now: float = 0.0) -> None:
        for _ in range(times):
            self.throttle.failed(address, now)

    def test_locked(self) -> None:
        """Five failures lock an address out for five minutes, and nobody else."""
        self.fail(A, ALLOWED - 1)
        self.assertEqual(self.throttle.locked(A, 0), 0)
        self.fail(A, 1, 1)
        self.assertEqual(self.throttle.locked(A, 1), LOCKED_FOR)
        self.assertEqual(self.throttle.locked(B, 1), 0)
        self.assertGreater(self.throttle.locked(A, LOCKED_FOR), 0)
        self.assertEqual(self.throttle.locked(A, LOCKED_FOR + 1), 0)

    def test_begins_anew(self) -> None:
        """After the lock there are as many guesses as before."""
        self.fail(A)
        self.fail(A, ALLOWED - 1, LOCKED_FOR)
        self.assertEqual(self.throttle.locked(A, LOCKED_FOR), 0)

    def test_success(self) -> None:
        """A success forgets failures."""
        self.fail(A, ALLOWED - 1)
        self.throttle.succeeded(A)
        self.fail(A, ALLOWED - 1)
        self.assertEqual(self.throttle.locked(A, 0), 0)

    def test_networks(self) -> None:
        """Of IPv6 a /64 is one client; an IPv4 address is the same in both notations."""
        for number in range(ALLOWED):
            self.throttle.failed(f"2001:db8::{number}", 0)
        self.assertGreater(self.throttle.locked("2001:db8::ffff", 0), 0)
        self.assertEqual(self.throttle.locked("2001:db8:0:1::1", 0), 0)
        self.fail(f"::ffff:{A}")
        self.assertGreater(self.throttle.locked(A, 0), 0)
        self.fail("fe80::1%eth0")
        self.assertGreater(self.throttle.locked("fe80::2%eth0", 0), 0)

    def test_no_address(self) -> None:
        """Who has no address, as on a Unix socket, is locked out like others."""
        self.fail("")
        self.assertGreater(self.throttle.locked("", 0), 0)

    def test_bounded(self) -> None:
        """Many addresses cost no more memory than `most` do; the quietest are forgotten."""
        self.throttle = Throttle(most=3)
        self.fail(A)
        for number in range(3):
            self.throttle.failed(f"198.51.100.{number}", 1)
        self.assertEqual(len(self.throttle), 3)
        self.assertEqual(self.throttle.locked(A, 1), 0)

    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.floats(0, 200), st.sampled_from(["fail", "succeed"])),
            max_size=60,
        )
    )
    def test_any_sequence(self, events: list[tuple[str, float, str]]) -> None:
        """
        Nobody guesses more often than allowed in any stretch of `locked_for`, unless by guessing right;
        and a lock is never longer than that.
        """
        throttle, now = Throttle(most=3), 0.0
        heard: dict[str, list[float]] = {name: [] for name in "abc"}
        for name, after, what in events:
            now += after
            left = throttle.locked(name, now)
            self.assertLessEqual(left, LOCKED_FOR)
            if left:
                continue
            if what == "succeed":
                throttle.succeeded(name)
                heard[name].clear()
            else:
                throttle.failed(name, now)
                heard[name].append(now)
                self.assertLessEqual(sum(now - at < LOCKED_FOR for at in heard[name]), ALLOWED)
        self.assertLessEqual(len(throttle), 3)
