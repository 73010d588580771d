"""What clients see: versions of keys, committed, found, listed and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen
from zope.interface import implementer

from s3orchestrator.domain.records import (
    Blob,
    Bucket,
    Committed,
    ListedVersion,
    NewVersion,
    Removed,
    Version,
)
from s3orchestrator.errors import NoSuchKey, NoSuchVersion, OrchestratorError
from s3orchestrator.interfaces import ITransaction, IVersions, Stored
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store import pages
from s3orchestrator.store.committing import LOCK_KEY, Commit, commit
from s3orchestrator.store.counting import HOLD_BUCKET, Tally
from s3orchestrator.store.dooming import Claim
from s3orchestrator.store.operations import ILedger, IShortcuts, Left, Short, attempt
from s3orchestrator.store.removing import remove
from s3orchestrator.store.rows import LIVE_BLOB, VERSION, VERSION_WIDTH, columns, live_blob_of, version_of

MAX_KEYS_PER_TRANSACTION = 100  # more would keep everybody else's writes waiting

_FIND = f"""
    SELECT {columns("v", VERSION)}, {columns("b", LIVE_BLOB)}
      FROM versions v LEFT JOIN blobs b ON b.version = v.id
     WHERE v.bucket_id = :bucket_id AND v.key = :key
"""
FIND_LATEST = f"{_FIND} AND v.is_latest"
FIND_VERSION = f"{_FIND} AND v.version_id = :version_id"

_DESCRIBE = f"SELECT {VERSION} FROM versions WHERE bucket_id = :bucket_id AND key = :key"
DESCRIBE_LATEST = f"{_DESCRIBE} AND is_latest"
DESCRIBE_VERSION = f"{_DESCRIBE} AND version_id = :version_id"

# What is read with every request for an object.
LOOK_UPS = frozenset({FIND_LATEST, FIND_VERSION, DESCRIBE_LATEST, DESCRIBE_VERSION})

TELL = """
    INSERT INTO outbox (event, endpoint, payload, created_ms, due_ms)
    VALUES (:event, :endpoint, :payload, :now_ms, :now_ms)
"""

_IS_DELETE_MARKER = 3  # where it is in `VERSION`

Entry = tuple[str, str | None, WriteCondition | None]


@frozen
class Notice:
    """One event for one subscriber."""

    event: str
    endpoint: str
    payload: str


@frozen
class Change:
    """What happened to a key: `committed` is the new version, None if `version_id` was removed."""

    bucket: Bucket
    key: str
    version_id: str
    committed: Version | None = None


@implementer(IVersions)
@define(eq=False)
class Versions:
    """
    Versions in a ledger.

    `notices_of` tells which events a change makes; they are written with it, so that they
    exist exactly if the change does (L6). None while nobody has subscribed.
    """

    _ledger: ILedger
    _notices_of: Callable[[Change], Iterable[Notice]] | None = field(default=None, kw_only=True)

    async def find(self, bucket: Bucket, key: str, version_id: str | None = None) -> Version:
        statement = FIND_LATEST if version_id is None else FIND_VERSION
        rows = await self._ledger.query(statement, bucket_id=bucket.id, key=key, version_id=version_id)
        _check_found(rows, key, version_id)
        return version_of(bucket.id, key, rows[0], _blobs_of(bucket.id, key, rows))

    async def describe(self, bucket: Bucket, key: str, version_id: str | None = None) -> Version:
        statement = DESCRIBE_LATEST if version_id is None else DESCRIBE_VERSION
        rows = await self._ledger.query(statement, bucket_id=bucket.id, key=key, version_id=version_id)
        _check_found(rows, key, version_id)
        return version_of(bucket.id, key, rows[0], ())

    async def commit(
        self,
        bucket: Bucket,
        blob: Blob,
        stored: Stored,
        version: NewVersion,
        condition: WriteCondition | None = None,
    ) -> Committed:
        """
        Make `version` current; see `IVersions`.

        After any failure but `Conflict` and `TransactionUnclear` the blob is still pending:
        its caller abandons it.
        """
        claim = Claim.by(self._ledger, "overwrite_displaced")

        what = Commit(bucket, blob, stored, version, condition)

        async def work(tx: ITransaction) -> Committed:
            tally = Tally()
            committed = await commit(tx, tally, what, claim)
            current = committed.version
            await self._tell(tx, Change(bucket, blob.key, current.version_id, current))
            await tally.write(tx)
            return committed

        return await attempt(
            self._ledger,
            work,
            (Left.COMMIT, blob.id),
            claim.left,
            key=(bucket.id, blob.key),
            short=self._short(what, claim),
        )

    async def remove(
        self,
        bucket: Bucket,
        key: str,
        version_id: str | None = None,
        condition: WriteCondition | None = None,
    ) -> Removed:
        removed = (await self._remove(bucket, [(key, version_id, condition)]))[0]
        if removed.error is not None:
            raise removed.error
        return removed

    async def remove_many(self, bucket: Bucket, entries: Sequence[Entry]) -> Sequence[Removed]:
        removed: list[Removed] = []
        while left := entries[len(removed) :]:
            try:
                removed += await self._remove(bucket, left[:MAX_KEYS_PER_TRANSACTION])
            except OrchestratorError as error:
                if not removed:
                    raise
                # The caller has claims to what the earlier transactions doomed.
                return [*removed, *(Removed(key, error=error) for key, _, _ in left)]
        return removed

    async def page(
        self, bucket: Bucket, lower: str, upper: str | None, limit: int, *, inclusive: bool
    ) -> Sequence[ListedVersion]:
        return await pages.latest(self._ledger, bucket.id, lower, upper, limit, inclusive=inclusive)

    async def page_versions(
        self,
        bucket: Bucket,
        lower: str,
        upper: str | None,
        limit: int,
        *,
        inclusive: bool,
        after_version: str | None = None,
    ) -> Sequence[ListedVersion]:
        return await pages.versions(
            self._ledger, bucket.id, lower, upper, limit, inclusive=inclusive, after_version=after_version
        )

    @property
    def _shortcuts(self) -> IShortcuts | None:
        """Those of the database, unless somebody must be told of what changes."""
        return self._ledger.operations.shortcuts if self._notices_of is None else None

    def _short(self, what: Commit, claim: Claim) -> Short[Committed] | None:
        shortcuts = self._shortcuts
        return (lambda tx: shortcuts.commit(tx, what, claim)) if shortcuts else None

    async def _remove(self, bucket: Bucket, entries: Sequence[Entry]) -> list[Removed]:
        claim = Claim.by(self._ledger, "deleted")

        async def work(tx: ITransaction) -> list[Removed]:
            tally, removed = Tally(), []
            await tx.soon(HOLD_BUCKET, bucket_id=bucket.id)
            for key in sorted({key for key, _, _ in entries}):
                await tx.soon(LOCK_KEY, bucket_id=bucket.id, key=key)
            for key, version_id, condition in entries:
                outcome = await remove(tx, tally, bucket, key, version_id, condition, claim)
                if outcome.version_id is not None:
                    await self._tell(tx, Change(bucket, key, outcome.version_id))
                removed.append(outcome)
            await tally.write(tx)
            return removed

        if len(entries) > 1:
            return await attempt(self._ledger, work, claim.left)
        ((key, *how),) = entries
        shortcuts = self._shortcuts if how == [None, None] else None
        short = partial(_in_a_list, shortcuts, bucket, key, claim) if shortcuts else None
        return await attempt(self._ledger, work, claim.left, key=(bucket.id, key), short=short)

    async def _tell(self, tx: ITransaction, change: Change) -> None:
        if self._notices_of is None:
            return
        now_ms = self._ledger.now_ms()
        for notice in self._notices_of(change):
            await tx.soon(
                TELL, event=notice.event, endpoint=notice.endpoint, payload=notice.payload, now_ms=now_ms
            )


async def _in_a_list(
    shortcuts: IShortcuts, bucket: Bucket, key: str, claim: Claim, tx: ITransaction | None
) -> list[Removed] | None:
    removed = await shortcuts.remove(tx, bucket, key, claim)
    return None if removed is None else [removed]


def _check_found(rows: Sequence[Sequence[Any]], key: str, version_id: str | None) -> None:
    if not rows and version_id is not None:
        raise NoSuchVersion(f"{key} {version_id}")
    if not rows or (version_id is None and rows[0][_IS_DELETE_MARKER]):
        raise NoSuchKey(key)


def _blobs_of(bucket_id: int, key: str, rows: Sequence[Sequence[Any]]) -> tuple[Blob, ...]:
    if rows[0][VERSION_WIDTH] is None:
        return ()
    blobs = [live_blob_of(bucket_id, key, row[VERSION_WIDTH:]) for row in rows]
    if len(blobs) > 1:
        blobs.sort(key=lambda blob: blob.id)
    return tuple(blobs)
