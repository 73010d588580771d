"""Other processes of the same daemon, as far as operators and Prometheus are concerned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import REGISTRY

from s3orchestrator.telemetry.exposition import Families, families_of
from s3orchestrator.telemetry.logging import set_level


class IColleagues(Protocol):
    """Those who serve clients while this process is asked about them."""

    def shown(self) -> Sequence[Mapping[str, Any]]:
        """Each of them as the admin API shows it; nothing where this process serves by itself."""

    def breakers(self, backend: str) -> Sequence[str]:
        """How they stand with a backend."""

    def set_level(self, level: str) -> None:
        """Log so much from now on, here and there. :raises ValueError: there is no such level."""

    async def bring_lines(self) -> None:
        """Have what they have logged in this process's ring."""

    async def flush_usage(self) -> None:
        """Have them record what they have counted. :raises StoreUnavailable: they could not."""

    async def families(self) -> Families:
        """Return the metrics of all processes together."""


class Alone:
    """There are none."""

    def shown(self) -> Sequence[Mapping[str, Any]]:
        """See `IColleagues`."""
        return ()

    def breakers(self, backend: str) -> Sequence[str]:
        """See `IColleagues`."""
        return ()

    def set_level(self, level: str) -> None:
        """See `IColleagues`."""
        set_level(level)

    async def bring_lines(self) -> None:
        """See `IColleagues`."""

    async def flush_usage(self) -> None:
        """See `IColleagues`."""

    async def families(self) -> Families:
        """See `IColleagues`."""
        return families_of(REGISTRY)
