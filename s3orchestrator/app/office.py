"""What is answered beside S3: the admin API and the metrics, here or by the process that started this one."""

from __future__ import annotations

from typing import Protocol

from attrs import Factory, define, field
from twisted.web.resource import Resource

from s3orchestrator.app.administration import Administration
from s3orchestrator.app.background import Background
from s3orchestrator.app.colleagues import Alone, IColleagues
from s3orchestrator.app.core import Core
from s3orchestrator.app.monitoring import Monitoring
from s3orchestrator.web.admin.api import AdminApi
from s3orchestrator.web.admin.resource import AdminResource
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.metrics import Pages


class IOffice(Protocol):
    """What stands beside the buckets, at the listeners that clients use; and what else there is of it."""

    @property
    def admin(self) -> Resource | None:
        """What answers below `/admin/api/`, if anybody does."""

    @property
    def metrics(self) -> tuple[bytes, Resource] | None:
        """Path and page, if there is one for those who ask here."""

    def open(self, inherited: Inherited) -> None:
        """Begin; what has a listener of its own listens. `close` also where this fails."""

    async def stop(self) -> None:
        """Break off what is under way for operators."""

    async def close(self) -> None:
        """End; the last that is closed of all that listens."""


@define(eq=False)
class Office:
    """All of it is here. `colleagues` are other processes that it speaks for."""

    _core: Core
    _background: Background
    _health: Health
    _colleagues: IColleagues = Factory(Alone)
    _administration: Administration = field(init=False)
    _monitoring: Monitoring = field(init=False)
    api: AdminApi | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._administration = Administration(self._core, self._background, self._colleagues)
        self._monitoring = Monitoring(self._core, self._health, self._colleagues.families)
        self.api = self._administration.api()

    @property
    def admin(self) -> Resource | None:
        """See `IOffice`."""
        return AdminResource(self.api.answer) if self.api is not None else None

    @property
    def pages(self) -> Pages:
        """The metrics, as they are sent."""
        return self._monitoring.pages

    @property
    def metrics(self) -> tuple[bytes, Resource] | None:
        """See `IOffice`."""
        return self._monitoring.beside_buckets()

    def open(self, inherited: Inherited) -> None:
        """:raises ListenError: the address of the metrics is somebody else's, or not ours to have."""
        self._monitoring.open(inherited)

    async def stop(self) -> None:
        """See `IOffice`."""
        await self._administration.stop()

    async def close(self) -> None:
        """See `IOffice`."""
        await self._monitoring.close()
