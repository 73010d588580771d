"""
Taking in what backends hold and a restored ledger does not know (L9).

An object that bears our stamp was written by this ledger, in the time that was lost. It becomes its
key's current version if it is newer than what the ledger has; otherwise it is set aside, for the
operator to decide. Nothing that the ledger did not know is ever left to be deleted by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from zope.interface import implementer

from s3orchestrator.domain.records import Blob, BlobState, Bucket
from s3orchestrator.errors import NoSuchBucket
from s3orchestrator.interfaces import IRestoring, ITransaction, Outcome, Sighted
from s3orchestrator.store.committing import LOCK_KEY, Commit, commit
from s3orchestrator.store.counting import HOLD_BUCKET, Kind, Tally
from s3orchestrator.store.dooming import Claim, drop, end_upload
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.rows import BLOB, blob_of

REASON = "restored"
# What was being written when the backup was made: nobody knows any more whether it was acknowledged.
_PERHAPS_ACKNOWLEDGED = frozenset({"left_at_start", "owner_gone", "commit_unclear"})

BY_NAME = f"SELECT {BLOB} FROM blobs WHERE backend = :backend AND name = :name"
IS_SERVED = "SELECT 1 FROM buckets WHERE id = :bucket_id AND deleted_ms IS NULL"
LATEST = """
    SELECT b.id, b.created_ms, b.reason FROM versions v JOIN blobs b ON b.version = v.id
     WHERE v.bucket_id = :bucket_id AND v.key = :key AND v.is_latest
"""
SUSPECTS = f"""
    SELECT {BLOB} FROM blobs
     WHERE suspect AND state = 'live' AND backend = :backend AND id > :after ORDER BY id LIMIT :limit
"""
IS_GIVEN = "SELECT 1 FROM blobs WHERE id = :id"
REMOVE = "DELETE FROM blobs WHERE id = :id"

_COLUMNS = """
    backend, name, state, size, created_ms, bucket_id, key, etag, backend_version, is_plain, multipart,
    reason, unclear, due_ms, doomed_ms
"""
_VALUES = """
    :backend, :name, :state, :size, :created_ms, :bucket_id, :key, :etag, :backend_version, :is_plain,
    :multipart, :reason, TRUE, :due_ms, :due_ms
"""
INSERT = f"INSERT INTO blobs ({_COLUMNS}) VALUES ({_VALUES})"
INSERT_AS = f"INSERT INTO blobs (id, {_COLUMNS}) VALUES (:id, {_VALUES})"
SET_ASIDE = """
    UPDATE blobs SET state = 'dead', owner = NULL, due_ms = :now_ms WHERE id = :id AND state = 'doomed'
"""

LAST_GIVEN = "$last_id_given"
GIVE_AFTER = ("$forget_last_id", "$give_ids_after")

TAKE_OF_BACKEND = "UPDATE backend_guards SET taken = taken + :size WHERE backend = :backend"
TAKE_OF_BUCKET = "UPDATE bucket_guards SET taken = taken + :size WHERE bucket_id = :bucket_id"


@implementer(IRestoring)
@define(eq=False)
class Restoring:
    """Takes in one object after the other; nobody else works on the ledger."""

    _ledger: ILedger

    async def take_in(self, bucket: Bucket, sighted: Sighted) -> Outcome:
        async def work(tx: ITransaction) -> Outcome:
            return await self._take_in(tx, bucket, sighted)

        return await self._ledger.transact(work)

    async def suspects(self, backend: str, after: int, limit: int) -> Sequence[Blob]:
        rows = await self._ledger.query(SUSPECTS, backend=backend, after=after, limit=limit)
        return [blob_of(row) for row in rows]

    async def _take_in(self, tx: ITransaction, bucket: Bucket, sighted: Sighted) -> Outcome:
        await tx.soon(HOLD_BUCKET, bucket_id=bucket.id)
        await tx.soon(LOCK_KEY, bucket_id=bucket.id, key=sighted.key)
        if await tx.one(IS_SERVED, bucket_id=bucket.id) is None:
            raise NoSuchBucket(bucket.name)
        row = await tx.one(BY_NAME, backend=sighted.backend, name=sighted.name)
        if row is not None:
            held = blob_of(row)
            if (held.created_ms, held.id) == sighted.age:
                if not _is_perhaps_acknowledged(held):
                    return Outcome.KNOWN
            elif (held.created_ms, held.id) > sighted.age:
                return Outcome.OLDER
            await self._let_go(tx, held)
        latest = await tx.all(LATEST, bucket_id=bucket.id, key=sighted.key)
        if any((of["created_ms"], of["id"]) > sighted.age for of in latest):
            await self._insert(tx, bucket, sighted, BlobState.DEAD)
            return Outcome.SET_ASIDE
        blob = await self._insert(tx, bucket, sighted, BlobState.PENDING)
        await self._commit(tx, bucket, blob, sighted)
        for of in latest:
            if of["reason"] == REASON:  # the ledger did not know it before, either
                await tx.run(SET_ASIDE, id=of["id"], now_ms=self._ledger.now_ms())
        return Outcome.TAKEN_IN

    async def _let_go(self, tx: ITransaction, held: Blob) -> None:
        """Remove a row whose name holds something newer: its own bytes are no more."""
        tally = Tally()
        await end_upload(tx, held, self._ledger.now_ms())
        await tx.run(REMOVE, id=held.id)
        await drop(tx, tally, held, _kind_of(held))
        await tally.write(tx)

    async def _insert(self, tx: ITransaction, bucket: Bucket, sighted: Sighted, state: BlobState) -> Blob:
        """Insert a row, under the id of the stamp unless the ledger has given that to another blob since."""
        now_ms, size = self._ledger.now_ms(), sighted.version.size
        values = {
            "backend": sighted.backend,
            "name": sighted.name,
            "state": state,
            "size": size,
            "created_ms": sighted.created_ms,
            "bucket_id": bucket.id,
            "key": sighted.key,
            "etag": sighted.stored.etag,
            "backend_version": sighted.stored.version_id,
            "is_plain": sighted.is_plain,
            "multipart": sighted.multipart,
            "reason": REASON,
            "due_ms": now_ms,
        }
        if await tx.one(IS_GIVEN, id=sighted.blob_id):
            blob_id = await tx.insert(INSERT, **values)
        else:
            blob_id = sighted.blob_id
            await tx.run(INSERT_AS, id=blob_id, **values)
            await _give_ids_after(tx, blob_id)
        tally = Tally()
        kind = Kind.ORPHAN if state is BlobState.DEAD else Kind.RESERVED
        tally.move(sighted.backend, bucket.id, Kind.ABSENT, 0, kind, size)
        # It is there, whatever the limits say: they hold again once there is room.
        await tx.run(TAKE_OF_BACKEND, backend=sighted.backend, size=size)
        await tx.run(TAKE_OF_BUCKET, bucket_id=bucket.id, size=size)
        await tally.write(tx)
        return Blob(
            id=blob_id,
            backend=sighted.backend,
            name=sighted.name,
            state=state,
            size=size,
            created_ms=sighted.created_ms,
            bucket_id=bucket.id,
            key=sighted.key,
            plain=sighted.is_plain,
            multipart=sighted.multipart,
        )

    async def _commit(self, tx: ITransaction, bucket: Bucket, blob: Blob, sighted: Sighted) -> None:
        tally = Tally()
        # When clients last modified it, and not when it was found again.
        claim = Claim(None, 0, max(sighted.modified_ms, sighted.created_ms), REASON)
        await commit(tx, tally, Commit(bucket, blob, sighted.stored, sighted.version), claim)
        await tally.write(tx)


def _is_perhaps_acknowledged(held: Blob) -> bool:
    if held.state is not BlobState.DOOMED:
        return held.state is BlobState.PENDING
    # An object of an upload is there only if somebody completed that.
    return not held.was_live and (held.multipart or held.reason in _PERHAPS_ACKNOWLEDGED)


def _kind_of(held: Blob) -> Kind:
    if held.state is BlobState.RESTING:
        return Kind.ORPHAN if held.unclear else Kind.NOTHING
    kinds = {BlobState.PENDING: Kind.RESERVED, BlobState.LIVE: Kind.LIVE}
    return kinds.get(held.state, Kind.ORPHAN)


async def _give_ids_after(tx: ITransaction, blob_id: int) -> None:
    given = await tx.one(LAST_GIVEN, table="blobs")
    if given is None or given[0] is None or given[0] < blob_id:
        for statement in GIVE_AFTER:
            await tx.run(statement, table="blobs", last=blob_id)
