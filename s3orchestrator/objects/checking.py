"""Looking at the backends themselves: is what the ledger says there, and nothing else?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.domain.reconciling import Seen, compare, side_by_side
from s3orchestrator.domain.records import Blob, BlobState, Finding
from s3orchestrator.errors import BackendError
from s3orchestrator.interfaces import IBackend, IBlobs, IUploads

PAGE = 1000
# A directory is read whole for each page; services that give fewer at a time do so.
LISTED_AT_ONCE = 10_000


@define(eq=False)
class BackendChecker:
    """Compares rows with a backend, and a backend with rows, in one pass over both."""

    _blobs: IBlobs
    _uploads: IUploads
    _clock: IReactorTime

    async def check(self, backend: IBackend) -> AsyncIterator[Finding]:
        """Give what is wrong; a backend that does not answer is a finding too, and ends the pass."""
        try:
            async for row, seen in side_by_side(self._rows(backend.name), self._listing(backend)):
                found = compare(row, seen, backend.name)
                if found is not None:
                    yield found
            async for found in self._check_uploads(backend):
                yield found
        except BackendError as error:
            yield Finding("unreachable", backend.name, f"could not be compared: {error}")

    async def delete_stray(self, backend: IBackend, finding: Finding) -> None:
        """Delete what `check` reported as a stray, if there still is no row for it."""
        name = finding.subject.removeprefix(f"{backend.name}: ")
        if await self._blobs.by_name(backend.name, name) is None:
            await backend.delete(name)

    async def delete_stray_upload(self, backend: IBackend, finding: Finding) -> None:
        """Abort what `check` reported as a stray upload."""
        name, _, upload_id = finding.subject.removeprefix(f"{backend.name}: ").rpartition("?uploadId=")
        await backend.abort_upload(name, upload_id)

    async def _rows(self, backend: str) -> AsyncIterator[Blob]:
        after = ""
        while True:
            page: Sequence[Blob] = await self._blobs.names(backend, after, PAGE)
            for blob in page:
                yield blob
            if len(page) < PAGE:
                return
            after = page[-1].name

    async def _listing(self, backend: IBackend) -> AsyncIterator[Seen]:
        after = ""
        while True:
            page = await backend.list_objects("", after, LISTED_AT_ONCE)
            if not page:
                return
            for listed in page:
                yield Seen(listed.name, listed.size, listed.etag)
            after = page[-1].name

    async def _check_uploads(self, backend: IBackend) -> AsyncIterator[Finding]:
        for upload in await backend.list_uploads():
            await self._breathe()
            blob = await self._blobs.by_name(backend.name, upload.name)
            known = await self._uploads.of_blob(blob) if blob is not None else None
            # A create whose answer was lost leaves an upload whose id nobody knows, under a name that rests.
            expected = blob is not None and (
                blob.state is not BlobState.LIVE
                and (known is None or known.backend_upload in (None, upload.upload_id))
            )
            if not expected:
                yield Finding(
                    "stray-upload",
                    f"{backend.name}: {upload.name}?uploadId={upload.upload_id}",
                    "an unfinished upload that the ledger does not know",
                )

    async def _breathe(self) -> None:
        """Let the reactor have a turn: a local ledger answers without one."""
        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        await turn
