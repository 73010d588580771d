"""The physical objects on the backends: the life of a blob, transition by transition."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.domain.backoff import delay_ms, is_given_up
from s3orchestrator.domain.naming import ENTROPY, scratch_names, token
from s3orchestrator.domain.records import Blob, BlobState, Bucket, Usage
from s3orchestrator.interfaces import IBlobs, ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.dooming import Claim, doom_pending, end_upload
from s3orchestrator.store.marking import NOT_BEHIND
from s3orchestrator.store.operations import ILedger, Left, attempt
from s3orchestrator.store.reaping import reap, unclaim_of_gone
from s3orchestrator.store.recovering import recover, tie_up
from s3orchestrator.store.reserving import RESERVED, Reserving, TraitsOf, Wanted
from s3orchestrator.store.resting import REST_AGAIN, end_rest, end_rests, forget, lock, refuse
from s3orchestrator.store.reviving import revive, revive_some, write_off
from s3orchestrator.store.rows import BLOB, blob_of

HOLD_BACKEND_ALONE = "$hold_backend_alone"

KNOW_BACKEND = "INSERT INTO backends (name) VALUES (:backend) ON CONFLICT (name) DO NOTHING"
LIMIT = """
    INSERT INTO backend_guards (backend, taken, bytes_limit)
    SELECT :backend, coalesce(sum(live + reserved + orphan), 0), :bytes_limit
      FROM byte_counts WHERE backend = :backend
    ON CONFLICT (backend) DO UPDATE SET bytes_limit = excluded.bytes_limit
"""
LIFT_LIMIT = "DELETE FROM backend_guards WHERE backend = :backend"

USAGE = """
    SELECT known.backend, coalesce(sum(c.live), 0), coalesce(sum(c.reserved), 0), coalesce(sum(c.orphan), 0),
           max(g.bytes_limit)
      FROM (SELECT name AS backend FROM backends UNION SELECT backend FROM backend_counts) known
      LEFT JOIN backend_counts c ON c.backend = known.backend
      LEFT JOIN backend_guards g ON g.backend = known.backend
     GROUP BY known.backend
"""

INSERT_SCRATCH = f"""
    INSERT INTO blobs (backend, name, state, size, created_ms, is_plain, owner, operation)
    VALUES (:backend, :name, 'pending', 0, :now_ms, FALSE, :owner, :operation)
    RETURNING {BLOB}
"""

RETRY_LATER = """
    UPDATE blobs
       SET state = :state, attempts = :attempts, owner = NULL, due_ms = :due_ms,
           last_error = coalesce(:error, last_error)
     WHERE id = :id AND state = 'doomed' AND owner = :owner
"""
DUE_DOOMED = f"""
    SELECT {BLOB} FROM blobs
     WHERE state = 'doomed' AND owner IS NULL AND due_ms <= :now_ms AND {NOT_BEHIND}
     ORDER BY owner, due_ms LIMIT :limit $skip_locked
"""
DUE_RESTS = f"""
    SELECT {BLOB} FROM blobs
     WHERE state = 'resting' AND owner IS NULL AND unclear = TRUE AND due_ms <= :now_ms AND {NOT_BEHIND}
     ORDER BY owner, due_ms LIMIT :limit $skip_locked
"""
CLAIM = """
    UPDATE blobs SET unclear = TRUE, owner = :owner, operation = :operation
     WHERE id = :id AND state = :state AND owner IS NULL
"""

SUSPECT = "UPDATE blobs SET suspect = TRUE WHERE id = :id AND state = 'live'"
TRUST = "UPDATE blobs SET suspect = FALSE, seen_ms = :now_ms WHERE id = :id AND state = 'live'"

NAMES = f"""
    SELECT {BLOB} FROM blobs WHERE backend = :backend AND name > :after ORDER BY name LIMIT :limit
"""
BY_NAME = f"SELECT {BLOB} FROM blobs WHERE backend = :backend AND name = :name"
LONGEST_ERROR = 500  # characters of what a backend says; it may say anything

IS_HELD = "SELECT 1 FROM blobs WHERE id = :id"


@implementer(IBlobs)
@define(eq=False)
class Blobs:
    """
    Blobs in a ledger.

    `traits_of` tells what a backend can be relied on for, None of one that nobody has
    reached yet. `quiet_period` (seconds) is how long a name rests (L8).
    """

    _ledger: ILedger
    _traits_of: TraitsOf = field(kw_only=True)
    _quiet_period: float = field(kw_only=True)
    _random: Callable[[int], bytes] = field(default=os.urandom, kw_only=True)
    _reserving: Reserving = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reserving = Reserving(self._ledger, self._traits_of, self._random)

    async def set_limits(self, limits: Mapping[str, int | None]) -> None:
        async def work(tx: ITransaction) -> None:
            for backend, bytes_limit in sorted(limits.items()):
                await tx.soon(HOLD_BACKEND_ALONE, backend=backend)
                await tx.run(KNOW_BACKEND, backend=backend)
                if bytes_limit is None:
                    await tx.run(LIFT_LIMIT, backend=backend)
                else:
                    await tx.run(LIMIT, backend=backend, bytes_limit=bytes_limit)

        await self._ledger.transact(work)

    async def usage(self) -> Sequence[Usage]:
        return [Usage(*row) for row in await self._ledger.query(USAGE)]

    async def reserve(
        self,
        bucket: Bucket,
        key: str,
        size: int,
        backends: Sequence[str],
        *,
        verb: str = "put",
        avoid_plain: bool = False,
    ) -> Blob:
        operation = self._ledger.operations.begin()
        wanted = Wanted(bucket, key, size, size, verb, avoid_plain)

        async def work(tx: ITransaction) -> Blob:
            return await self._reserving.reserve(tx, wanted, backends, operation)

        short = self._reserving.short(wanted, backends, operation)
        reserved = await attempt(self._ledger, work, (Left.RESERVATION, operation), short=short)
        RESERVED.inc()
        return reserved

    async def reserve_scratch(self, backend: str) -> Sequence[Blob]:
        operation = self._ledger.operations.begin()
        names = scratch_names(token(self._ledger.now_ms(), self._random(ENTROPY)))

        async def work(tx: ITransaction) -> Sequence[Blob]:
            tally, blobs = Tally(), []
            for name in names:
                row = await tx.one(
                    INSERT_SCRATCH,
                    backend=backend,
                    name=name,
                    now_ms=self._ledger.now_ms(),
                    owner=self._ledger.operations.owner,
                    operation=operation,
                )
                assert row is not None
                blobs.append(blob_of(row))
                tally.move(backend, None, Kind.ABSENT, 0, Kind.RESERVED, 0)
            await tally.write(tx)
            return blobs

        return await attempt(self._ledger, work, (Left.RESERVATION, operation))

    async def abandon(self, blob: Blob, *, unclear: bool) -> Blob | None:
        claim = Claim.by(self._ledger, "abandoned")

        async def work(tx: ITransaction) -> Blob | None:
            tally = Tally()
            doomed = await doom_pending(tx, tally, blob.id, claim, unclear=unclear)
            await tally.write(tx)
            return doomed

        return await attempt(self._ledger, work, claim.left)

    async def refused(self, blob: Blob) -> None:
        async def work(tx: ITransaction) -> None:
            tally = Tally()
            # The name is a stranger's, but an upload that was to get it is still ours to abort.
            unclear = blob.upload_id is not None
            resting = await refuse(tx, tally, blob.id, self._end_of_rest(), unclear=unclear)
            if resting is not None:
                await end_upload(tx, resting, self._ledger.now_ms())
            await tally.write(tx)

        await self._ledger.transact(work)

    async def forget(self, blob: Blob, *, unclear: bool) -> None:
        await self.forget_many([(blob, unclear)])

    async def forget_many(self, blobs: Sequence[tuple[Blob, bool]]) -> None:
        owner = self._ledger.operations.owner

        async def work(tx: ITransaction) -> None:
            tally, due_ms = Tally(), self._end_of_rest()
            await lock(tx, [blob.id for blob, _ in blobs])
            for is_unclear in (False, True):
                # A clear answer to this delete says nothing of what was sent before.
                those = [blob for blob, unclear in blobs if (unclear or blob.unclear) is is_unclear]
                await forget(tx, tally, those, owner, due_ms, unclear=is_unclear)
            await tally.write(tx)

        await self._ledger.transact(work)

    async def retry_later(self, blob: Blob, *, counted: bool, error: str = "") -> None:
        await self._retry_later([(blob, counted)], error)

    async def retry_later_many(self, blobs: Sequence[tuple[Blob, bool]]) -> None:
        await self._retry_later(blobs, "")

    async def _retry_later(self, blobs: Sequence[tuple[Blob, bool]], error: str) -> None:
        async def work(tx: ITransaction) -> None:
            now_ms = self._ledger.now_ms()
            for blob, counted in sorted(blobs, key=_id):
                attempts = blob.attempts + counted
                await tx.soon(
                    RETRY_LATER,
                    id=blob.id,
                    owner=self._ledger.operations.owner,
                    state=BlobState.DEAD if is_given_up(attempts) else BlobState.DOOMED,
                    attempts=attempts,
                    due_ms=now_ms + delay_ms(attempts),
                    error=_storable(error),
                )

        await self._ledger.transact(work)

    async def claim_doomed(self, limit: int, *, busy: Collection[str] = ()) -> Sequence[Blob]:
        await self._count_as_unowned()
        names = {f"busy{number}": backend for number, backend in enumerate(sorted(busy))}
        return await self._claim_due(_but(DUE_DOOMED, names), limit, **names)

    async def revive(self, blob_id: int) -> bool:
        return await revive(self._ledger, blob_id)

    async def revive_some(self, backend: str, limit: int) -> int:
        return await revive_some(self._ledger, backend, limit)

    async def write_off(self, blob_id: int) -> bool:
        return await write_off(self._ledger, blob_id, self._end_of_rest())

    async def end_rests(self, limit: int) -> int:
        await tie_up(self._ledger)

        async def work(tx: ITransaction) -> int:
            return await end_rests(tx, self._ledger.now_ms(), limit)

        return await self._ledger.transact(work)

    async def claim_unclear_rests(self, limit: int) -> Sequence[Blob]:
        await self._count_as_unowned()
        return await self._claim_due(DUE_RESTS, limit)

    async def rested(self, blob: Blob) -> None:
        async def work(tx: ITransaction) -> None:
            await end_rest(tx, blob.id, self._ledger.operations.owner)

        await self._ledger.transact(work)

    async def rest_again(self, blob: Blob) -> None:
        async def work(tx: ITransaction) -> None:
            owner = self._ledger.operations.owner
            await tx.run(REST_AGAIN, id=blob.id, owner=owner, due_ms=self._end_of_rest())

        await self._ledger.transact(work)

    async def recover(self) -> int:
        return await recover(self._ledger)

    async def reap(self, limit: int, min_age_ms: int) -> int:
        return await reap(self._ledger, limit, min_age_ms)

    async def tie_up(self) -> None:
        await tie_up(self._ledger)

    async def suspect(self, blob: Blob) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(SUSPECT, id=blob.id)

        await self._ledger.transact(work)

    async def trust(self, blob: Blob) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(TRUST, id=blob.id, now_ms=self._ledger.now_ms())

        await self._ledger.transact(work)

    async def names(self, backend: str, after: str = "", limit: int = 1000) -> Sequence[Blob]:
        rows = await self._ledger.query(NAMES, backend=backend, after=after, limit=limit)
        return [blob_of(row) for row in rows]

    async def by_name(self, backend: str, name: str) -> Blob | None:
        rows = await self._ledger.query(BY_NAME, backend=backend, name=name)
        return blob_of(rows[0]) if rows else None

    def is_of_former_lease(self, blob: Blob) -> bool:
        return blob.created_ms < self._ledger.operations.since_ms

    async def is_held(self, blob: Blob) -> bool:
        return bool(await self._ledger.query(IS_HELD, id=blob.id))

    async def _count_as_unowned(self) -> None:
        """Make nobody's what is claimed by somebody who will not come back to it."""
        await tie_up(self._ledger)
        await unclaim_of_gone(self._ledger)

    def _end_of_rest(self) -> int:
        return self._ledger.now_ms() + int(self._quiet_period * 1000)

    async def _claim_due(self, due: str, limit: int, **backends: str) -> Sequence[Blob]:
        """Claim what is due; the blobs tell of `unclear` what was known before."""
        claim = Claim.by(self._ledger, "")

        async def work(tx: ITransaction) -> Sequence[Blob]:
            rows = await tx.all(due, now_ms=claim.now_ms, limit=limit, **backends)
            blobs = [blob_of(row) for row in rows]
            for blob in blobs:
                await tx.soon(
                    CLAIM, id=blob.id, state=blob.state, owner=claim.owner, operation=claim.operation
                )
            return blobs

        return await attempt(self._ledger, work, claim.left)


def _storable(error: str) -> str | None:
    """Return what any database takes as text."""
    return error[:LONGEST_ERROR].replace("\0", "").encode("utf-8", "replace").decode("utf-8") or None


def _id(pair: tuple[Blob, bool]) -> int:
    """Rows are locked in the order of their ids."""
    return pair[0].id


def _but(statement: str, parameters: Collection[str]) -> str:
    """Return a statement about blobs for those of other backends."""
    if not parameters:
        return statement
    listed = ", ".join(f":{name}" for name in parameters)
    return statement.replace("ORDER BY", f"AND backend NOT IN ({listed}) ORDER BY")
