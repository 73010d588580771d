"""
Measuring the same at several servers, in turn, round after round.

What a machine does besides changes within seconds, so neither server nor case has a time of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

from attrs import field, frozen

from s3orchestrator.testing.bench.measuring import cpu_seconds, percentile, resident
from s3orchestrator.testing.bench.report import CPU, P50, P99, RATE, RSS, Figure
from s3orchestrator.testing.bench.servers import Server

GB, MIB = 1e9, 1 << 20


@frozen
class Done:
    """What clients did: what each thing took and all of it together, in seconds, and the bytes of bodies."""

    took: Sequence[float]
    seconds: float
    bytes: int = 0


Act = Callable[[], Done]
Load = Callable[[Server], AbstractContextManager[Act]]


@frozen(eq=False)
class Case:
    """
    Something that is done to a server.

    Entering `load` prepares it, connections and objects included; what is measured is the call of what
    it gives. `per` is what the CPU time is divided by. `at` is as in `Figure`. It is done to all
    servers unless `at_servers` names some.
    """

    what: str
    load: Load
    per: Literal["request", "GB", "operation"] = "request"
    at: Mapping[str, float] = field(factory=dict)
    at_servers: Collection[str] = ()


# The unit of CPU time with what to multiply seconds by, and the rate's.
_UNITS = {
    "request": ("µs", 1e6, "/s"),
    "operation": ("ms", 1e3, "/s"),
    "GB": ("s/GB", 1.0, "MB/s"),
}


def interleaved(name: str, cases: Sequence[Case], servers: Mapping[str, Server], rounds: int) -> list[Figure]:
    """Do each case at each server, once in every round; returns what that has cost and given."""
    found: dict[tuple[Case, str, str, str], list[float]] = defaultdict(list)
    order = [(case, who) for case in cases for who in servers if who in (case.at_servers or servers)]
    for _ in range(rounds):
        for case, who in order:
            for (measure, unit), value in _measured(case, servers[who]).items():
                found[case, who, measure, unit].append(float(f"{value:.5g}"))
    return [
        Figure(name, case.what, who, measure, unit, tuple(values), case.at)
        for (case, who, measure, unit), values in found.items()
    ]


def _measured(case: Case, server: Server) -> dict[tuple[str, str], float]:
    with case.load(server) as act:
        before = cpu_seconds(server.pid)
        done = act()
        used = cpu_seconds(server.pid) - before
    unit, factor, rate = _UNITS[case.per]
    amount = done.bytes / GB if case.per == "GB" else len(done.took)
    given = done.bytes / 1e6 if case.per == "GB" else len(done.took)
    return {
        (CPU, unit): used * factor / amount,
        (RATE, rate): given / done.seconds,
        (P50, "ms"): percentile(done.took, 0.5) * 1e3,
        (P99, "ms"): percentile(done.took, 0.99) * 1e3,
        (RSS, "MiB"): resident(server.pid) / MIB,
    }
