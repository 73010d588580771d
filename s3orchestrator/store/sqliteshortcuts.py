"""
Reserving, committing and deleting an object with as few statements as can be, where the ledger is a file.

What nearly always holds is not looked up but tried: a name or a key that nobody has is taken by the
INSERT that would fail otherwise. What is the same for a whole group, such as whether a bucket is served,
is looked up once for it. None means that something is out of the ordinary and nothing has been
changed: the statements that every database understands come next, and say what is wrong.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import implementer

from s3orchestrator.domain.records import NULL_VERSION, Blob, Bucket, Committed, Removed
from s3orchestrator.errors import Conflict
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.committing import GO_LIVE, INSERT_VERSION, Commit
from s3orchestrator.store.counting import TAKE_OF_BACKEND, count
from s3orchestrator.store.dooming import DOOM_OF_VERSION, Claim, doomed_of
from s3orchestrator.store.operations import ILedger, IShortcuts
from s3orchestrator.store.removing import NEXT_LATEST
from s3orchestrator.store.reserving import INSERT, Offer, Wanted
from s3orchestrator.store.writer import SqliteTransaction

BUCKET = """
    SELECT EXISTS (SELECT 1 FROM buckets WHERE id = :bucket_id AND deleted_ms IS NULL),
           EXISTS (SELECT 1 FROM bucket_guards WHERE bucket_id = :bucket_id)
"""
BACKEND = """
    SELECT EXISTS (SELECT 1 FROM backends WHERE name = :backend AND is_draining),
           EXISTS (SELECT 1 FROM backend_guards WHERE backend = :backend)
"""
TAKE_NAME = f"{INSERT} ON CONFLICT (backend, name) DO NOTHING"
TAKE_KEY = f"{INSERT_VERSION} ON CONFLICT DO NOTHING"
LEAVE_KEY = f"""
    DELETE FROM versions
     WHERE bucket_id = :bucket_id AND key = :key AND version_id = '{NULL_VERSION}' AND is_latest
    RETURNING id, modified_ms
"""
LEAVE_LATEST = """
    DELETE FROM versions WHERE bucket_id = :bucket_id AND key = :key AND is_latest
    RETURNING id, version_id, is_delete_marker
"""


@implementer(IShortcuts)
@frozen
class SqliteShortcuts:
    """Those of a ledger in a file, within a transaction."""

    _ledger: ILedger

    async def reserve(
        self, tx: ITransaction | None, wanted: Wanted, offer: Offer, operation: int
    ) -> Blob | None:
        """See `IShortcuts`."""
        if not isinstance(tx, SqliteTransaction):
            return None
        await tx.turn()
        is_served, bucket_limited = tx.look_up(BUCKET, bucket_id=wanted.bucket.id)
        is_draining, limited = tx.look_up(BACKEND, backend=offer.backend)
        if not is_served or bucket_limited or is_draining:
            return None
        size = wanted.size
        if limited and not tx.change(TAKE_OF_BACKEND, backend=offer.backend, size=size, room=wanted.room):
            return None
        now_ms = self._ledger.now_ms()
        name = offer.plain
        blob_id = name and self._take_name(tx, wanted, offer.backend, name, operation, now_ms, plain=True)
        if not blob_id:
            name = offer.other
            blob_id = self._take_name(tx, wanted, offer.backend, name, operation, now_ms, plain=False)
            if not blob_id:
                raise Conflict(f"{name} is taken")
        assert name is not None
        await count(tx, offer.backend, wanted.bucket.id, reserved=size, held=1)
        return wanted.pending(blob_id, offer.backend, name, now_ms, is_plain=name == offer.plain)

    def _take_name(
        self,
        tx: SqliteTransaction,
        wanted: Wanted,
        backend: str,
        name: str,
        operation: int,
        now_ms: int,
        *,
        plain: bool,
    ) -> int:
        """Return the number of a pending blob of this name, 0 if another one has the name."""
        taken = tx.change(
            TAKE_NAME,
            backend=backend,
            name=name,
            size=wanted.size,
            now_ms=now_ms,
            bucket_id=wanted.bucket.id,
            key=wanted.key,
            is_plain=plain,
            upload_id=None,
            multipart=False,
            owner=self._ledger.operations.owner,
            operation=operation,
        )
        return tx.last_id if taken else 0

    async def commit(self, tx: ITransaction | None, what: Commit, claim: Claim) -> Committed | None:
        """See `IShortcuts`; with a condition, or for an upload, more has to be looked at."""
        if not isinstance(tx, SqliteTransaction):
            return None
        blob, size = what.blob, what.new.size
        if what.condition or blob.upload_id is not None or size != blob.size:
            return None
        await tx.turn()
        bucket_id, key = what.bucket.id, blob.key
        if not tx.look_up(BUCKET, bucket_id=bucket_id)[0]:
            return None
        displaced: tuple[Blob, ...] = ()
        modified_ms, row_id = claim.now_ms, 0
        # Whoever got the plain name is nearly always the first to have the key.
        if blob.plain:
            row_id = _take_key(tx, what, modified_ms)
        if not row_id:
            left = tx.rows(LEAVE_KEY, bucket_id=bucket_id, key=key)
            if left:
                ((version, before_ms),) = left
                displaced = await _doom(tx, version, claim)
                modified_ms = max(modified_ms, before_ms + 1)
            elif blob.plain:
                return None
            row_id = _take_key(tx, what, modified_ms)
            if not row_id:
                return None
        if not tx.change(
            GO_LIVE,
            id=blob.id,
            size=size,
            etag=what.stored.etag,
            backend_version=what.stored.version_id,
            version=row_id,
            now_ms=claim.now_ms,
        ):
            raise Conflict(f"{blob.name} is not pending any more")
        await count(tx, blob.backend, bucket_id, live=size, reserved=-size, objects=1)
        return Committed(what.version(row_id, modified_ms), displaced)

    async def remove(self, tx: ITransaction | None, bucket: Bucket, key: str, claim: Claim) -> Removed | None:
        """See `IShortcuts`."""
        if not isinstance(tx, SqliteTransaction):
            return None
        await tx.turn()
        left = tx.rows(LEAVE_LATEST, bucket_id=bucket.id, key=key)
        if not left:
            return Removed(key)
        ((version, version_id, is_marker),) = left
        doomed = await _doom(tx, version, claim)
        tx.change(NEXT_LATEST, bucket_id=bucket.id, key=key)
        return Removed(key, version_id, bool(is_marker), doomed)


def _take_key(tx: SqliteTransaction, what: Commit, modified_ms: int) -> int:
    """Return the number of the version that is now the latest, 0 if another one is."""
    taken = tx.change(
        TAKE_KEY,
        bucket_id=what.bucket.id,
        key=what.blob.key,
        version_id=NULL_VERSION,
        modified_ms=modified_ms,
        **what.columns(),
    )
    return tx.last_id if taken else 0


async def _doom(tx: SqliteTransaction, version: int, claim: Claim) -> tuple[Blob, ...]:
    """See `dooming.doom_version`; what is counted is added up for the whole group anyway."""
    doomed = doomed_of(tx.rows(DOOM_OF_VERSION, version=version, **claim.columns()))
    for blob in doomed:
        await count(tx, blob.backend, blob.bucket_id, live=-blob.size, orphan=blob.size, objects=-1)
    return doomed
