"""
Reserving, committing and deleting objects in one round trip, where the ledger is on a PostgreSQL server.

Each is one string that calls a function of `pgfunctions`. It is a transaction by itself; see
`PostgresTransaction.whole`. Those of one turn of the reactor share it, and each ends as it would alone. Only
what is ordinary goes this way. None means that it was not, and that nothing has been changed: the
statements that every database understands come next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from psycopg2.errors import UndefinedFunction
from zope.interface import implementer

from s3orchestrator.domain.records import Blob, Bucket, Committed, Removed
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.committing import Commit
from s3orchestrator.store.dooming import Claim, doomed_of
from s3orchestrator.store.operations import ILedger, IShortcuts
from s3orchestrator.store.pgfunctions import COMMIT, REMOVE, RESERVE
from s3orchestrator.store.pgtransaction import PostgresTransaction
from s3orchestrator.store.reserving import Offer, Wanted
from s3orchestrator.store.rows import BLOB
from s3orchestrator.store.together import Later, Parameters, Together, by_number, listed


def _blob_in(column: str) -> str:
    return ", ".join(f"({column}).{name.strip()}" for name in BLOB.split(","))


_TOLD = "(:the_list, :until_ms)"
_RESERVE = f"SELECT number, new_id, new_name FROM {RESERVE.name}{_TOLD}"
_COMMIT = f"""
    SELECT number, new_id, new_modified_ms, {_blob_in("displaced")} FROM {COMMIT.name}{_TOLD}
"""
_REMOVE = f"""
    SELECT number, old_version_id, was_delete_marker, {_blob_in("doomed")} FROM {REMOVE.name}{_TOLD}
"""

Transact = Callable[[Callable[[ITransaction], Awaitable[list[Row]]]], Awaitable[list[Row]]]


def _sharing(statement: str, transact: Transact, later: Later, until_ms: Callable[[], int]) -> Together:
    """Return what does what a statement does for each in a list, in one transaction."""

    async def ask(many: Sequence[Parameters]) -> Sequence[list[Row]]:
        the_list = listed(many)

        async def work(tx: ITransaction) -> list[Row]:
            assert isinstance(tx, PostgresTransaction)
            return await tx.whole(statement, the_list=the_list, until_ms=until_ms())

        try:
            rows = await transact(work)
        except UndefinedFunction:  # and it could not be made
            rows = []
        return by_number(rows, len(many))

    return Together(ask, later)


@implementer(IShortcuts)
@define(eq=False)
class Shortcuts:
    """
    Those of a ledger on a PostgreSQL server: before a transaction, and in a shared one, by `transact`.

    `until_ms` tells when, by the server's clock, it is too late for what is sent now.
    """

    _ledger: ILedger
    _transact: Transact
    _later: Later
    _until_ms: Callable[[], int]
    _reserving: Together = field(init=False)
    _committing: Together = field(init=False)
    _removing: Together = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reserving = _sharing(_RESERVE, self._transact, self._later, self._until_ms)
        self._committing = _sharing(_COMMIT, self._transact, self._later, self._until_ms)
        self._removing = _sharing(_REMOVE, self._transact, self._later, self._until_ms)

    async def reserve(
        self, tx: ITransaction | None, wanted: Wanted, offer: Offer, operation: int
    ) -> Blob | None:
        """See `IShortcuts`."""
        if tx is not None:
            return None
        now_ms = self._ledger.now_ms()
        rows = await self._reserving.ask(
            {
                "bucket_id": wanted.bucket.id,
                "key": wanted.key,
                "backend": offer.backend,
                "plain": offer.plain,
                "other": offer.other,
                "size": wanted.size,
                "now_ms": now_ms,
                "owner": self._ledger.operations.owner,
                "operation": operation,
            }
        )
        if not rows:
            return None
        ((blob_id, name),) = rows
        return wanted.pending(blob_id, offer.backend, name, now_ms, is_plain=name == offer.plain)

    async def commit(self, tx: ITransaction | None, what: Commit, claim: Claim) -> Committed | None:
        """See `IShortcuts`; with a condition, or for an upload, more has to be looked at."""
        blob = what.blob
        if tx is not None or what.condition or blob.upload_id is not None or what.new.size != blob.size:
            return None
        rows = await self._committing.ask(
            {
                "bucket_id": what.bucket.id,
                "key": blob.key,
                "backend": blob.backend,
                "blob_id": blob.id,
                "blob_etag": what.stored.etag,
                "backend_version": what.stored.version_id,
                **what.columns(),
                **claim.columns(),
            }
        )
        if not rows:
            return None
        return Committed(what.version(rows[0][0], rows[0][1]), _blobs_of(rows))

    async def remove(self, tx: ITransaction | None, bucket: Bucket, key: str, claim: Claim) -> Removed | None:
        """See `IShortcuts`."""
        if tx is not None:
            return None
        rows = await self._removing.ask(
            {
                "bucket_id": bucket.id,
                "key": key,
                **claim.columns(),
            }
        )
        if not rows:
            return None
        if rows[0][0] is None:
            return Removed(key)
        return Removed(key, rows[0][0], rows[0][1], _blobs_of(rows))


def _blobs_of(rows: list[Row]) -> tuple[Blob, ...]:
    """Read what was doomed, which is in the columns after the first two; a single row may be without."""
    return doomed_of([row[2:] for row in rows if row[2] is not None])
