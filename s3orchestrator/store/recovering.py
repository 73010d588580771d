"""
What nobody is working on any more, although the ledger still says so.

At start that is everything a former process held. Later it is what operations of our own
left behind when nobody heard of their outcome (`operations`).
"""

from __future__ import annotations

from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import Claim, doom_pending, drop
from s3orchestrator.store.operations import ILedger, Left, LooseEnd
from s3orchestrator.store.rows import BLOB, blob_of

# No client has ever heard of an upload that its backend did not confirm.
PENDING = """
    SELECT id FROM blobs WHERE state = 'pending' AND upload_id IS NULL
    UNION ALL
    SELECT blob_id FROM uploads WHERE state IN ('open', 'completing') AND backend_upload IS NULL
"""
GIVE_BACK_DOOMED = "UPDATE blobs SET owner = NULL WHERE state = 'doomed' AND owner IS NOT NULL"
GIVE_BACK_RESTING = "UPDATE blobs SET owner = NULL WHERE state = 'resting' AND owner IS NOT NULL"

UNSENT = f"""
    DELETE FROM blobs
     WHERE state = 'pending' AND upload_id IS NULL AND owner = :owner AND operation = :operation
    RETURNING {BLOB}
"""
UNCLAIM_DOOMED = """
    UPDATE blobs SET owner = NULL WHERE state = 'doomed' AND owner = :owner AND operation = :operation
"""
UNCLAIM_RESTING = """
    UPDATE blobs SET owner = NULL WHERE state = 'resting' AND owner = :owner AND operation = :operation
"""
STILL_PENDING = "SELECT id FROM blobs WHERE id = :id AND state = 'pending' AND upload_id IS NULL"


async def recover(ledger: ILedger) -> int:
    """
    Doom pending blobs of no open upload and give claims back; returns how many were doomed.

    An upload counts as open once its backend has confirmed it.

    A leftover is never promoted: its client was not told that it is stored.
    """
    claim = Claim(None, 0, ledger.now_ms(), "left at start")

    async def work(tx: ITransaction) -> int:
        tally = Tally()
        rows = await tx.all(PENDING)
        for row in rows:
            await doom_pending(tx, tally, row[0], claim, unclear=True)
        await tx.run(GIVE_BACK_DOOMED)
        await tx.run(GIVE_BACK_RESTING)
        await tally.write(tx)
        return len(rows)

    return await ledger.transact(work)


async def tie_up(ledger: ILedger) -> None:
    """Hand back what operations of ours left behind."""
    known = ledger.operations.loose_ends
    if not (ends := tuple(known)):
        return

    async def work(tx: ITransaction) -> None:
        tally = Tally()
        for end in ends:
            await _tie_up_one(tx, tally, end, ledger)
        await tally.write(tx)

    await ledger.transact(work)
    known[:] = [end for end in known if end not in ends]


async def _tie_up_one(tx: ITransaction, tally: Tally, end: LooseEnd, ledger: ILedger) -> None:
    owner = ledger.operations.owner
    if end.left is Left.RESERVATION:
        for row in await tx.all(UNSENT, owner=owner, operation=end.number):
            await drop(tx, tally, blob_of(row), Kind.RESERVED)
    elif end.left is Left.CLAIM:
        await tx.run(UNCLAIM_DOOMED, owner=owner, operation=end.number)
        await tx.run(UNCLAIM_RESTING, owner=owner, operation=end.number)
    elif await tx.one(STILL_PENDING, id=end.number):
        claim = Claim(None, 0, ledger.now_ms(), "commit unclear")
        await doom_pending(tx, tally, end.number, claim, unclear=True)
