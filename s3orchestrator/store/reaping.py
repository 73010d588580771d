"""
What owners hold, and taking it over from those that are gone.

An owner is gone once its lease has lapsed. Whatever it claimed becomes nobody's, and what it
was writing is doomed. Every statement names the owner it takes from: whoever comes second, be
it the owner itself, finds nothing to do.
"""

from __future__ import annotations

from collections import Counter as Tallied

from prometheus_client import Counter

from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.counting import Tally
from s3orchestrator.store.dooming import Claim, doom_pending
from s3orchestrator.store.operations import ILedger

# Two instances may differ by this much in what they take for the database's time. One that is
# further off acts on no lease but its own, and a lease is over for others only this much later.
TOLERANCE_MS = 30_000

# Few uploads are waiting for their backend: they come first (SQLite keeps to the order of a CROSS JOIN).
_UNCONFIRMED = """
    SELECT {columns} FROM uploads u CROSS JOIN blobs b
     WHERE u.state IN ('open', 'completing') AND u.backend_upload IS NULL AND b.id = u.blob_id
"""
_OPENING = f"SELECT blob_id FROM ({_UNCONFIRMED.format(columns='u.blob_id')}) opening"

RECOVERED = Counter(
    "s3o_cleanup_queue_stale_claims_recovered_total",
    "What somebody who is gone was deleting, and others may delete now.",
    ["backend"],
)

# Ids count from 1. SQLite looks for `> 0` in an index, and for IS NOT NULL it does not.
_NAMED = f"""
    SELECT owner FROM blobs WHERE state = 'pending' AND upload_id IS NULL AND owner > 0
    UNION SELECT owner FROM blobs WHERE state = 'doomed' AND owner > 0
    UNION SELECT owner FROM blobs WHERE state = 'resting' AND owner > 0
    UNION SELECT owner FROM outbox WHERE owner > 0
    UNION {_UNCONFIRMED.format(columns="b.owner")} AND b.owner > 0
"""
# Also those without a row: one that slept through its lease may write a last line afterwards.
GONE = f"""
    SELECT named.owner FROM ({_NAMED}) named
      LEFT JOIN owners o ON o.id = named.owner
                        AND (o.lease_until_ms IS NULL OR o.lease_until_ms > :lapsed_ms)
     WHERE o.id IS NULL
"""
FORGET_OWNERS = f"""
    DELETE FROM owners WHERE lease_until_ms <= :lapsed_ms AND id NOT IN (SELECT owner FROM ({_NAMED}) named)
"""

# What another instance is taking over just now is left to it.
_THEIRS = "owner = :owner $skip_locked"
UNCLAIM_DOOMED = f"""
    UPDATE blobs SET owner = NULL
     WHERE id IN (SELECT id FROM blobs WHERE state = 'doomed' AND {_THEIRS}) AND owner = :owner
    RETURNING backend
"""
UNCLAIM = (
    UNCLAIM_DOOMED,
    f"""
    UPDATE blobs SET owner = NULL
     WHERE id IN (SELECT id FROM blobs WHERE state = 'resting' AND {_THEIRS}) AND owner = :owner
    """,
    f"UPDATE outbox SET owner = NULL WHERE id IN (SELECT id FROM outbox WHERE {_THEIRS}) AND owner = :owner",
)
LET_GO = (
    *UNCLAIM,
    "UPDATE blobs SET owner = NULL WHERE state = 'pending' AND upload_id IS NULL AND owner = :owner",
    f"UPDATE blobs SET owner = NULL WHERE id IN ({_OPENING}) AND state = 'pending' AND owner = :owner",
)

LEFT_BEHIND = {
    "nobody": """
        SELECT id FROM blobs
         WHERE state = 'pending' AND upload_id IS NULL AND owner IS NULL AND created_ms <= :before
         LIMIT :limit $skip_locked
    """,
    "owner": """
        SELECT id FROM blobs
         WHERE state = 'pending' AND upload_id IS NULL AND owner = :owner AND created_ms <= :before
         LIMIT :limit $skip_locked
    """,
}
NEVER_OPENED = {
    "nobody": f"""
        {_UNCONFIRMED.format(columns="b.id")}
           AND b.state = 'pending' AND b.owner IS NULL AND b.created_ms <= :before
         LIMIT :limit $skip_locked
    """,
    "owner": f"""
        {_UNCONFIRMED.format(columns="b.id")}
           AND b.state = 'pending' AND b.owner = :owner AND b.created_ms <= :before
         LIMIT :limit $skip_locked
    """,
}


async def gone(ledger: ILedger) -> tuple[int, ...]:
    """Return the owners whose lease has lapsed and that still hold something."""
    rows = await ledger.query(GONE, lapsed_ms=ledger.now_ms() - TOLERANCE_MS)
    return tuple([row[0] for row in rows])


async def unclaim_of_gone(ledger: ILedger) -> None:
    """Make the claims of owners that are gone nobody's."""
    owners = await gone(ledger)

    async def work(tx: ITransaction) -> Tallied[str]:
        return sum([await unclaim(tx, owner) for owner in owners], Tallied[str]())

    if owners:
        count_recovered(await ledger.transact(work))


async def unclaim(tx: ITransaction, owner: int) -> Tallied[str]:
    """Make all claims of an owner nobody's; returns what it was deleting, by backend."""
    deleting, *others = UNCLAIM
    rows = await tx.all(deleting, owner=owner)
    for statement in others:
        await tx.run(statement, owner=owner)
    return Tallied([row[0] for row in rows])


def count_recovered(claims: Tallied[str]) -> None:
    """Count claims that have become nobody's, once that is committed."""
    for backend, number in claims.items():
        RECOVERED.labels(backend).inc(number)


async def let_go(tx: ITransaction, owner: int) -> None:
    """Make everything that an owner holds nobody's."""
    for statement in LET_GO:
        await tx.run(statement, owner=owner)


async def reap(ledger: ILedger, limit: int, min_age_ms: int) -> int:
    """
    Doom pending blobs that are nobody's, or of an owner that is gone; see `IBlobs.reap`.

    They are due at once, and claimed by nobody.
    """
    owners = await gone(ledger)
    now_ms = ledger.now_ms()
    claim = Claim(None, 0, now_ms, "owner_gone")

    async def work(tx: ITransaction) -> tuple[int, Tallied[str]]:
        left = await _left_behind(tx, owners, limit, now_ms - min_age_ms)
        tally, doomed = Tally(), 0
        for blob_id in left:
            doomed += await doom_pending(tx, tally, blob_id, claim, unclear=True) is not None
        claims = sum([await unclaim(tx, owner) for owner in owners], Tallied[str]())
        await tx.run(FORGET_OWNERS, lapsed_ms=now_ms - TOLERANCE_MS)
        await tally.write(tx)
        return doomed, claims

    doomed, claims = await ledger.transact(work)
    count_recovered(claims)
    return doomed


async def _left_behind(tx: ITransaction, owners: tuple[int, ...], limit: int, before: int) -> list[int]:
    """Return up to `limit` pending blobs that nobody will finish, in the order in which they are locked."""
    left: list[int] = []
    for statements in (LEFT_BEHIND, NEVER_OPENED):
        rows = await tx.all(statements["nobody"], before=before, limit=limit - len(left))
        left += [row[0] for row in rows]
        for owner in owners:
            rows = await tx.all(statements["owner"], owner=owner, before=before, limit=limit - len(left))
            left += [row[0] for row in rows]
    return sorted(left)
