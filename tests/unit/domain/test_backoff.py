"""Tests for waiting longer after each failure."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.backoff import delay_ms, is_given_up

MINUTE = 60_000


class BackoffTests(SynchronousTestCase):
    def test_doubles(self) -> None:
        """
        One minute after the first failure, then twice as long each time.
        """
        self.assertEqual([delay_ms(count) // MINUTE for count in range(1, 7)], [1, 2, 4, 8, 16, 32])

    def test_uncounted(self) -> None:
        """
        A failure that is not counted is not repeated at once either.
        """
        self.assertEqual(delay_ms(0), MINUTE)

    def test_at_most_a_day(self) -> None:
        """
        However often it failed.
        """
        self.assertEqual([delay_ms(count) for count in (12, 13, 10_000)], [24 * 60 * MINUTE] * 3)

    def test_tenth(self) -> None:
        """
        The tenth failure is the last.
        """
        self.assertEqual([is_given_up(count) for count in (9, 10, 11)], [False, True, True])
