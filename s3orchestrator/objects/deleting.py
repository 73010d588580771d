"""Deleting one key or a thousand: the ledger decides, the backends follow in the background."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from s3orchestrator.concurrency import shield
from s3orchestrator.domain.records import Bucket, Removed
from s3orchestrator.interfaces import IVersions
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.locations import Forget, forget_nothing
from s3orchestrator.protocol.conditions import WriteCondition

Entry = tuple[str, str | None, WriteCondition | None]


@define(eq=False)
class ObjectDeleter:
    """
    Removes versions. Success does not wait for the backends: what is doomed is in the ledger.

    `forget` is told of each key that may have changed.
    """

    _versions: IVersions
    _cleaner: Cleaner
    _forget: Forget = forget_nothing

    async def delete(
        self, bucket: Bucket, key: str, version_id: str | None = None, condition: WriteCondition | None = None
    ) -> Removed:
        """
        Remove the latest (or named) version; one that is not there is no error.

        :raises PreconditionFailed: `condition` does not hold.
        """
        return await shield(self._delete(bucket, key, version_id, condition))

    async def _delete(
        self, bucket: Bucket, key: str, version_id: str | None, condition: WriteCondition | None
    ) -> Removed:
        try:
            removed = await self._versions.remove(bucket, key, version_id, condition)
        finally:
            self._forget(bucket.id, key)
        self._cleaner.clean(removed.doomed)
        return removed

    async def delete_many(self, bucket: Bucket, entries: Sequence[Entry]) -> Sequence[Removed]:
        """Remove up to a thousand; what was refused carries its `error`, in the order of `entries`."""
        return await shield(self._delete_many(bucket, entries))

    async def _delete_many(self, bucket: Bucket, entries: Sequence[Entry]) -> Sequence[Removed]:
        try:
            outcome = await self._versions.remove_many(bucket, entries)
        finally:
            for key, _, _ in entries:
                self._forget(bucket.id, key)
        self._cleaner.clean(blob for removed in outcome for blob in removed.doomed)
        return outcome
