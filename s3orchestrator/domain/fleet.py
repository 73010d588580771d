"""
Who may be written, who may be read, in which order.

Pure: the fleet is described by values, and what changes (bytes taken, recent failures) is
an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from attrs import frozen

from s3orchestrator.domain.placement import pack, spread
from s3orchestrator.domain.records import Blob, Usage


@frozen
class Member:
    """A backend as placement sees it; `max_object_size` 0 is no limit."""

    name: str
    max_object_size: int = 0


@frozen
class Fleet:
    """All configured backends, in the configuration's order."""

    members: tuple[Member, ...]
    strategy: str = "pack"

    @property
    def needs_usage(self) -> bool:
        """Tell whether `writable` looks at its `usage`."""
        return self.strategy == "spread"

    def fitting(self, size: int) -> list[str]:
        """Return who takes objects of `size` bytes at all, in the configuration's order."""
        return [m.name for m in self.members if not m.max_object_size or size <= m.max_object_size]

    def writable(
        self,
        size: int,
        *,
        usage: Mapping[str, Usage] | None = None,
        failing: Set[str] = frozenset(),
        without: Set[str] = frozenset(),
    ) -> list[str]:
        """
        Return who may take an object of `size` bytes, best first; those failing just now come last.

        Those in `without` may not be asked now.
        """
        fitting = [name for name in self.fitting(size) if name not in without]
        ordered = spread(fitting, usage or {}) if self.needs_usage else pack(fitting)
        return sorted(ordered, key=lambda name: name in failing)

    def readable(
        self, blobs: Sequence[Blob], *, failing: Set[str] = frozenset(), without: Set[str] = frozenset()
    ) -> list[Blob]:
        """Return the copies worth trying, best first: healthy before failing, suspect ones last."""
        order = {member.name: place for place, member in enumerate(self.members)}
        known = [blob for blob in blobs if blob.backend in order and blob.backend not in without]
        return sorted(known, key=lambda blob: (blob.suspect, blob.backend in failing, order[blob.backend]))
