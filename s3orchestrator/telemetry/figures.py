"""The metrics of this process as plain values, for another process to add to its own."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.telemetry.exposition import families_of
from s3orchestrator.telemetry.sums import Family

TURN = 0.002  # seconds of looking after which others have their turn


async def figures_of(
    registry: CollectorRegistry, clock: IReactorTime, seconds: Callable[[], float] = perf_counter
) -> list[Family]:
    """Return everything as it is now, looking at a little at a time; `seconds` measures work."""
    found = []
    until = seconds() + TURN
    for metric, samples in families_of(registry):
        values = {}
        for sample in samples:
            values[sample.name, tuple(sample.labels.items())] = sample.value
            if seconds() >= until:
                await _turn_of_others(clock)
                until = seconds() + TURN
        found.append(Family(metric.name, metric.type, metric.documentation, values))
    return found


def _turn_of_others(clock: IReactorTime) -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    clock.callLater(0, turn.callback, None)
    return turn
