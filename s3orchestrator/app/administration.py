"""The admin API over a core and its services."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred

from s3orchestrator.app.background import Background
from s3orchestrator.app.colleagues import IColleagues
from s3orchestrator.app.core import Core
from s3orchestrator.app.examining import Examination
from s3orchestrator.domain.jobs import Job
from s3orchestrator.services.jobs import Jobs
from s3orchestrator.store.browse import Browse
from s3orchestrator.telemetry.logging import RING
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.api import AdminApi
from s3orchestrator.web.admin.cleanup import CleanupQueue
from s3orchestrator.web.admin.ledger import Checks, UsageFlush
from s3orchestrator.web.admin.locations import Locations
from s3orchestrator.web.admin.logs import LogLevel, Logs
from s3orchestrator.web.admin.reloads import ReloadStatus
from s3orchestrator.web.admin.routes import admin_routes
from s3orchestrator.web.admin.status import Gauges, Status
from s3orchestrator.web.admin.workers import Workers

FSCK = "fsck"


@define(eq=False)
class Administration:
    """Answers operators, and does what takes long for them; `stop` it before the core is closed."""

    _core: Core
    _background: Background
    _colleagues: IColleagues
    _jobs: Jobs = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._jobs = Jobs(self._core.reactor)

    def api(self) -> AdminApi | None:
        """Return who answers below `/admin/api/`, None where no token is configured."""
        core, colleagues = self._core, self._colleagues
        token = core.config.ui.api_token
        if not token:
            return None
        gauges = Gauges(core.counters, lambda: core.guards.breakers, colleagues.breakers)
        browse, blobs = Browse(core.ledger.database), core.ledger.blobs
        routes = admin_routes(
            Status(
                core.config.mode,
                core.backends.all,
                blobs,
                core.ledger.usage,
                gauges,
                lambda name: core.owners[name].verdict,
                colleagues.shown,
            ),
            Workers(self._background.reports, self._trigger, core.reactor, colleagues.shown),
            Locations(browse),
            CleanupQueue(browse, blobs),
            Checks(self._check, lambda: self._jobs.latest(FSCK), self._jobs.find),
            UsageFlush(self._flush_usage),
            LogLevel(colleagues.set_level),
            Logs(RING, colleagues.bring_lines),
            ReloadStatus(core.in_force),
        )
        return AdminApi(routes, Access.of(token, core.reactor), core.reactor)

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._jobs.stop()

    async def _flush_usage(self) -> None:
        # Theirs first: what is learnt of all afterwards has it.
        await self._colleagues.flush_usage()
        await self._core.usage_flush.run_once()

    def _trigger(self, name: str) -> Deferred[None]:
        return self._background[name].trigger()

    def _check(self, deep: bool, repair: bool) -> Job:
        return self._jobs.begin(FSCK, lambda tell: Examination(self._core, deep, repair, tell).run())
