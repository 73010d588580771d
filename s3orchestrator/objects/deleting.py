"""Deleting one key or a thousand: the ledger decides, the backends follow in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define

from s3orchestrator.concurrency import shield
from s3orchestrator.domain.records import Bucket, Removed
from s3orchestrator.interfaces import IVersions
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.locations import Forget, forget_nothing
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.storage import Record

Entry = tuple[str, str | None, WriteCondition | None]

# Of one line of the audit trail: journald cuts lines at 48 KiB, and a byte may take six in JSON.
_MOST_KEY_BYTES = 7000


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
        with Record("DeleteObject", bucket=bucket.name, key=key) as record:
            try:
                removed = await self._versions.remove(bucket, key, version_id, condition)
            finally:
                self._forget(bucket.id, key)
            record.tell(copies_deleted=len(removed.doomed))
        self._cleaner.clean(removed.doomed)
        return removed

    async def delete_many(self, bucket: Bucket, entries: Sequence[Entry]) -> Sequence[Removed]:
        """Remove up to a thousand; what was refused carries its `error`, in the order of `entries`."""
        return await shield(self._delete_many(bucket, entries))

    async def _delete_many(self, bucket: Bucket, entries: Sequence[Entry]) -> Sequence[Removed]:
        with Record("DeleteObjects", bucket=bucket.name, total_keys=len(entries)) as record:
            try:
                outcome = await self._versions.remove_many(bucket, entries)
            finally:
                for key, _, _ in entries:
                    self._forget(bucket.id, key)
            deleted = [removed.key for removed in outcome if removed.error is None]
            record.tell(deleted=len(deleted), errors=len(entries) - len(deleted))
        for keys in _in_lines(deleted):
            audit("storage.deleted_keys", bucket=bucket.name, keys=keys)
        self._cleaner.clean(blob for removed in outcome for blob in removed.doomed)
        return outcome


def _in_lines(keys: Sequence[str]) -> Iterator[list[str]]:
    """Divide keys into as many as one line may name."""
    line: list[str] = []
    taken = 0
    for key in keys:
        taken += len(key.encode("utf-8", "surrogatepass")) + 1
        if taken > _MOST_KEY_BYTES and line:
            yield line
            line, taken = [], len(key)
        line.append(key)
    if line:
        yield line
