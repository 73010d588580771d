"""Multipart uploads that nobody goes on with."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from s3orchestrator.interfaces import IDatabase, IUploads
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.telemetry.audit import audit

MAX_BATCHES = 100  # per run; what is left comes with the next
DAY_MS = 86_400_000  # how long a completed upload is remembered, so that a repeated Complete is answered


@define(eq=False)
class StaleUploads:
    """Aborts uploads without activity for `stale_after()` seconds, and forgets those completed long ago."""

    _database: IDatabase
    _uploads: IUploads
    _cleaner: Cleaner
    _stale_after: Callable[[], float]

    async def run_once(self) -> None:
        """Do so; what is aborted is deleted in the background."""
        now = self._database.now_ms()
        for _ in range(MAX_BATCHES):
            doomed = await self._uploads.expire(now - int(self._stale_after() * 1000), now - DAY_MS)
            if not doomed:
                return
            audit("storage.MultipartCleanup", cleaned=len(doomed), total_stale=len(doomed))
            self._cleaner.clean(doomed)
