"""
Counters and histograms for one thread, which is the reactor's; the tests see to it that no other moves one.

The library's take a lock for each move, and a histogram looks through its buckets one by one: six such moves
of a GET were 5 µs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString


class UnlockedCounter(Counter):
    """A counter that is moved by one thread only, and read by any."""

    def _metric_init(self) -> None:
        self._count = 0.0

    def inc(self, amount: float = 1.0, exemplar: dict[str, str] | None = None) -> None:
        """Count; `exemplar` is not kept."""
        self._count += amount

    def _child_samples(self) -> Iterable[Sample]:
        return (Sample("_total", {}, self._count, None, None),)


class UnlockedHistogram(Histogram):
    """A histogram that is moved by one thread only, and read by any."""

    def _metric_init(self) -> None:
        self._counts = [0] * len(self._upper_bounds)
        self._total = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count a value; `exemplar` is not kept."""
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        self._total += amount

    def _child_samples(self) -> Iterable[Sample]:
        so_far, samples = 0.0, []
        for bound, count in zip(self._upper_bounds, self._counts, strict=True):
            so_far += count
            samples.append(Sample("_bucket", {"le": floatToGoString(bound)}, so_far, None, None))  # type: ignore[no-untyped-call]
        samples.append(Sample("_count", {}, so_far, None, None))
        samples.append(Sample("_sum", {}, self._total, None, None))
        return samples
