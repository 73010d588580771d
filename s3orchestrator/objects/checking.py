"""Looking at the backends themselves: is what the ledger says there, and nothing else?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.domain.reconciling import Seen, compare, side_by_side
from s3orchestrator.domain.records import Blob, BlobState, Finding
from s3orchestrator.errors import BackendError, BackendRefused, NoSuchBlob
from s3orchestrator.interfaces import IBackend, IBlobs, IUploads, ListedUpload
from s3orchestrator.objects.comparing import PAGE, objects_on, rows_of


def _nobody(backend: str, compared: int) -> None:
    """Hear nothing."""


@define(eq=False)
class BackendChecker:
    """
    Compares rows with a backend, and a backend with rows, in one pass over both.

    `tell` hears, now and then, on which backend we are and how many names have been compared on all.
    """

    _blobs: IBlobs
    _uploads: IUploads
    _clock: IReactorTime
    _tell: Callable[[str, int], object] = _nobody
    _compared: int = field(default=0, init=False)

    async def check(self, backend: IBackend) -> AsyncIterator[Finding]:
        """
        Give what is wrong; a backend that does not answer is a finding too, and ends the pass.

        Rows and objects are not listed at the same moment. While clients are served, what is in one
        list only may just have been written or deleted, so that it is looked at once more.
        """
        self._tell(backend.name, self._compared)
        rows = rows_of(self._blobs, backend.name, self._breathe)
        held = (Seen(listed.name, listed.size, listed.etag) async for listed in objects_on(backend))
        try:
            async for row, seen in side_by_side(rows, held):
                self._compared += 1
                if self._compared % PAGE == 0:
                    self._tell(backend.name, self._compared)
                found = compare(row, seen, backend.name)
                if found is not None:
                    found = await self._look_again(backend, _name_of(row, seen), found)
                if found is not None:
                    yield found
            self._tell(backend.name, self._compared)
            async for found in self._check_uploads(backend):
                yield found
        except BackendError as error:
            yield Finding("unreachable", backend.name, f"could not be compared: {error}")

    async def _look_again(self, backend: IBackend, name: str, found: Finding) -> Finding | None:
        """Return what is wrong with a name now: nothing if its row changes while we look."""
        await self._breathe()
        row = await self._blobs.by_name(backend.name, name)
        now: Finding | None = found
        try:
            held = await backend.head(name)
            now = compare(row, Seen(name, held.size, held.etag), backend.name)
        except NoSuchBlob:
            now = None if row is None else compare(row, None, backend.name)
        except BackendRefused:
            # A stranger's may be listed and not be ours to ask about, as with keys of their own.
            if row is not None:
                raise
        return now if await self._blobs.by_name(backend.name, name) == row else None

    async def delete_stray(self, backend: IBackend, finding: Finding) -> None:
        """Delete what `check` reported as a stray, if there still is no row for it."""
        name = finding.subject.removeprefix(f"{backend.name}: ")
        if await self._blobs.by_name(backend.name, name) is None:
            await backend.delete(name)

    async def delete_stray_upload(self, backend: IBackend, finding: Finding) -> None:
        """Abort what `check` reported as a stray upload."""
        name, _, upload_id = finding.subject.removeprefix(f"{backend.name}: ").rpartition("?uploadId=")
        await backend.abort_upload(name, upload_id)

    async def _check_uploads(self, backend: IBackend) -> AsyncIterator[Finding]:
        for upload in await backend.list_uploads():
            await self._breathe()
            if await self._is_expected(backend, upload):
                continue
            # It may have ended meanwhile, and with it what was known of it.
            still = {(listed.name, listed.upload_id) for listed in await backend.list_uploads(upload.name)}
            if (upload.name, upload.upload_id) in still and not await self._is_expected(backend, upload):
                yield Finding(
                    "stray-upload",
                    f"{backend.name}: {upload.name}?uploadId={upload.upload_id}",
                    "an unfinished upload that the ledger does not know",
                )

    async def _is_expected(self, backend: IBackend, upload: ListedUpload) -> bool:
        blob = await self._blobs.by_name(backend.name, upload.name)
        if blob is None or blob.state is BlobState.LIVE:
            return False
        known = await self._uploads.of_blob(blob)
        # A create whose answer was lost leaves an upload whose id nobody knows, under a name that rests.
        return known is None or known.backend_upload in (None, upload.upload_id)

    async def _breathe(self) -> None:
        """Let the reactor have a turn: a local ledger answers without one."""
        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        await turn


def _name_of(row: Blob | None, seen: Seen | None) -> str:
    named = row or seen
    assert named is not None
    return named.name
