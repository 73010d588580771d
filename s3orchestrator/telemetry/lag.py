"""
How late the reactor is.

Everything is done on one thread: whoever keeps it busy keeps everybody waiting. What is due twice a second,
and comes late, tells for how long.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from attrs import define, field
from prometheus_client import Histogram
from twisted.internet.interfaces import IDelayedCall, IReactorTime

EVERY = 0.5  # seconds

LAG = Histogram(
    "s3o_reactor_lag_seconds",
    "How late the reactor did what was due; every request waits as long.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


@define(eq=False)
class ReactorLag:
    """Measures from `start` to `stop`. `seconds` is a clock that nobody sets."""

    _clock: IReactorTime
    _seconds: Callable[[], float] = monotonic
    _due: float = field(default=0.0, init=False)
    _waiting: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._seconds() + EVERY
        self._waiting = self._clock.callLater(EVERY, self._note)

    def stop(self) -> None:
        """Leave nothing in the reactor; may come twice."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _note(self) -> None:
        LAG.observe(max(self._seconds() - self._due, 0.0))
        self.start()
