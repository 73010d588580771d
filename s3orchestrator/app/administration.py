"""The admin API over a core and its services."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from s3orchestrator.app.background import Background
from s3orchestrator.app.core import Core
from s3orchestrator.app.examining import Examination
from s3orchestrator.domain.jobs import Job
from s3orchestrator.services.jobs import Jobs
from s3orchestrator.store.browse import Browse
from s3orchestrator.telemetry.logging import RING
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.cleanup import CleanupQueue
from s3orchestrator.web.admin.ledger import Checks, UsageFlush
from s3orchestrator.web.admin.locations import Locations
from s3orchestrator.web.admin.logs import LogLevel, Logs
from s3orchestrator.web.admin.reloads import ReloadStatus
from s3orchestrator.web.admin.resource import AdminResource
from s3orchestrator.web.admin.routes import admin_routes
from s3orchestrator.web.admin.status import Gauges, Status
from s3orchestrator.web.admin.workers import Workers

FSCK = "fsck"


@define(eq=False)
class Administration:
    """Answers operators, and does what takes long for them; `stop` it before the core is closed."""

    _core: Core
    _background: Background
    _jobs: Jobs = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._jobs = Jobs(self._core.reactor)

    def resource(self) -> Resource | None:
        """Return what answers below `/admin/api/`, None where no token is configured."""
        core = self._core
        token = core.config.ui.api_token
        if not token:
            return None
        gauges = Gauges(core.counters, lambda: core.guards.breakers)
        browse, blobs = Browse(core.ledger.database), core.ledger.blobs
        routes = admin_routes(
            Status(core.config.mode, core.backends.all, blobs, core.ledger.usage, gauges),
            Workers(self._background.reports, self._trigger, core.reactor),
            Locations(browse),
            CleanupQueue(browse, blobs),
            Checks(self._check, lambda: self._jobs.latest(FSCK), self._jobs.find),
            UsageFlush(core.usage_flush.run_once),
            LogLevel(),
            Logs(RING),
            ReloadStatus(core.in_force),
        )
        return AdminResource(routes, Access.of(token, core.reactor), core.reactor)

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._jobs.stop()

    def _trigger(self, name: str) -> Deferred[None]:
        return self._background[name].trigger()

    def _check(self, deep: bool, repair: bool) -> Job:
        return self._jobs.begin(FSCK, lambda tell: Examination(self._core, deep, repair, tell).run())
