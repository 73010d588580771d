"""The rate limit, and settings that change under it."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.web.rate_limit import REJECTIONS, RateLimit, RateLimitRejected

A, B = "192.0.2.1", "192.0.2.2"


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.settings = RateLimitConfig(enabled=True, requests_per_sec=0.25, burst=2)
        self.clock = Clock()
        self.limit = RateLimit(Live(lambda: self.settings), self.clock)

    def passed(self, times: int, address: str = A) -> int:
        """How many of so many requests are let through."""
        let_through = 0
        for _ in range(times):
            try:
                self.limit.check(address)
            except RateLimitRejected:
                continue
            let_through += 1
        return let_through

    def test_refusal(self) -> None:
        """The one too many hears 429, and when to come again, in whole seconds; it is counted."""
        before = REJECTIONS._value.get()
        self.assertEqual(self.passed(2), 2)
        self.clock.advance(0.5)
        error = self.assertRaises(RateLimitRejected, self.limit.check, A)
        self.assertEqual((error.status, error.code, error.headers), (429, "SlowDown", {"Retry-After": "4"}))
        self.assertEqual(REJECTIONS._value.get() - before, 1)
        self.assertEqual(self.passed(2, B), 2)
        self.clock.advance(4)
        self.assertEqual(self.passed(2), 1)

    def test_at_least_a_second(self) -> None:
        """However soon there is room, nobody is told to come at once."""
        self.settings = evolve(self.settings, requests_per_sec=1000.0)
        self.passed(2)
        error = self.assertRaises(RateLimitRejected, self.limit.check, A)
        self.assertEqual(error.headers["Retry-After"], "1")

    def test_reload(self) -> None:
        """A new rate and a new burst are in force with the next request, for known addresses too."""
        self.assertEqual(self.passed(5), 2)
        self.settings = evolve(self.settings, requests_per_sec=10.0, burst=30)
        self.clock.advance(1)
        self.assertEqual(self.passed(50), 10)
        self.clock.advance(10)
        self.assertEqual(self.passed(50), 30)
        self.settings = evolve(self.settings, burst=1)
        self.clock.advance(10)
        self.assertEqual(self.passed(50), 1)

    def test_switching(self) -> None:
        """It can be switched off and on while it runs; off, it remembers nobody."""
        self.assertEqual(self.passed(5), 2)
        self.settings = evolve(self.settings, enabled=False)
        self.assertEqual((self.passed(50), len(self.limit)), (50, 0))
        self.settings = evolve(self.settings, enabled=True)
        self.assertEqual(self.passed(5), 2)
