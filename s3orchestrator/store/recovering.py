"""
What nobody is working on any more, although the ledger still says so.

Where there can be only one process that is, at start, everything a former one held. Later it
is what operations of our own left behind when nobody heard of their outcome (`operations`).
"""

from __future__ import annotations

from collections import Counter

from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import Claim, doom_pending, drop
from s3orchestrator.store.operations import ILedger, Left, LooseEnd
from s3orchestrator.store.reaping import FORGET_OWNERS, TOLERANCE_MS, count_recovered
from s3orchestrator.store.rows import BLOB, blob_of

# No client has ever heard of an upload that its backend did not confirm.
PENDING = """
    SELECT id FROM blobs WHERE state = 'pending' AND upload_id IS NULL
    UNION ALL
    SELECT blob_id FROM uploads WHERE state IN ('open', 'completing') AND backend_upload IS NULL
"""
GIVE_BACK_DOOMED = """
    UPDATE blobs SET owner = NULL WHERE state = 'doomed' AND owner IS NOT NULL RETURNING backend
"""
GIVE_BACK_RESTING = "UPDATE blobs SET owner = NULL WHERE state = 'resting' AND owner IS NOT NULL"
GIVE_BACK_EVENTS = "UPDATE outbox SET owner = NULL WHERE owner > 0"

UNSENT = f"""
    DELETE FROM blobs
     WHERE state = 'pending' AND upload_id IS NULL AND owner = :owner AND operation = :operation
    RETURNING {BLOB}
"""
UNOPENED = """
    SELECT b.id FROM uploads u CROSS JOIN blobs b
     WHERE u.state IN ('open', 'completing') AND u.backend_upload IS NULL AND b.id = u.blob_id
       AND b.state = 'pending' AND b.owner = :owner AND b.operation = :operation
"""
UNCLAIM_DOOMED = """
    UPDATE blobs SET owner = NULL WHERE state = 'doomed' AND owner = :owner AND operation = :operation
"""
UNCLAIM_RESTING = """
    UPDATE blobs SET owner = NULL WHERE state = 'resting' AND owner = :owner AND operation = :operation
"""
TRANSACTIONS = "$transactions"
STILL_PENDING = "SELECT id FROM blobs WHERE id = :id AND state = 'pending' AND upload_id IS NULL"


async def recover(ledger: ILedger) -> int:
    """
    Doom pending blobs of no open upload and give claims back; returns how many were doomed.

    An upload counts as open once its backend has confirmed it.

    A leftover is never promoted: its client was not told that it is stored. Where others are at
    work too, nothing is done: what we held before is the reaper's, once that lease has lapsed.
    """
    operations = ledger.operations
    if operations.is_shared and not operations.is_alone:
        return 0
    claim = Claim(None, 0, ledger.now_ms(), "left_at_start")

    async def work(tx: ITransaction) -> tuple[int, Counter[str]]:
        tally = Tally()
        rows = await tx.all(PENDING)
        for row in rows:
            await doom_pending(tx, tally, row[0], claim, unclear=True)
        claims = Counter([row[0] for row in await tx.all(GIVE_BACK_DOOMED)])
        await tx.run(GIVE_BACK_RESTING)
        await tx.run(GIVE_BACK_EVENTS)
        await tx.run(FORGET_OWNERS, lapsed_ms=claim.now_ms - TOLERANCE_MS)
        await tally.write(tx)
        return len(rows), claims

    doomed, claims = await ledger.transact(work)
    count_recovered(claims)
    return doomed


async def tie_up(ledger: ILedger) -> None:
    """
    Hand back what operations of ours left behind.

    A server that has not answered COMMIT may carry it out yet, and what a caller has left may not even have
    been sent: each is looked at again until all that was under way at the first look has ended.
    """
    operations, known = ledger.operations, ledger.operations.loose_ends
    if not (ends := tuple(known)):
        return
    over = operations.looks.over(ends, operations.under_way)

    async def work(tx: ITransaction) -> Row | None:
        tally, under_way = Tally(), await tx.one(TRANSACTIONS)
        for end in ends:
            await _tie_up_one(tx, tally, end, ledger)
        await tally.write(tx)
        return under_way

    under_way = await ledger.transact(work)
    assert under_way is not None
    settled = operations.looks.settled(over, under_way["latest"], under_way["earliest"])
    known[:] = [end for end in known if end not in settled]


async def _tie_up_one(tx: ITransaction, tally: Tally, end: LooseEnd, ledger: ILedger) -> None:
    if end.left is Left.COMMIT:
        if await tx.one(STILL_PENDING, id=end.number):
            claim = Claim(None, 0, ledger.now_ms(), "commit_unclear")
            await doom_pending(tx, tally, end.number, claim, unclear=True)
        return
    for owner in ledger.operations.owners:
        if end.left is Left.RESERVATION:
            await _drop_unsent(tx, tally, owner, end.number, ledger.now_ms())
        else:
            await tx.run(UNCLAIM_DOOMED, owner=owner, operation=end.number)
            await tx.run(UNCLAIM_RESTING, owner=owner, operation=end.number)


async def _drop_unsent(tx: ITransaction, tally: Tally, owner: int, operation: int, now_ms: int) -> None:
    for row in await tx.all(UNSENT, owner=owner, operation=operation):
        await drop(tx, tally, blob_of(row), Kind.RESERVED)
    for row in await tx.all(UNOPENED, owner=owner, operation=operation):
        await doom_pending(tx, tally, row[0], Claim(None, 0, now_ms, "never_begun"), unclear=False)
