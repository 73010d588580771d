"""
The metrics of several processes as those of one.

Counters and histograms are added up, those of processes that have ended included: a counter that went back
would be taken for a restart. A gauge is of a moment, so that of a process that has ended is gone, and what
those of several say together is a matter of what they mean: see `GAUGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import define, field, frozen
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]  # by name of the sample and its labels
Rule = Callable[[float, float], float]


def _added(one: float, other: float) -> float:
    return one + other


# By the name of the gauge. One that is not here is the first process's, which knows it best: what the ledger
# says, the configuration, certificates, the program itself.
GAUGES: Mapping[str, Rule] = {
    "s3o_connections": _added,
    "s3o_inflight_requests": _added,
    "s3o_database_connections": _added,
    "s3o_database_waiting": _added,
    # The worst: whoever is alerted wants to know that one of them is in trouble.
    "s3o_circuit_breaker_state": max,
    "s3o_backend_standing": max,
    "s3o_worker_consecutive_failures": max,
    "s3o_worker_last_success_timestamp_seconds": min,
    "process_resident_memory_bytes": _added,
    "process_virtual_memory_bytes": _added,
    "process_open_fds": _added,
}

_ADDED_UP = frozenset({"counter", "histogram", "gaugehistogram", "summary"})


@frozen
class Family:
    """A metric of a process at a moment: plain values, to be sent to another process."""

    name: str
    kind: str
    documentation: str
    values: Values

    @property
    def rule(self) -> Rule | None:
        """What two processes' values are together; None if only the first one's counts."""
        return _added if self.kind in _ADDED_UP else GAUGES.get(self.name)

    @property
    def is_lasting(self) -> bool:
        """Whether it still counts when its process has ended."""
        return self.kind in _ADDED_UP


Families = Sequence[Family]


def summed(all_of_them: Iterable[Families]) -> list[Family]:
    """Return what several processes say together, in the order of the first that says it."""
    found: dict[str, Family] = {}
    for families in all_of_them:
        for family in families:
            before = found.get(family.name)
            found[family.name] = family if before is None else _together(before, family)
    return list(found.values())


def _together(one: Family, other: Family) -> Family:
    rule = one.rule
    if rule is None:
        return one
    values = dict(one.values)
    for which, value in other.values.items():
        values[which] = rule(values[which], value) if which in values else value
    return Family(one.name, one.kind, one.documentation, values)


def lasting(families: Families) -> list[Family]:
    """Return what still counts when the process has ended."""
    return [family for family in families if family.is_lasting]


@define(eq=False)
class Sums:
    """
    What is known of each process, by what it is called, and what those have left that have ended.

    A process whose last figures nobody heard has what it said before.
    """

    _of: dict[int, Families] = field(factory=dict, init=False)
    _left: Families = field(factory=list, init=False)

    def note(self, who: int, families: Families) -> None:
        """A process says how it stands."""
        self._of[who] = families

    def end(self, who: int) -> None:
        """A process has ended; the name may be another's from now on."""
        families = self._of.pop(who, None)
        if families is not None:
            self._left = summed([self._left, lasting(families)])

    def all(self, own: Families) -> list[Family]:
        """Return everything together; what is `own` comes first."""
        return summed([own, *self._of.values(), self._left])


def as_metrics(families: Families) -> Iterator[tuple[Metric, Iterator[Sample]]]:
    """Return families as the library's encoders take them, samples as they are asked for."""
    for family in families:
        yield Metric(family.name, family.documentation, family.kind), _samples(family)


def _samples(family: Family) -> Iterator[Sample]:
    for (name, labels), value in family.values.items():
        yield Sample(name, dict(labels), value)
