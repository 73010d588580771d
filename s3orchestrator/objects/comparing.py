"""The two sides of a comparison, ascending by name: what the ledger has on a backend, and what that holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from s3orchestrator.domain.owning import MARKER
from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import IBackend, IBlobs, ListedObject

PAGE = 1000
# A directory is read whole for each page; services that give fewer at a time do so.
LISTED_AT_ONCE = 10_000


async def _at_once() -> None:
    """Let nobody else have a turn."""


async def rows_of(
    blobs: IBlobs, backend: str, pause: Callable[[], Awaitable[None]] = _at_once
) -> AsyncIterator[Blob]:
    """Give all rows of a backend, in any state; `pause` is awaited between pages."""
    after = ""
    while True:
        page = await blobs.names(backend, after, PAGE)
        for blob in page:
            yield blob
        if len(page) < PAGE:
            return
        await pause()
        after = page[-1].name


async def objects_on(backend: IBackend) -> AsyncIterator[ListedObject]:
    """Give all that a backend holds, but for the marker, which says whose it is and is nobody's object."""
    after = ""
    while page := await backend.list_objects("", after, LISTED_AT_ONCE):
        for listed in page:
            if listed.name != MARKER:
                yield listed
        after = page[-1].name
