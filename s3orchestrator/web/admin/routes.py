"""The one table of the admin API."""

from __future__ import annotations

from s3orchestrator.web.admin.cleanup import CleanupQueue
from s3orchestrator.web.admin.ledger import Checks, UsageFlush
from s3orchestrator.web.admin.locations import Locations
from s3orchestrator.web.admin.logs import LogLevel, Logs
from s3orchestrator.web.admin.reloads import ReloadStatus
from s3orchestrator.web.admin.routing import Route
from s3orchestrator.web.admin.status import Status
from s3orchestrator.web.admin.workers import Workers


def admin_routes(
    status: Status,
    workers: Workers,
    locations: Locations,
    queue: CleanupQueue,
    checks: Checks,
    usage: UsageFlush,
    level: LogLevel,
    logs: Logs,
    reloads: ReloadStatus,
) -> tuple[Route, ...]:
    """Return who answers what."""
    return (
        Route("Status", "GET", "status", status.show),
        Route("ReloadStatus", "GET", "reload-status", reloads.show),
        Route("Workers", "GET", "workers", workers.show),
        Route("RunWorker", "POST", "workers/{name}/run", workers.run),
        Route("ObjectLocations", "GET", "object-locations", locations.show),
        Route("CleanupQueue", "GET", "cleanup-queue", queue.show),
        Route("RetryCleanups", "POST", "cleanup-queue/retry", queue.retry_all),
        Route("RetryCleanup", "POST", "cleanup-queue/{id}/retry", queue.retry),
        Route("WriteOffCleanup", "POST", "cleanup-queue/{id}/write-off", queue.write_off),
        Route("UsageFlush", "POST", "usage-flush", usage.flush),
        Route("LatestFsck", "GET", "fsck", checks.latest),
        Route("Fsck", "POST", "fsck", checks.begin),
        Route("Job", "GET", "jobs/{id}", checks.find),
        Route("LogLevel", "GET", "log-level", level.show),
        Route("SetLogLevel", "PUT", "log-level", level.change),
        Route("Logs", "GET", "logs", logs.show),
    )
