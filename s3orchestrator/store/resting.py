"""
Names that may not be used yet (L8): resting, looked at once more where unclear, forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import drop, move
from s3orchestrator.store.marking import NOT_BEHIND
from s3orchestrator.store.rows import BLOB, blob_of

_AT_ONCE = 50

REFUSE = f"""
    UPDATE blobs SET state = 'resting', unclear = :unclear, owner = NULL, due_ms = :due_ms
     WHERE id = :id AND state = 'pending'
    RETURNING {BLOB}
"""
REST = f"""
    UPDATE blobs SET state = 'resting', unclear = :unclear, owner = NULL, due_ms = :due_ms
     WHERE id IN ($ids) AND state = 'doomed' AND owner = :owner
    RETURNING {BLOB}
"""
FORGET = f"""
    DELETE FROM blobs WHERE id IN ($ids) AND state = 'doomed' AND owner = :owner AND NOT is_plain
    RETURNING {BLOB}
"""
LOCK_BLOBS = "$lock_blobs"
RESTED = f"""
    SELECT id FROM blobs
     WHERE state = 'resting' AND owner IS NULL AND unclear = FALSE AND due_ms <= :now_ms AND {NOT_BEHIND}
     ORDER BY owner, due_ms LIMIT :limit $skip_locked
"""
END_CLEAR_REST = f"""
    DELETE FROM blobs WHERE id IN ($ids) AND state = 'resting' AND owner IS NULL AND unclear = FALSE
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
    tx: ITransaction, tally: Tally, blobs: Sequence[Blob], owner: int, due_ms: int, *, unclear: bool
) -> None:
    """doomed -> resting where a name is plain or `unclear`, else -> nothing; only what `owner` claimed."""
    for some in _pieces([blob.id for blob in blobs if blob.plain or unclear]):
        for row in await tx.all(REST, ids=some, owner=owner, unclear=unclear, due_ms=due_ms):
            blob = blob_of(row)
            move(tally, blob, Kind.ORPHAN, _kind_of(blob))
    for some in _pieces([blob.id for blob in blobs if not (blob.plain or unclear)]):
        for row in await tx.all(FORGET, ids=some, owner=owner):
            await drop(tx, tally, blob_of(row), Kind.ORPHAN)


async def lock(tx: ITransaction, ids: Sequence[int]) -> None:
    """Lock blobs in the order in which everybody does: what changes many takes them in any."""
    await tx.soon(LOCK_BLOBS, ids=json.dumps(ids))


async def end_rests(tx: ITransaction, now_ms: int, limit: int) -> int:
    """Remove clear names whose rest is over, and deleted buckets that hold nothing any more."""
    tally = Tally()
    rested = [row[0] for row in await tx.all(RESTED, now_ms=now_ms, limit=limit)]
    for some in _pieces(rested):
        for row in await tx.all(END_CLEAR_REST, ids=some):
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


def _pieces(ids: Sequence[int]) -> Iterator[str]:
    """Yield lists for `$ids`, each of which is over soon: nothing else is done in a statement's thread."""
    for first in range(0, len(ids), _AT_ONCE):
        yield json.dumps(ids[first : first + _AT_ONCE])


def _kind_of(blob: Blob) -> Kind:
    return Kind.ORPHAN if blob.unclear else Kind.NOTHING


async def _forget_deleted_buckets(tx: ITransaction) -> None:
    for bucket in await tx.all(DELETED_BUCKETS):
        held = await tx.one(HELD_BY_BUCKET, bucket_id=bucket[0])
        if held is not None and held[0] == 0:
            for statement in (FORGET_BUCKET, FORGET_COUNTS, FORGET_GUARD):
                await tx.run(statement, bucket_id=bucket[0])
