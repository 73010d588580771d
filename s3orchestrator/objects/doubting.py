"""
Copies that a reader missed or found wrong, and found good again.

The mark is the ledger's, which sets it on live blobs only: of a copy that is missing because its
version has just been replaced or deleted, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from attrs import define, field

from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import IBlobs
from s3orchestrator.objects.cleaning import Cleaner


@define(eq=False)
class Doubts:
    """Tells the ledger, in the background, what reads say about copies."""

    _blobs: IBlobs
    _cleaner: Cleaner
    _being_told: set[int] = field(factory=set, init=False)

    def missed(self, blob: Blob) -> None:
        """A copy is not there, or is not what it should be."""
        if not blob.suspect:
            self._tell(blob, self._blobs.suspect)

    def seen(self, blob: Blob) -> None:
        """A copy is there, with the ETag it should have."""
        if blob.suspect:
            self._tell(blob, self._blobs.trust)

    def _tell(self, blob: Blob, mark: Callable[[Blob], Coroutine[Any, Any, None]]) -> None:
        # While the ledger is away every read of the same copy would add another.
        if blob.id not in self._being_told:
            self._being_told.add(blob.id)
            self._cleaner.insist(partial(self._until_told, blob, mark))

    async def _until_told(self, blob: Blob, mark: Callable[[Blob], Coroutine[Any, Any, None]]) -> None:
        await mark(blob)
        self._being_told.discard(blob.id)
