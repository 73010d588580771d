"""
Deleting later what could not be deleted at once.

The cleaner deletes what a request has doomed while the request is served; here is what was put off,
and what was under way when a process died.
"""

from __future__ import annotations

from attrs import define

from s3orchestrator.interfaces import IBlobs
from s3orchestrator.objects.cleaning import Cleaner

BATCH = 100
MAX_BATCHES = 100  # per run; what is left comes with the next


@define(eq=False)
class Cleanup:
    """Hands doomed blobs that are due to the cleaner, as many as it has room for."""

    _blobs: IBlobs
    _cleaner: Cleaner

    async def run_once(self) -> None:
        """Claim what is due; a backend that has enough to do already gets nothing more."""
        for _ in range(MAX_BATCHES):
            limit = min(BATCH, self._cleaner.room())
            if not limit:
                return
            blobs = await self._blobs.claim_doomed(limit, busy=self._cleaner.busy())
            self._cleaner.clean(blobs, queued=True)
            if len(blobs) < limit:
                return
