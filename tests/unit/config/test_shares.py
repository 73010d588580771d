"""Parts of limits."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.loader import load
from s3orchestrator.config.shares import part_of, part_of_rate, with_part_of_pool
from tests.unit.config.samples import MINIMAL


class ShareTests(SynchronousTestCase):
    @given(st.integers(1, 10**6), st.integers(1, 256))
    def test_parts(self, limit: int, share: int) -> None:
        """All parts together are the limit, or less than one more for each; nobody has nothing."""
        part = part_of(limit, share)
        self.assertGreaterEqual(part, 1)
        self.assertLess(limit - 1, part * share)
        self.assertLess(part * share, limit + share)

    def test_rate(self) -> None:
        """A rate is divided exactly, a burst into whole requests; alone it is what it is."""
        limit = RateLimitConfig(enabled=True, requests_per_sec=10.0, burst=5)
        self.assertEqual(part_of_rate(limit, 4), RateLimitConfig(enabled=True, requests_per_sec=2.5, burst=2))
        self.assertIs(part_of_rate(limit, 1), limit)

    def test_pool(self) -> None:
        """Connections to the database are divided; two are left to each that was to have so many."""
        config = load(MINIMAL, {}).config
        for most, least, share, expected in ((50, 10, 4, (13, 3)), (4, 4, 4, (2, 1)), (1, 0, 2, (1, 0))):
            given = evolve(config, database=evolve(config.database, max_conns=most, min_conns=least))
            found = with_part_of_pool(given, share).database
            self.assertEqual((found.max_conns, found.min_conns), expected)
