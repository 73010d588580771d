"""What stands beside S3 in a process that serves clients: others answer, and this one passes it on."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import define, field
from twisted.web.resource import Resource

from s3orchestrator.app.core import Core
from s3orchestrator.telemetry.exposition import OPENMETRICS, Format
from s3orchestrator.telemetry.lag import ReactorLag
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.api import AdminRequest, Reply
from s3orchestrator.web.admin.relayed import Taken, passing_on
from s3orchestrator.web.admin.resource import AdminResource
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.metrics import MetricsPage, Pages
from s3orchestrator.workers.link import Link


@define(eq=False)
class Outpost:
    """See `IOffice`. What it passes on has its limits here: only short bodies, only so many pages."""

    _core: Core
    _link: Link
    _lag: ReactorLag = field(init=False)
    admin: Resource | None = field(init=False)
    metrics: tuple[bytes, Resource] | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        reactor, settings = self._core.reactor, self._core.config.telemetry.metrics
        self._lag = ReactorLag(reactor)
        self.metrics = None
        if settings.enabled and not settings.listen:
            self.metrics = settings.path.encode(), MetricsPage(Pages(self._page, reactor))
        token = self._core.config.ui.api_token
        self.admin = AdminResource(passing_on(self._ask, Access.of(token, reactor))) if token else None

    def open(self, inherited: Inherited) -> None:
        """Measure."""
        if self._core.config.telemetry.metrics.enabled:
            self._lag.start()

    async def stop(self) -> None:
        """Nothing is under way here."""

    async def close(self) -> None:
        """Measure no more."""
        self._lag.stop()

    async def _ask(self, request: AdminRequest, taken: Taken) -> Reply:
        answer: Any = await self._link.ask("admin", attrs.astuple(request), attrs.astuple(taken))
        return Reply(*answer)

    async def _page(self, form: Format) -> bytes:
        page: bytes = await self._link.ask("page", form is OPENMETRICS)
        return page
