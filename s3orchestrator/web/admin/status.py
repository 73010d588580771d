"""How the whole stands: ledger, backends, what they hold, and what was used of them this month."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from s3orchestrator import __version__
from s3orchestrator.domain.records import Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBackend, IBlobs, IBrowse, Traits
from s3orchestrator.web.admin.calls import Answer, Ask


class Used(Protocol):
    """What was used of a backend this month."""

    @property
    def api_requests(self) -> int: ...
    @property
    def egress_bytes(self) -> int: ...
    @property
    def ingress_bytes(self) -> int: ...


@frozen
class Unused:
    """Nothing was, or nobody counts."""

    api_requests: int = 0
    egress_bytes: int = 0
    ingress_bytes: int = 0


def _nothing_used(backend: str) -> Used:
    return Unused()


def _closed(backend: str) -> str:
    return "closed"


@frozen
class Gauges:
    """Whom to ask about a backend, by its name: what was used this month, and how its breaker stands."""

    used: Callable[[str], Used] = _nothing_used
    breaker: Callable[[str], str] = _closed


@define(eq=False)
class Status:
    """`GET status`."""

    _mode: str
    _backends: Callable[[], Sequence[IBackend]]
    _blobs: IBlobs
    _browse: IBrowse
    _clock: IReactorTime
    _gauges: Gauges = field(factory=Gauges)

    async def show(self, ask: Ask) -> Answer:
        """Answer also while the ledger is away: then without what only the ledger knows."""
        ask.allow_query()
        healthy = True
        usage: Mapping[str, Usage] | None = None
        objects: Mapping[str, int] = {}
        try:
            usage = {known.backend: known for known in await self._blobs.usage()}
            objects = await self._browse.objects()
        except StoreUnavailable:
            healthy, usage = False, None
        return Answer(
            {
                "version": __version__,
                "mode": self._mode,
                "db_healthy": healthy,
                "usage_period": f"{datetime.fromtimestamp(self._clock.seconds(), UTC):%Y-%m}",
                "backends": self._list(usage, objects),
            }
        )

    def _list(self, usage: Mapping[str, Usage] | None, objects: Mapping[str, int]) -> list[dict[str, Any]]:
        listed = [
            {
                "name": backend.name,
                "configured": True,
                **_held(backend.name, usage, objects),
                **self._of_this_month(backend.name),
                "breaker": self._gauges.breaker(backend.name),
                "traits": _traits(backend.traits),
            }
            for backend in self._backends()
        ]
        names = {entry["name"] for entry in listed}
        for left_out in sorted((usage or {}).keys() - names):
            # Without bytes it is only a name that the ledger remembers.
            if usage is not None and usage[left_out].taken:
                listed.append({"name": left_out, "configured": False, **_held(left_out, usage, objects)})
        return listed

    def _of_this_month(self, backend: str) -> dict[str, int]:
        used = self._gauges.used(backend)
        return {
            "api_requests": used.api_requests,
            "egress_bytes": used.egress_bytes,
            "ingress_bytes": used.ingress_bytes,
        }


def _held(name: str, usage: Mapping[str, Usage] | None, objects: Mapping[str, int]) -> dict[str, int | None]:
    """Return what the ledger has counted; None stands for not knowing, a limit of 0 for none."""
    if usage is None:
        members = ("bytes_used", "bytes_limit", "orphan_bytes", "reserved_bytes", "object_count")
        return dict.fromkeys(members)
    known = usage.get(name, Usage(name))
    return {
        "bytes_used": known.live,
        "bytes_limit": known.limit or 0,
        "orphan_bytes": known.orphan,
        "reserved_bytes": known.reserved,
        "object_count": objects.get(name, 0),
    }


def _traits(traits: Traits | None) -> dict[str, Any] | None:
    if traits is None:
        return None
    return {
        "exclusive": sorted(traits.exclusive),
        "exact_names": traits.exact_names,
        "md5_etags": traits.md5_etags,
    }
