"""How the whole stands: ledger, backends, what they hold, and what was used of them this month."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, frozen

from s3orchestrator import __version__
from s3orchestrator.domain.breaker import Breaker, State
from s3orchestrator.domain.owning import Verdict
from s3orchestrator.domain.records import Inventory, Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBackend, IBlobs, ICounters, IUsageLedger, Traits
from s3orchestrator.web.admin.calls import Answer, Ask


@frozen
class Gauges:
    """
    Whom to ask what needs no ledger: what was used this month, and how a backend's breaker stands.

    Other processes have breakers of their own; `elsewhere` gives their states.
    """

    counters: ICounters
    breakers: Callable[[], Mapping[str, Breaker]]
    elsewhere: Callable[[str], Sequence[str]] = lambda backend: ()

    def breaker(self, backend: str) -> str:
        """Return the state of a breaker, the worst of all; one that is switched off never opens."""
        breaker = self.breakers().get(backend)
        states = {named(breaker.state if breaker is not None else State.CLOSED), *self.elsewhere(backend)}
        return next(state for state in _WORST_FIRST if state in states)


def named(state: State) -> str:
    """Return the state as operators read it."""
    return state.name.lower().replace("_", "-")


_WORST_FIRST = tuple(named(state) for state in (State.OPEN, State.HALF_OPEN, State.CLOSED))


@define(eq=False)
class Status:
    """`GET status`. `processes` are those that serve clients, if that is not this one."""

    _mode: str
    _backends: Callable[[], Sequence[IBackend]]
    _blobs: IBlobs
    _usage: IUsageLedger
    _gauges: Gauges
    _verdict_of: Callable[[str], Verdict]
    _processes: Callable[[], Sequence[Mapping[str, Any]]] = tuple

    async def show(self, ask: Ask) -> Answer:
        """Answer also while the ledger is away: then without what only the ledger knows."""
        ask.allow_query()
        healthy = True
        usage: Mapping[str, Usage] | None = None
        held: Mapping[str, Inventory] = {}
        try:
            usage = {known.backend: known for known in await self._blobs.usage()}
            held = await self._usage.inventory()
        except StoreUnavailable:
            healthy, usage = False, None
        return Answer(
            {
                "version": __version__,
                "mode": self._mode,
                "db_healthy": healthy,
                "usage_period": self._gauges.counters.period,
                "backends": self._list(usage, held),
                "processes": list(self._processes()),
            }
        )

    def _list(self, usage: Mapping[str, Usage] | None, held: Mapping[str, Inventory]) -> list[dict[str, Any]]:
        listed = [
            {
                "name": backend.name,
                "configured": True,
                **_held(backend.name, usage, held),
                **self._of_this_month(backend.name),
                "breaker": self._gauges.breaker(backend.name),
                "traits": _traits(backend.traits),
                **self._owned(backend.name),
            }
            for backend in self._backends()
        ]
        names = {entry["name"] for entry in listed}
        for left_out in sorted((usage or {}).keys() - names):
            # Without bytes it is only a name that the ledger remembers.
            if usage is not None and usage[left_out].taken:
                listed.append({"name": left_out, "configured": False, **_held(left_out, usage, held)})
        return listed

    def _owned(self, backend: str) -> dict[str, str]:
        verdict = self._verdict_of(backend)
        return {"standing": verdict.standing.value, "standing_reason": str(verdict)}

    def _of_this_month(self, backend: str) -> dict[str, int]:
        used = self._gauges.counters.used(backend)
        return {
            "api_requests": used.api_requests,
            "egress_bytes": used.egress_bytes,
            "ingress_bytes": used.ingress_bytes,
        }


def _held(
    name: str, usage: Mapping[str, Usage] | None, held: Mapping[str, Inventory]
) -> dict[str, int | None]:
    """Return what the ledger has counted; None stands for not knowing, a limit of 0 for none."""
    if usage is None:
        members = (
            "bytes_used",
            "bytes_limit",
            "orphan_bytes",
            "reserved_bytes",
            "object_count",
            "upload_count",
        )
        return dict.fromkeys(members)
    known, inventory = usage.get(name, Usage(name)), held.get(name, Inventory())
    return {
        "bytes_used": known.live,
        "bytes_limit": known.limit or 0,
        "orphan_bytes": known.orphan,
        "reserved_bytes": known.reserved,
        "object_count": inventory.objects,
        "upload_count": inventory.uploads,
    }


def _traits(traits: Traits | None) -> dict[str, Any] | None:
    if traits is None:
        return None
    return {
        "exclusive": sorted(traits.exclusive),
        "exact_names": traits.exact_names,
        "md5_etags": traits.md5_etags,
    }
