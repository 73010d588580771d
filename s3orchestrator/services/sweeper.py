"""
What time brings to the ledger: doomed blobs that are due again, rests that end, uploads gone stale.

The cleaner deletes at once what a request has doomed; the sweep takes care of whatever was
put off, and of everything that was in progress when the process died.
"""

from __future__ import annotations

from functools import partial

from attrs import define

from s3orchestrator.concurrency import concurrently
from s3orchestrator.domain.describing import read_stamp
from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendError, NoSuchBlob
from s3orchestrator.interfaces import IBackend, IBlobs, IDatabase, IUploads
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.telemetry.logging import make_logger

BATCH = 100
MAX_BATCHES = 100  # per sweep; what is left comes with the next
AT_ONCE = 8  # names looked at; a backend that does not answer must not keep the others waiting
DAY_MS = 86_400_000  # how long a completed upload is remembered, so that a repeated Complete is answered

# Larger copies within S3 are made in parts, and probing tries uploads out: both may leave one.
COPIED_WHOLE = 5 << 30

# An upload to our name that began before we had the name is a stranger's; clocks differ a little.
CLOCK_TOLERANCE_MS = 60_000


@define(eq=False)
class Sweeper:
    """One sweep over everything that is due."""

    log = make_logger()
    _database: IDatabase
    _blobs: IBlobs
    _uploads: IUploads
    _backends: Backends
    _cleaner: Cleaner
    _ledger_id: str
    _stale_after: float

    async def run_once(self) -> None:
        """Do what is due; one backend's failure stops nothing else."""
        self._cleaner.tell_again()
        await self._expire_uploads()
        await self._retry_doomed()
        await self._end_rests()

    async def _expire_uploads(self) -> None:
        now = self._database.now_ms()
        for _ in range(MAX_BATCHES):
            doomed = await self._uploads.expire(now - int(self._stale_after * 1000), now - DAY_MS)
            self._cleaner.clean(doomed)
            if not doomed:
                return

    async def _retry_doomed(self) -> None:
        for _ in range(MAX_BATCHES):
            blobs = await self._blobs.claim_doomed(BATCH)
            self._cleaner.clean(blobs)
            if len(blobs) < BATCH:
                return

    async def _end_rests(self) -> None:
        for _ in range(MAX_BATCHES):
            if await self._blobs.end_rests(BATCH) < BATCH:
                break
        for _ in range(MAX_BATCHES):
            blobs = await self._blobs.claim_unclear_rests(BATCH)
            await concurrently(AT_ONCE, self._look_once_more, blobs)
            if len(blobs) < BATCH:
                return

    async def _look_once_more(self, blob: Blob) -> None:
        """Only a clear answer lets an unclear name go; with something found and removed it rests again."""
        tell = self._blobs.rest_again
        try:
            if await self._remove_leftovers(self._backends[blob.backend], blob):
                self.log.warn(
                    "{backend}: {name} had come back, and was removed", backend=blob.backend, name=blob.name
                )
            else:
                tell = self._blobs.rested
        except BackendError as error:
            self.log.info("{name} rests on: {error}", name=blob.name, error=str(error))
        finally:
            self._cleaner.insist(partial(tell, blob))

    async def _remove_leftovers(self, backend: IBackend, blob: Blob) -> bool:
        """Remove what is there of a blob; tell whether there was anything."""
        found = await self._remove_object(backend, blob)
        if not blob.plain:
            # Nobody else can have had such a name: all its versions are ours, and so are their markers.
            for version_id, _ in await backend.list_versions(blob.name):
                await backend.delete(blob.name, version_id)
                found = True
        if blob.multipart or blob.size > COPIED_WHOLE or blob.bucket_id is None:
            for upload in await backend.list_uploads(blob.name):
                if upload.name == blob.name and upload.initiated_ms >= blob.created_ms - CLOCK_TOLERANCE_MS:
                    await backend.abort_upload(upload.name, upload.upload_id)
                    found = True
        return found

    async def _remove_object(self, backend: IBackend, blob: Blob) -> bool:
        try:
            found = await backend.head(blob.name)
        except NoSuchBlob:
            return False
        stamp = read_stamp(found.meta)
        if stamp is None or not stamp.is_of(blob, self._ledger_id):
            return False  # not ours: a stranger has the name now
        await backend.delete(blob.name, found.version_id)
        return True
