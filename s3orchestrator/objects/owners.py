"""Whose the backends are: all of them, by name."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve
from zope.interface import implementer

from s3orchestrator.concurrency import concurrently
from s3orchestrator.domain.owning import Standing
from s3orchestrator.interfaces import IMarks, IOwnership, Traits
from s3orchestrator.objects.owning import Owner
from s3orchestrator.telemetry.logging import make_logger

AT_ONCE = 8


@implementer(IOwnership)
@define(eq=False)
class Unowned:
    """For backends that nobody shares or mistakes."""

    def is_shut(self, name: str) -> bool:
        """Never."""
        return False

    async def before_writing(self, name: str) -> None:
        """Always allowed."""

    async def before_removing(self, name: str) -> None:
        """Always allowed."""


@implementer(IOwnership)
@define(eq=False)
class Owners:
    """The owners of all configured backends."""

    log = make_logger()
    _by_name: Mapping[str, Owner]
    _marks: IMarks | None = None

    def __getitem__(self, name: str) -> Owner:
        return self._by_name[name]

    @property
    def interval(self) -> float:
        """Seconds between two calls of `run_once`."""
        return min(60.0, *(owner.period / 2 for owner in self._by_name.values()), 60.0)

    async def run_once(self) -> None:
        """Look for signs of a ledger that is behind, and at backends where that is due; raise numbers."""
        if self._marks is not None and (signs := await self._marks.find_signs()):
            self.log.critical("the ledger may be behind its backends: {signs}", signs=signs)
        await concurrently(AT_ONCE, Owner.keep, self._by_name.values())

    def stale(self, name: str) -> None:
        """A backend was away."""
        self._by_name[name].stale()

    def is_shut(self, name: str) -> bool:
        """See `IOwnership`."""
        owner = self._by_name.get(name)
        return owner is not None and owner.is_shut

    async def before_writing(self, name: str) -> None:
        """See `IOwnership`."""
        owner = self._by_name.get(name)
        if owner is not None:
            await owner.before(_may_write)

    async def before_removing(self, name: str) -> None:
        """See `IOwnership`."""
        owner = self._by_name.get(name)
        if owner is not None:
            await owner.before(_may_remove)

    def traits_of(self, name: str, traits: Traits | None) -> Traits | None:
        """Return what may be relied on for naming: without a fresh marker no plain name is taken."""
        owner = self._by_name.get(name)
        if traits is None or owner is None or owner.trusts_plain_names():
            return traits
        return evolve(traits, exclusive=frozenset())


def _may_write(standing: Standing) -> bool:
    return standing.may_write


def _may_remove(standing: Standing) -> bool:
    return standing.may_remove
