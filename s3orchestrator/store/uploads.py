"""Multipart uploads from create to complete."""

from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from zope.interface import implementer

from s3orchestrator.domain.records import Blob, Bucket, Completion, Part, Upload, UploadState
from s3orchestrator.errors import Conflict, NoSuchUpload, TooManyUploads
from s3orchestrator.interfaces import ITransaction, IUploads, Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store import attempts
from s3orchestrator.store.completing import LOCK_UPLOAD, Listed, begin_complete
from s3orchestrator.store.counting import Tally
from s3orchestrator.store.dooming import Claim, doom_pending
from s3orchestrator.store.operations import ILedger, Left, attempt
from s3orchestrator.store.reserving import RESERVED, Reserving, TraitsOf, Wanted
from s3orchestrator.store.rows import BLOB, PART, UPLOAD, columns, part_of, upload_of

_ID_BYTES = 20  # nobody guesses the id of somebody else's upload
AT_ONCE = 100  # uploads that one transaction ends; more would keep everybody else's writes waiting

COUNT_OPEN = """
    SELECT count(*) FROM (SELECT 1 FROM uploads
                           WHERE bucket_id = :bucket_id AND state IN ('open', 'completing') LIMIT :limit) open
"""
INSERT = """
    INSERT INTO uploads (id, bucket_id, key, state, blob_id, owner, initiated_ms, active_ms, metadata,
                         checksum_algorithm, checksum_kind)
    VALUES (:id, :bucket_id, :key, 'open', :blob_id, :owner, :now_ms, :now_ms, :metadata,
            :algorithm, :kind)
"""
# From now on it is nobody's: it outlives the process that began it.
CONFIRMED = "UPDATE blobs SET owner = NULL WHERE id = :id AND state = 'pending'"
# The backend's id is kept whatever has happened meanwhile: cleaning up needs it.
OPENED = "UPDATE uploads SET backend_upload = :backend_upload WHERE id = :id RETURNING state"
REOPEN = "UPDATE uploads SET state = 'open', listed = NULL WHERE id = :id AND state = 'completing'"

_UPLOADS = f"""
    SELECT {columns("u", UPLOAD)}, {columns("b", BLOB)}
      FROM uploads u LEFT JOIN blobs b ON b.id = u.blob_id
"""
FIND = f"{_UPLOADS} WHERE u.id = :id AND u.bucket_id = :bucket_id AND u.key = :key"
OF_BLOB = f"{_UPLOADS} WHERE u.blob_id = :blob_id"
PARTS = f"""
    SELECT {PART} FROM parts WHERE upload_id = :upload_id AND number > :after AND counts
     ORDER BY number LIMIT :limit
"""

_OPEN = f"{_UPLOADS} WHERE u.bucket_id = :bucket_id AND u.state IN ('open', 'completing')"
_BY_KEY = "ORDER BY u.key, u.initiated_ms, u.id LIMIT :limit"
PAGE = {
    (False, False): f"{_OPEN} AND u.key > :lower {_BY_KEY}",
    (True, False): f"{_OPEN} AND u.key >= :lower {_BY_KEY}",
    (False, True): f"{_OPEN} AND u.key > :lower AND u.key < :upper {_BY_KEY}",
    (True, True): f"{_OPEN} AND u.key >= :lower AND u.key < :upper {_BY_KEY}",
}
POSITION = "SELECT initiated_ms FROM uploads WHERE id = :id AND bucket_id = :bucket_id AND key = :key"
REST_OF_KEY = f"""
    {_OPEN} AND u.key = :key AND (u.initiated_ms, u.id) > (:initiated_ms, :id)
    ORDER BY u.initiated_ms, u.id LIMIT :limit
"""

STALE = """
    SELECT id, state, blob_id, backend_upload FROM uploads
     WHERE state IN ('open', 'completing') AND active_ms < :before
     ORDER BY active_ms LIMIT :limit $skip_locked
"""
# Their bucket's delete was interrupted before it had ended them all.
OF_DELETED_BUCKETS = """
    SELECT id, state, blob_id, backend_upload FROM uploads
     WHERE state IN ('open', 'completing')
       AND bucket_id IN (SELECT id FROM buckets WHERE deleted_ms IS NOT NULL)
     LIMIT :limit $skip_locked
"""
FORGET_COMPLETED = """
    DELETE FROM uploads
     WHERE id IN (SELECT id FROM uploads WHERE state = 'completed' AND active_ms < :before
                   ORDER BY active_ms LIMIT :limit)
"""


@implementer(IUploads)
@define(eq=False)
class Uploads:
    """Multipart uploads in a ledger. `traits_of` as for `Blobs`."""

    _ledger: ILedger
    _traits_of: TraitsOf = field(kw_only=True)
    _random: Callable[[int], bytes] = field(default=os.urandom, kw_only=True)
    _reserving: Reserving = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reserving = Reserving(self._ledger, self._traits_of, self._random)

    async def create(
        self,
        bucket: Bucket,
        key: str,
        backends: Sequence[str],
        metadata: ObjectMetadata,
        *,
        owner: str = "",
        checksum_algorithm: str | None = None,
        checksum_kind: str | None = None,
        max_open: int = 0,
        avoid_plain: bool = False,
    ) -> Upload:
        upload_id = b32encode(self._random(_ID_BYTES)).decode("ascii").lower()
        operation = self._ledger.operations.begin()
        # Its parts make it grow; a backend without room for one byte cannot take any.
        wanted = Wanted(bucket, key, 0, 1, "complete", avoid_plain, upload_id)

        async def work(tx: ITransaction) -> Upload:
            if max_open:
                opened = await tx.one(COUNT_OPEN, bucket_id=bucket.id, limit=max_open)
                if opened is not None and opened[0] >= max_open:
                    raise TooManyUploads(f"{bucket.name} has {max_open} open uploads")
            blob = await self._reserving.reserve(tx, wanted, backends, operation)
            await tx.run(
                INSERT,
                id=upload_id,
                bucket_id=bucket.id,
                key=key,
                blob_id=blob.id,
                owner=owner,
                now_ms=blob.created_ms,
                metadata=metadata.to_json(),
                algorithm=checksum_algorithm,
                kind=checksum_kind,
            )
            return Upload(
                id=upload_id,
                bucket_id=bucket.id,
                key=key,
                state=UploadState.OPEN,
                blob=blob,
                metadata=metadata,
                initiated_ms=blob.created_ms,
                checksum_algorithm=checksum_algorithm,
                checksum_kind=checksum_kind,
                owner=owner,
            )

        created = await attempt(self._ledger, work, (Left.RESERVATION, operation))
        RESERVED.inc()
        return created

    async def opened(self, upload: Upload, backend_upload: str) -> Upload:
        """
        Remember the backend's id.

        :raises NoSuchUpload: it was aborted meanwhile; the id is remembered for cleaning up.
        """

        async def work(tx: ITransaction) -> bool:
            row = await tx.one(OPENED, id=upload.id, backend_upload=backend_upload)
            await tx.run(CONFIRMED, id=upload.blob.id)
            return row is not None and row["state"] == UploadState.OPEN

        if not await self._ledger.transact(work):
            raise NoSuchUpload(upload.id)
        return evolve(upload, backend_upload=backend_upload)

    async def find(self, bucket: Bucket, key: str, upload_id: str) -> Upload:
        rows = await self._ledger.query(FIND, id=upload_id, bucket_id=bucket.id, key=key)
        if rows:
            upload = upload_of(rows[0])
            if upload.state in (UploadState.OPEN, UploadState.COMPLETING):
                return upload
        raise NoSuchUpload(upload_id)

    async def begin_part(self, upload: Upload, number: int, size: int) -> Part:
        async def work(tx: ITransaction) -> Part:
            return await attempts.begin(tx, upload, number, size, self._ledger.now_ms())

        return await self._ledger.transact(work)

    async def end_part(self, part: Part, stored: Stored, *, etag: str, checksum: Checksum | None) -> Part:
        async def work(tx: ITransaction) -> Part:
            ended = evolve(
                part,
                etag=etag,
                backend_etag=stored.etag,
                modified_ms=self._ledger.now_ms(),
                checksum=checksum,
            )
            await attempts.end(tx, ended)
            return ended

        return await self._ledger.transact(work)

    async def fail_part(self, part: Part, *, unclear: bool) -> None:
        async def work(tx: ITransaction) -> None:
            await attempts.fail(tx, part, unclear=unclear)

        await self._ledger.transact(work)

    async def parts(self, upload: Upload, after: int = 0, limit: int = 1000) -> Sequence[Part]:
        rows = await self._ledger.query(PARTS, upload_id=upload.id, after=after, limit=limit)
        return [part_of(row) for row in rows]

    async def begin_complete(
        self,
        bucket: Bucket,
        key: str,
        upload_id: str,
        listed: Listed,
        condition: WriteCondition | None = None,
    ) -> Completion:
        async def work(tx: ITransaction) -> Completion:
            await tx.soon(LOCK_UPLOAD, upload_id=upload_id)
            row = await tx.one(FIND, id=upload_id, bucket_id=bucket.id, key=key)
            if row is None:
                raise NoSuchUpload(upload_id)
            return await begin_complete(tx, upload_of(row), listed, condition, self._ledger.now_ms())

        return await self._ledger.transact(work)

    async def reopen(self, upload: Upload) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(REOPEN, id=upload.id)

        await self._ledger.transact(work)

    async def abort(self, bucket: Bucket, key: str, upload_id: str) -> Upload | None:
        """
        open -> aborted; see `IUploads`. The blob tells of `unclear` what parts left behind.
        """
        claim = Claim.by(self._ledger, "multipart_aborted")

        async def work(tx: ITransaction) -> Upload | None:
            await tx.soon(LOCK_UPLOAD, upload_id=upload_id)
            row = await tx.one(FIND, id=upload_id, bucket_id=bucket.id, key=key)
            upload = upload_of(row) if row is not None else None
            if upload is None or upload.state is UploadState.ABORTED:
                raise NoSuchUpload(upload_id)
            if upload.state is UploadState.COMPLETED:
                return None
            if upload.state is UploadState.COMPLETING:
                raise Conflict(f"upload {upload_id} is being completed")
            tally = Tally()
            unclear = await attempts.any_unclear(tx, upload_id)
            parts = await attempts.how_many(tx, upload_id)
            blob = await doom_pending(tx, tally, upload.blob.id, claim, unclear=unclear)
            await tally.write(tx)
            assert blob is not None  # it is pending for as long as its upload is open
            return evolve(upload, state=UploadState.ABORTED, blob=blob, dropped_parts=parts)

        return await attempt(self._ledger, work, claim.left)

    async def page(
        self,
        bucket: Bucket,
        lower: str,
        upper: str | None,
        limit: int,
        *,
        inclusive: bool,
        after_upload: str | None = None,
    ) -> Sequence[Upload]:
        uploads: list[Upload] = []
        if after_upload is not None:
            uploads, inclusive = await self._rest_of_key(bucket, lower, after_upload, limit), False
        if (left := limit - len(uploads)) > 0:
            between = {"lower": lower} if upper is None else {"lower": lower, "upper": upper}
            statement = PAGE[inclusive, upper is not None]
            rows = await self._ledger.query(statement, bucket_id=bucket.id, limit=left, **between)
            uploads += [upload_of(row) for row in rows]
        return uploads

    async def _rest_of_key(self, bucket: Bucket, key: str, after: str, limit: int) -> list[Upload]:
        """Return the uploads of a key begun after one of them; all of them, if that one has gone."""
        position = await self._ledger.query(POSITION, id=after, bucket_id=bucket.id, key=key)
        initiated_ms = position[0]["initiated_ms"] if position else -1
        rows = await self._ledger.query(
            REST_OF_KEY, bucket_id=bucket.id, key=key, initiated_ms=initiated_ms, id=after, limit=limit
        )
        return [upload_of(row) for row in rows]

    async def of_blob(self, blob: Blob) -> Upload | None:
        rows = await self._ledger.query(OF_BLOB, blob_id=blob.id)
        return upload_of(rows[0]) if rows else None

    async def expire(self, stale_before_ms: int, forget_before_ms: int) -> Sequence[Blob]:
        async def forget(tx: ITransaction) -> int:
            return await tx.run(FORGET_COMPLETED, before=forget_before_ms, limit=AT_ONCE)

        while await self._ledger.transact(forget) == AT_ONCE:
            pass
        # Last, and once: when something failed after it nobody would know of these claims.
        return await self._abort_stale(stale_before_ms)

    async def _abort_stale(self, before_ms: int) -> list[Blob]:
        claim = Claim.by(self._ledger, "multipart_stale")

        async def work(tx: ITransaction) -> list[Blob]:
            tally, doomed = Tally(), []
            stale = await tx.all(STALE, before=before_ms, limit=AT_ONCE)
            for row in stale or await tx.all(OF_DELETED_BUCKETS, limit=AT_ONCE):
                unclear = (
                    row["state"] == UploadState.COMPLETING
                    or row["backend_upload"] is None
                    or await attempts.any_unclear(tx, row["id"])
                )
                blob = await doom_pending(tx, tally, row["blob_id"], claim, unclear=unclear)
                if blob is not None:
                    doomed.append(blob)
            await tally.write(tx)
            return doomed

        return await attempt(self._ledger, work, claim.left)
