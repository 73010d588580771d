"""
Names that may not be used yet (L8): resting, looked at once more where unclear, forgotten.
"""

from __future__ import annotations

from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import drop, move
from s3orchestrator.store.marking import NOT_BEHIND
from s3orchestrator.store.rows import BLOB, blob_of

REFUSE = f"""
    UPDATE blobs SET state = 'resting', unclear = :unclear, owner = NULL, due_ms = :due_ms
     WHERE id = :id AND state = 'pending'
    RETURNING {BLOB}
"""
REST = """
    UPDATE blobs SET state = 'resting', unclear = :unclear, owner = NULL, due_ms = :due_ms
     WHERE id = :id AND state = 'doomed' AND owner = :owner
"""
FORGET = """
    DELETE FROM blobs WHERE id = :id AND state = 'doomed' AND owner = :owner AND NOT is_plain
"""
RESTED = f"""
    SELECT id FROM blobs
     WHERE state = 'resting' AND owner IS NULL AND unclear = FALSE AND due_ms <= :now_ms AND {NOT_BEHIND}
     ORDER BY owner, due_ms LIMIT :limit $skip_locked
"""
END_CLEAR_REST = f"""
    DELETE FROM blobs WHERE id = :id AND state = 'resting' AND owner IS NULL AND unclear = FALSE
    RETURNING {BLOB}
"""
END_REST = f"""
    DELETE FROM blobs WHERE id = :id AND state = 'resting' AND owner = :owner
    RETURNING {BLOB}
"""
REST_AGAIN = """
    UPDATE blobs SET owner = NULL, due_ms = :due_ms
     WHERE id = :id AND state = 'resting' AND owner = :owner
"""

DELETED_BUCKETS = "SELECT id FROM buckets WHERE deleted_ms IS NOT NULL"
HELD_BY_BUCKET = "SELECT coalesce(sum(held), 0) FROM byte_counts WHERE bucket_id = :bucket_id"
FORGET_BUCKET = "DELETE FROM buckets WHERE id = :bucket_id AND deleted_ms IS NOT NULL"
FORGET_COUNTS = "DELETE FROM byte_counts WHERE bucket_id = :bucket_id"
FORGET_GUARD = "DELETE FROM bucket_guards WHERE bucket_id = :bucket_id"


async def refuse(tx: ITransaction, tally: Tally, blob_id: int, due_ms: int, *, unclear: bool) -> Blob | None:
    """pending -> resting, with nothing to delete; None if it is not pending any more."""
    row = await tx.one(REFUSE, id=blob_id, unclear=unclear, due_ms=due_ms)
    if row is None:
        return None
    blob = blob_of(row)
    move(tally, blob, Kind.RESERVED, _kind_of(blob))
    return blob


async def forget(
    tx: ITransaction, tally: Tally, blob: Blob, owner: int, due_ms: int, *, unclear: bool
) -> None:
    """doomed -> resting if the name is plain or unclear, else -> nothing; only what `owner` claimed."""
    if blob.plain or unclear:
        if await tx.run(REST, id=blob.id, owner=owner, unclear=unclear, due_ms=due_ms):
            move(tally, blob, Kind.ORPHAN, Kind.ORPHAN if unclear else Kind.NOTHING)
    elif await tx.run(FORGET, id=blob.id, owner=owner):
        await drop(tx, tally, blob, Kind.ORPHAN)


async def end_rests(tx: ITransaction, now_ms: int, limit: int) -> int:
    """Remove clear names whose rest is over, and deleted buckets that hold nothing any more."""
    tally = Tally()
    rested = sorted(row[0] for row in await tx.all(RESTED, now_ms=now_ms, limit=limit))
    for blob_id in rested:
        row = await tx.one(END_CLEAR_REST, id=blob_id)
        if row is not None:
            await drop(tx, tally, blob_of(row), Kind.NOTHING)
    await tally.write(tx)
    await _forget_deleted_buckets(tx)
    return len(rested)


async def end_rest(tx: ITransaction, blob_id: int, owner: int) -> None:
    """Remove one name that was looked at."""
    row = await tx.one(END_REST, id=blob_id, owner=owner)
    if row is not None:
        tally, blob = Tally(), blob_of(row)
        await drop(tx, tally, blob, _kind_of(blob))
        await tally.write(tx)


def _kind_of(blob: Blob) -> Kind:
    return Kind.ORPHAN if blob.unclear else Kind.NOTHING


async def _forget_deleted_buckets(tx: ITransaction) -> None:
    for bucket in await tx.all(DELETED_BUCKETS):
        held = await tx.one(HELD_BY_BUCKET, bucket_id=bucket[0])
        if held is not None and held[0] == 0:
            for statement in (FORGET_BUCKET, FORGET_COUNTS, FORGET_GUARD):
                await tx.run(statement, bucket_id=bucket[0])
