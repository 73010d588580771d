"""Writes whose process is gone: what it had begun to store is doomed."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from prometheus_client import Counter

from s3orchestrator.interfaces import IBlobs
from s3orchestrator.objects import deletions
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.logging import make_logger

BATCH = 100
MAX_BATCHES = 100  # per run; what is left comes with the next

RESOLVED = Counter(
    "s3o_pending_intents_resolved_total",
    "Writes that somebody left behind; all of them are dropped, since no client was told of them.",
    ["status"],
)
RESOLVED.labels("dropped")


def note_dropped(number: int, reason: str) -> None:
    """Tell of writes that were doomed, and wait in the cleanup queue now."""
    RESOLVED.labels("dropped").inc(number)
    deletions.ENQUEUED.labels(reason).inc(number)
    audit("pending_intents.dropped", dropped=number, reason=reason)


@define(eq=False)
class PendingReaper:
    """
    Dooms pending blobs that nobody will finish, once they are `min_age()` seconds old.

    Nobody's are those that were handed back, and those whose owner's lease has lapsed. Leases of
    others are judged by the clock: one that is far off must not (`TimelyLocks`).
    """

    log = make_logger()
    _blobs: IBlobs
    _min_age: Callable[[], float]

    async def run_once(self) -> None:
        """Doom what is due; cleaning up takes it from there."""
        for _ in range(MAX_BATCHES):
            doomed = await self._blobs.reap(BATCH, int(self._min_age() * 1000))
            if doomed:
                note_dropped(doomed, "owner_gone")
                self.log.info("{doomed} abandoned writes are being removed", doomed=doomed)
            if doomed < BATCH:
                return
