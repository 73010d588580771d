"""
Names that rest (L8): forgotten when their quiet period is over, looked at once more where unclear.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, field

from s3orchestrator.concurrency import concurrently
from s3orchestrator.domain.records import Blob
from s3orchestrator.domain.stamping import read_stamp
from s3orchestrator.errors import BackendError, BackendRefused, BackendUnavailable, NoSuchBlob
from s3orchestrator.interfaces import IBackend, IBlobs, ListedUpload
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.telemetry.logging import make_logger

BATCH = 100
MAX_BATCHES = 100  # per run; what is left comes with the next
AT_ONCE = 4  # names looked at on one backend

# Larger copies within S3 are made in parts, and probing tries uploads out: both may leave one.
COPIED_WHOLE = 5 << 30

# An upload to our name that began before we had the name is a stranger's. S3's own limit for clocks.
CLOCK_TOLERANCE_MS = 15 * 60_000

# What services without versions answer when asked for them, or with them but without the permission.
_DOES_NOT_LIST = frozenset({400, 403, 405, 501})


@define(eq=False)
class Rests:
    """
    Ends the rests that are over.

    Unclear names are looked at in the background: that takes as long as their backends like.
    """

    log = make_logger()
    _blobs: IBlobs
    _backends: Backends
    _cleaner: Cleaner
    _ledger_id: str
    _is_looking: bool = field(default=False, init=False)
    _without_versions: set[str] = field(factory=set, init=False)

    async def run_once(self) -> None:
        """Forget clear names that are due, and have a look at the unclear ones."""
        for _ in range(MAX_BATCHES):
            if await self._blobs.end_rests(BATCH) < BATCH:
                break
        if not self._is_looking:
            self._is_looking = True
            self._cleaner.background(self._look_at_rests())

    async def _look_at_rests(self) -> None:
        """After its first silence a backend is left alone until the next run."""
        silent: set[str] = set()
        try:
            for _ in range(MAX_BATCHES):
                blobs = await self._blobs.claim_unclear_rests(BATCH)
                by_backend: dict[str, list[Blob]] = {}
                for blob in blobs:
                    by_backend.setdefault(blob.backend, []).append(blob)
                await concurrently(
                    len(by_backend), partial(self._look_on_backend, silent=silent), by_backend.values()
                )
                if len(blobs) < BATCH:
                    return
        finally:
            self._is_looking = False

    async def _look_on_backend(self, blobs: Sequence[Blob], *, silent: set[str]) -> None:
        await concurrently(AT_ONCE, partial(self._look_once_more, silent=silent), blobs)

    async def _look_once_more(self, blob: Blob, *, silent: set[str]) -> None:
        """Only a clear answer lets an unclear name go; with something found and removed it rests again."""
        tell = self._blobs.rest_again
        try:
            # That nothing is there says nothing on a backend that is not ours.
            await self._backends.ownership.before_removing(blob.backend)
            if blob.backend in silent:
                self.log.debug("{name} rests on: {backend} is away", name=blob.name, backend=blob.backend)
            elif await self._remove_leftovers(self._backends[blob.backend], blob):
                self.log.warn(
                    "{backend}: {name} had come back, and was removed", backend=blob.backend, name=blob.name
                )
            else:
                tell = self._blobs.rested
        except BackendError as error:
            if isinstance(error, BackendUnavailable):
                silent.add(blob.backend)
            self.log.info("{name} rests on: {error}", name=blob.name, error=str(error))
        finally:
            self._cleaner.insist(partial(tell, blob))

    async def _remove_leftovers(self, backend: IBackend, blob: Blob) -> bool:
        """Remove what is there of a blob; tell whether there was anything."""
        found = await self._remove_object(backend, blob)
        if not blob.plain:
            # Nobody else can have had such a name: all its versions are ours, and so are their markers.
            for version_id in await self._versions_of(backend, blob):
                await backend.delete(blob.name, version_id)
                found = True
        if blob.multipart or blob.size > COPIED_WHOLE or blob.bucket_id is None:
            for upload in await backend.list_uploads(blob.name):
                if upload.name == blob.name and _may_be_ours(upload, blob):
                    await backend.abort_upload(upload.name, upload.upload_id)
                    found = True
        return found

    async def _versions_of(self, backend: IBackend, blob: Blob) -> list[str]:
        """List the versions of a name; a backend that clearly will not tell is taken to keep none."""
        try:
            return [version_id for version_id, _ in await backend.list_versions(blob.name)]
        except BackendRefused as error:
            if error.status not in _DOES_NOT_LIST or blob.backend_version is not None:
                raise
            if backend.name not in self._without_versions:
                self._without_versions.add(backend.name)
                self.log.warn(
                    "{backend} is taken to keep no versions: {error}", backend=backend.name, error=str(error)
                )
            return []

    async def _remove_object(self, backend: IBackend, blob: Blob) -> bool:
        try:
            found = await backend.head(blob.name)
        except NoSuchBlob:
            return False
        stamp = read_stamp(found.meta)
        is_scratch = blob.bucket_id is None  # these bear no stamp; nobody else makes such names
        if not is_scratch and (stamp is None or not stamp.is_of(blob, self._ledger_id)):
            return False  # not ours: a stranger has the name now
        await backend.delete(blob.name, found.version_id)
        return True


def _may_be_ours(upload: ListedUpload, blob: Blob) -> bool:
    """Tell whether an upload to our name can have been begun by us; only plain names can be a stranger's."""
    return not blob.plain or upload.initiated_ms >= blob.created_ms - CLOCK_TOLERANCE_MS
