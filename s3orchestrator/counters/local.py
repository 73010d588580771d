"""
Usage counted in this process, until it is in the ledger.

Counts are kept by month, so that what was used before midnight is recorded for the month
it was used in. What has been taken to be recorded still counts, so that no check meets a
moment in which it is neither here nor there.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from s3orchestrator.domain.usage import NOTHING, Counters, Period, period_at
from s3orchestrator.interfaces import ICounters

Counted = dict[tuple[str, str], Counters]


@implementer(ICounters)
@define(eq=False)
class LocalCounters:
    """
    Counts by backend and month.

    `_recorded` is what the ledger had when it was last asked, `_taken` what is on its way
    there, `_fresh` the rest.
    """

    _clock: IReactorTime
    _recorded: Counted = field(factory=dict, init=False)
    _taken: Counted = field(factory=dict, init=False)
    _fresh: Counted = field(factory=dict, init=False)
    _month: Period = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._month = period_at(self._clock.seconds())

    @property
    def period(self) -> str:
        """See `ICounters`."""
        now = self._clock.seconds()
        if not self._month.holds(now):
            self._month = period_at(now)
        return self._month.name

    def add(self, backend: str, used: Counters) -> None:
        """See `ICounters`."""
        _add(self._fresh, (backend, self.period), used)

    def used(self, backend: str) -> Counters:
        """See `ICounters`."""
        which = backend, self.period
        return sum(
            (counted[which] for counted in (self._recorded, self._taken, self._fresh) if which in counted),
            NOTHING,
        )

    def take(self) -> Mapping[tuple[str, str], Counters]:
        """See `ICounters`."""
        for which, used in self._fresh.items():
            _add(self._taken, which, used)
        self._fresh = {}
        return dict(self._taken)

    def give_back(self) -> None:
        """See `ICounters`."""
        for which, used in self._taken.items():
            _add(self._fresh, which, used)
        self._taken = {}

    def recorded(self) -> None:
        """See `ICounters`."""
        for which, used in self._taken.items():
            _add(self._recorded, which, used)
        self._taken = {}

    def rebase(self, period: str, totals: Mapping[str, Counters]) -> None:
        """See `ICounters`."""
        self._recorded = {(backend, period): used for backend, used in totals.items()}


def _add(counted: Counted, which: tuple[str, str], used: Counters) -> None:
    before = counted.get(which)
    counted[which] = used if before is None else before + used
