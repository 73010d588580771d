"""What an operator decides about blobs that cleaning up has given up on: again, or never mind."""

from __future__ import annotations

from s3orchestrator.interfaces import IDatabase, ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import move
from s3orchestrator.store.rows import BLOB, blob_of

REVIVE = """
    UPDATE blobs SET state = 'doomed', attempts = 0, owner = NULL, due_ms = :now_ms
     WHERE id = :id AND state = 'dead'
"""
DEAD_OF_BACKEND = """
    SELECT id FROM blobs WHERE state = 'dead' AND backend = :backend ORDER BY id LIMIT :limit $skip_locked
"""
# Clear, so that its rest ends without another look: its backend may be the reason why it is dead.
WRITE_OFF = f"""
    UPDATE blobs SET state = 'resting', unclear = FALSE, owner = NULL, due_ms = :due_ms
     WHERE id = :id AND state = 'dead'
    RETURNING {BLOB}
"""


async def revive(database: IDatabase, blob_id: int) -> bool:
    """See `IBlobs.revive`; both states count as orphans."""

    async def work(tx: ITransaction) -> int:
        return await tx.run(REVIVE, id=blob_id, now_ms=database.now_ms())

    return bool(await database.transact(work))


async def revive_some(database: IDatabase, backend: str, limit: int) -> int:
    """See `IBlobs.revive_some`."""

    async def work(tx: ITransaction) -> int:
        rows = await tx.all(DEAD_OF_BACKEND, backend=backend, limit=limit)
        for row in rows:
            await tx.run(REVIVE, id=row[0], now_ms=database.now_ms())
        return len(rows)

    return await database.transact(work)


async def write_off(database: IDatabase, blob_id: int, due_ms: int) -> bool:
    """See `IBlobs.write_off`; `due_ms` is the end of its rest."""

    async def work(tx: ITransaction) -> bool:
        row = await tx.one(WRITE_OFF, id=blob_id, due_ms=due_ms)
        if row is None:
            return False
        tally = Tally()
        move(tally, blob_of(row), Kind.ORPHAN, Kind.NOTHING)
        await tally.write(tx)
        return True

    return await database.transact(work)
