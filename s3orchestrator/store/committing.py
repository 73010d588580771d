"""Making a version current: the transaction that everything else leads to."""

from __future__ import annotations

from attrs import frozen

from s3orchestrator.domain.records import (
    NULL_VERSION,
    Blob,
    BlobState,
    Bucket,
    Committed,
    NewVersion,
    Version,
)
from s3orchestrator.errors import Conflict, NoSuchBucket
from s3orchestrator.interfaces import ITransaction, Row, Stored
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.completing import LOCK_UPLOAD, complete_upload
from s3orchestrator.store.counting import HOLD_BUCKET, Kind, Tally
from s3orchestrator.store.dooming import Claim, doom_version
from s3orchestrator.store.partlist import write_parts

LOCK_KEY = "$lock_key"

# The bucket's row comes even if the key has no version.
CURRENT = """
    SELECT k.deleted_ms, v.id, v.version_id, v.etag, v.modified_ms, v.is_delete_marker
      FROM buckets k
      LEFT JOIN versions v ON v.bucket_id = k.id AND v.key = :key AND v.is_latest
     WHERE k.id = :bucket_id
"""
NO_LONGER_LATEST = "UPDATE versions SET is_latest = FALSE WHERE id = :id"
DROP_VERSION = "DELETE FROM versions WHERE id = :id"
INSERT_VERSION = """
    INSERT INTO versions (bucket_id, key, version_id, is_latest, is_delete_marker, size, etag, modified_ms,
                          metadata, storage_class, checksum_algorithm, checksum_value, checksum_kind,
                          parts, sha256)
    VALUES (:bucket_id, :key, :version_id, TRUE, FALSE, :size, :etag, :modified_ms,
            :metadata, :storage_class, :algorithm, :value, :kind, :parts, :sha256)
"""
GO_LIVE = """
    UPDATE blobs
       SET state = 'live', size = :size, etag = :etag, backend_version = :backend_version,
           version = :version, was_live = TRUE, unclear = FALSE, owner = NULL, seen_ms = :now_ms
     WHERE id = :id AND state = 'pending'
"""
RESERVED = "SELECT size FROM blobs WHERE id = :id AND state = 'pending'"


@frozen
class Commit:
    """What is to become current: a pending blob, what its backend said, and what clients shall see."""

    bucket: Bucket
    blob: Blob
    stored: Stored
    new: NewVersion
    condition: WriteCondition | None = None

    def columns(self) -> dict[str, object]:
        """What is said about the version, by the names of `INSERT_VERSION`'s parameters."""
        new, checksum = self.new, self.new.checksum
        return {
            "size": new.size,
            "etag": new.etag,
            "metadata": new.metadata.to_json(),
            "storage_class": new.metadata.storage_class,
            "algorithm": checksum.algorithm if checksum else None,
            "value": checksum.value if checksum else None,
            "kind": checksum.kind if checksum else None,
            "parts": write_parts(new.parts) if new.parts else None,
            "sha256": new.sha256,
        }

    def version(self, row_id: int, modified_ms: int) -> Version:
        """What it has become under the number of its row."""
        new = self.new
        return Version(
            id=row_id,
            bucket_id=self.bucket.id,
            key=self.blob.key,
            version_id=NULL_VERSION,
            is_latest=True,
            is_delete_marker=False,
            size=new.size,
            etag=new.etag,
            modified_ms=modified_ms,
            metadata=new.metadata,
            checksum=new.checksum,
            parts=new.parts,
            sha256=new.sha256,
            blobs=(self._live(),),
        )

    def _live(self) -> Blob:
        blob, stored = self.blob, self.stored
        return Blob(
            id=blob.id,
            backend=blob.backend,
            name=blob.name,
            state=BlobState.LIVE,
            size=self.new.size,
            created_ms=blob.created_ms,
            bucket_id=blob.bucket_id,
            key=blob.key,
            etag=stored.etag,
            backend_version=stored.version_id,
            plain=blob.plain,
            was_live=True,
            unclear=False,
            upload_id=blob.upload_id,
            multipart=blob.multipart,
        )


async def commit(tx: ITransaction, tally: Tally, what: Commit, claim: Claim) -> Committed:
    """See `IVersions.commit`; the blobs it displaces are claimed by `claim`."""
    bucket, blob = what.bucket, what.blob
    await tx.soon(HOLD_BUCKET, bucket_id=bucket.id)
    await tx.soon(LOCK_KEY, bucket_id=bucket.id, key=blob.key)
    current = await tx.one(CURRENT, bucket_id=bucket.id, key=blob.key)
    if current is None or current["deleted_ms"] is not None:
        raise NoSuchBucket(bucket.name)
    if what.condition:
        what.condition.check(_visible_etag(current))
    displaced = await _make_room(tx, tally, current, claim)
    # Never back on one key, whatever the clock does: clients sync by it.
    modified_ms = max(claim.now_ms, (current["modified_ms"] or 0) + 1)
    row_id = await tx.insert(
        INSERT_VERSION,
        bucket_id=bucket.id,
        key=blob.key,
        version_id=NULL_VERSION,
        modified_ms=modified_ms,
        **what.columns(),
    )
    await _go_live(tx, tally, what, row_id, claim.now_ms)
    version = what.version(row_id, modified_ms)
    if blob.upload_id is not None:
        await complete_upload(tx, blob, version)
    return Committed(version, displaced)


async def _make_room(tx: ITransaction, tally: Tally, current: Row, claim: Claim) -> tuple[Blob, ...]:
    """Take the place of the latest version: without versioning it goes, else it becomes an older one."""
    if current["id"] is None:
        return ()
    if current["version_id"] != NULL_VERSION:
        await tx.soon(NO_LONGER_LATEST, id=current["id"])
        return ()
    displaced = await doom_version(tx, tally, current["id"], claim)
    await tx.soon(DROP_VERSION, id=current["id"])
    return displaced


async def _go_live(tx: ITransaction, tally: Tally, what: Commit, version: int, now_ms: int) -> None:
    """pending -> live; what was reserved beyond the size is given back."""
    blob, stored, size = what.blob, what.stored, what.new.size
    # Only an upload's blob changes its size while it is pending.
    reserved = blob.size if blob.upload_id is None else await _reserved(tx, blob)
    if size > reserved:
        raise ValueError(f"{size} bytes were stored where {reserved} were reserved")
    moved = await tx.run(
        GO_LIVE,
        id=blob.id,
        size=size,
        etag=stored.etag,
        backend_version=stored.version_id,
        version=version,
        now_ms=now_ms,
    )
    if not moved:
        raise Conflict(f"{blob.name} is not pending any more")
    tally.move(blob.backend, blob.bucket_id, Kind.RESERVED, reserved, Kind.LIVE, size)


async def _reserved(tx: ITransaction, blob: Blob) -> int:
    await tx.soon(LOCK_UPLOAD, upload_id=blob.upload_id)
    row = await tx.one(RESERVED, id=blob.id)
    if row is None:
        raise Conflict(f"{blob.name} is not pending any more")
    return int(row[0])


def _visible_etag(current: Row) -> str | None:
    """Return the ETag a write condition is about: a delete marker is as good as nothing."""
    return None if current["id"] is None or current["is_delete_marker"] else current["etag"]
