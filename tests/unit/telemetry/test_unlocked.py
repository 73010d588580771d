"""Counters and histograms without locks say what the library's do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.exposition import families_of
from s3orchestrator.telemetry.unlocked import UnlockedCounter, UnlockedHistogram

BUCKETS = (0.01, 0.5, 1, 30)
MOVES = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(BUCKETS) | st.integers(0, 100),
    )
)


def told(kind: Any, moves: list[tuple[str, float]], **arguments: Any) -> Any:
    """What is on the page after such moves of two series, and of one without labels."""
    registry = CollectorRegistry()
    labelled = kind("s3o_x", "What it is.", ["which"], registry=registry, **arguments)
    single = kind("s3o_y", "What it is.", registry=registry, **arguments)
    for which, amount in moves:
        for moved in (labelled.labels(which), single):
            (moved.inc if isinstance(moved, Counter) else moved.observe)(amount)
    return [(metric, list(samples)) for metric, samples in families_of(registry)]


class UnlockedTests(SynchronousTestCase):
    @given(MOVES)
    def test_counter(self, moves: list[tuple[str, float]]) -> None:
        """All that is counted is there."""
        self.assertEqual(told(UnlockedCounter, moves), told(Counter, moves))

    @given(MOVES)
    def test_histogram(self, moves: list[tuple[str, float]]) -> None:
        """A value on a bound belongs to what is below it; one above all of them is counted as well."""
        self.assertEqual(
            told(UnlockedHistogram, moves, buckets=BUCKETS), told(Histogram, moves, buckets=BUCKETS)
        )

    def test_one_by_one(self) -> None:
        """Mostly one thing happens at a time."""
        counter = UnlockedCounter("s3o_x", "What it is.", registry=None)
        counter.inc()
        counter.inc()
        (metric,) = counter.collect()
        self.assertEqual([sample.value for sample in metric.samples], [2.0])

    def test_another_thread(self) -> None:
        """No test passes in which another thread than the reactor's moves one: see `tests.conftest`."""
        counter = UnlockedCounter("s3o_x", "What it is.", registry=None)
        histogram = UnlockedHistogram("s3o_y", "What it is.", registry=None)
        with ThreadPoolExecutor(1) as another:
            for moving in (another.submit(counter.inc), another.submit(histogram.observe, 1.0)):
                self.assertIsInstance(moving.exception(), AssertionError)
