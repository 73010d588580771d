"""The buckets that exist."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from twisted.logger import Logger
from zope.interface import implementer

from s3orchestrator.domain.records import Blob, Bucket
from s3orchestrator.errors import BucketExists, BucketNotEmpty, Conflict, NoSuchBucket, OrchestratorError
from s3orchestrator.interfaces import IBuckets, ITransaction
from s3orchestrator.store.counting import Tally
from s3orchestrator.store.dooming import Claim, doom_pending
from s3orchestrator.store.operations import ILedger, attempt
from s3orchestrator.store.rows import BUCKET, bucket_of
from s3orchestrator.store.sql import NOTIFY
from s3orchestrator.store.uploads import AT_ONCE

HOLD_BUCKET_ALONE = "$hold_bucket_alone"
CHANGED = "buckets"  # what other instances are told

ALL = f"SELECT {BUCKET} FROM buckets WHERE deleted_ms IS NULL ORDER BY name"
BY_NAME = f"SELECT {BUCKET} FROM buckets WHERE name = :name AND deleted_ms IS NULL"
INSERT = f"""
    INSERT INTO buckets (name, owner, created_ms) VALUES (:name, :owner, :now_ms)
    ON CONFLICT DO NOTHING
    RETURNING {BUCKET}
"""
ANY_VERSION = "SELECT 1 FROM versions WHERE bucket_id = :bucket_id LIMIT 1"
MARK_DELETED = "UPDATE buckets SET deleted_ms = :now_ms WHERE id = :bucket_id AND deleted_ms IS NULL"
OPEN_UPLOADS = """
    SELECT blob_id FROM uploads
     WHERE bucket_id = :bucket_id AND state IN ('open', 'completing') LIMIT :limit $lock_rows
"""


@implementer(IBuckets)
@define(eq=False)
class Buckets:
    """Buckets in a ledger."""

    log = Logger()
    _ledger: ILedger

    async def all(self) -> Sequence[Bucket]:
        return [bucket_of(row) for row in await self._ledger.query(ALL)]

    async def adopt(self, name: str) -> Bucket:
        async def work(tx: ITransaction) -> Bucket:
            row = await tx.one(BY_NAME, name=name)
            if row is None:
                row = await tx.one(INSERT, name=name, owner=None, now_ms=self._ledger.now_ms())
                await tx.soon(NOTIFY, payload=CHANGED)
            if row is None:
                # Another instance did so at the same time.
                row = await tx.one(BY_NAME, name=name)
            if row is None:
                raise Conflict(f"bucket {name} is being made and deleted")
            return bucket_of(row)

        return await self._ledger.transact(work)

    async def create(self, name: str, owner: str) -> Bucket:
        async def work(tx: ITransaction) -> Bucket:
            row = await tx.one(INSERT, name=name, owner=owner, now_ms=self._ledger.now_ms())
            if row is not None:
                await tx.soon(NOTIFY, payload=CHANGED)
                return bucket_of(row)
            taken = await tx.one(BY_NAME, name=name)
            raise BucketExists(name, owned=taken is not None and taken["owner"] == owner)

        return await self._ledger.transact(work)

    async def delete(self, bucket: Bucket) -> Sequence[Blob]:
        """
        Delete an empty bucket; see `IBuckets`. The row stays until its last blob has gone.

        Writes that are under way find the bucket deleted when they commit.
        """
        now_ms = self._ledger.now_ms()

        async def mark(tx: ITransaction) -> None:
            await tx.soon(HOLD_BUCKET_ALONE, bucket_id=bucket.id)
            if not await tx.run(MARK_DELETED, bucket_id=bucket.id, now_ms=now_ms):
                raise NoSuchBucket(bucket.name)
            if await tx.one(ANY_VERSION, bucket_id=bucket.id):
                raise BucketNotEmpty(bucket.name)
            await tx.soon(NOTIFY, payload=CHANGED)

        await self._ledger.transact(mark)
        doomed: list[Blob] = []
        try:
            while batch := await self._end_uploads(bucket):
                doomed += batch
        except OrchestratorError as error:
            self.log.info(
                "{bucket}: its uploads are ended later: {error}", bucket=bucket.name, error=str(error)
            )
        return doomed

    async def _end_uploads(self, bucket: Bucket) -> Sequence[Blob]:
        claim = Claim.by(self._ledger, "bucket_deleted")

        async def work(tx: ITransaction) -> Sequence[Blob]:
            tally, doomed = Tally(), []
            for row in await tx.all(OPEN_UPLOADS, bucket_id=bucket.id, limit=AT_ONCE):
                blob = await doom_pending(tx, tally, row["blob_id"], claim, unclear=True)
                if blob is not None:
                    doomed.append(blob)
            await tally.write(tx)
            return doomed

        return await attempt(self._ledger, work, claim.left)
