"""
In which order backends are offered an object.

`pack` fills them as the configuration lists them. `spread` offers the least utilised
first, where utilisation is bytes taken over the limit. A backend without a limit is
measured as if it had the largest limit among the others: while it holds less than that
it takes its share; beyond it, it comes last but is never refused, so it neither starves
nor swallows everything. Where no backend has a limit, the one with the fewest bytes leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s3orchestrator.domain.records import Usage


def pack(backends: Sequence[str]) -> list[str]:
    """Return the backends as the configuration lists them."""
    return list(backends)


def spread(backends: Sequence[str], usage: Mapping[str, Usage]) -> list[str]:
    """Return the backends, least utilised first; equals stay in the configuration's order."""
    limits = [limit for name in backends if (limit := _limit(usage, name))]
    yardstick = max(limits, default=1)

    def utilisation(name: str) -> float:
        known = usage.get(name)
        return known.taken / (known.limit or yardstick) if known else 0.0

    return sorted(backends, key=utilisation)


def _limit(usage: Mapping[str, Usage], name: str) -> int | None:
    known = usage.get(name)
    return known.limit if known else None
