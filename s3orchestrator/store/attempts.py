"""
Attempts at parts: each is another row, and its bytes stay reserved while they may be there.

A part that is sent again replaces its predecessor on the backend, but only if the
predecessor had ended before: of two that overlapped nobody knows which one the backend
kept. Begin and end are counted together per part, so that overlapping can be seen.
"""

from __future__ import annotations

from s3orchestrator.domain.records import Part, Upload, UploadState
from s3orchestrator.errors import InsufficientStorage, NoSuchUpload
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.completing import LOCK_UPLOAD
from s3orchestrator.store.counting import HOLD_BACKEND, HOLD_BUCKET, Kind, Tally, take
from s3orchestrator.store.rows import BLOB, blob_of

LOOK = """
    SELECT u.state,
           EXISTS (SELECT 1 FROM backend_guards WHERE backend = :backend) AS limited,
           EXISTS (SELECT 1 FROM bucket_guards WHERE bucket_id = :bucket_id) AS bucket_limited
      FROM uploads u WHERE u.id = :upload_id
"""
STATE = "SELECT state FROM uploads WHERE id = :upload_id"
TOUCH = "UPDATE uploads SET active_ms = :now_ms WHERE id = :upload_id"

BEGIN = """
    INSERT INTO parts (upload_id, number, attempt, state, size)
    SELECT :upload_id, :number, 1 + coalesce(max($greatest(attempt, coalesce(ended, 0))), 0), 'sending', :size
      FROM parts WHERE upload_id = :upload_id AND number = :number
    RETURNING attempt
"""
COUNTS_NO_MORE = (
    "UPDATE parts SET counts = FALSE WHERE upload_id = :upload_id AND number = :number AND counts"
)
END = """
    UPDATE parts
       SET state = 'stored', counts = TRUE, etag = :etag, backend_etag = :backend_etag,
           modified_ms = :modified_ms, checksum_algorithm = :algorithm, checksum_value = :value,
           checksum_kind = :kind,
           ended = (SELECT 1 + max($greatest(attempt, coalesce(ended, 0))) FROM parts
                     WHERE upload_id = :upload_id AND number = :number)
     WHERE upload_id = :upload_id AND number = :number AND attempt = :attempt AND state <> 'stored'
"""
REPLACED = """
    DELETE FROM parts
     WHERE upload_id = :upload_id AND number = :number AND state = 'stored' AND ended < :attempt
    RETURNING size
"""
UNCLEAR = """
    UPDATE parts SET state = 'unclear'
     WHERE upload_id = :upload_id AND number = :number AND attempt = :attempt AND state = 'sending'
"""
FAILED = """
    DELETE FROM parts
     WHERE upload_id = :upload_id AND number = :number AND attempt = :attempt AND state <> 'stored'
    RETURNING size
"""
HOW_MANY = "SELECT count(*) AS parts FROM parts WHERE upload_id = :upload_id AND counts"
ANY_UNCLEAR = "SELECT 1 FROM parts WHERE upload_id = :upload_id AND state <> 'stored' LIMIT 1"

RESIZE = f"""
    UPDATE blobs SET size = size + :change WHERE id = :id AND state = 'pending'
    RETURNING {BLOB}
"""
BLOB_OF = "SELECT blob_id FROM uploads WHERE id = :upload_id"


async def begin(tx: ITransaction, upload: Upload, number: int, size: int, now_ms: int) -> Part:
    """Reserve another attempt; see `IUploads.begin_part`."""
    blob = upload.blob
    await tx.soon(HOLD_BUCKET, bucket_id=upload.bucket_id)
    await tx.soon(HOLD_BACKEND, backend=blob.backend)
    await tx.soon(LOCK_UPLOAD, upload_id=upload.id)
    look = await tx.one(LOOK, upload_id=upload.id, backend=blob.backend, bucket_id=upload.bucket_id)
    if look is None or look["state"] != UploadState.OPEN:
        raise NoSuchUpload(upload.id)
    if not await take(
        tx,
        blob.backend,
        upload.bucket_id,
        size,
        limited=look["limited"],
        bucket_limited=look["bucket_limited"],
        room=size,
    ):
        raise InsufficientStorage(f"{blob.backend} has no room for {size} bytes")
    row = await tx.one(BEGIN, upload_id=upload.id, number=number, size=size)
    assert row is not None
    await tx.soon(TOUCH, upload_id=upload.id, now_ms=now_ms)
    await _resize(tx, blob.id, size)
    return Part(upload.id, number, row["attempt"], size)


async def end(tx: ITransaction, part: Part) -> None:
    """
    Record the answer; the attempt recorded last counts.

    :raises NoSuchUpload: its upload is neither open nor completing, or the attempt has been given up.
    """
    await tx.soon(LOCK_UPLOAD, upload_id=part.upload_id)
    upload = await tx.one(STATE, upload_id=part.upload_id)
    if upload is None or upload["state"] not in (UploadState.OPEN, UploadState.COMPLETING):
        raise NoSuchUpload(part.upload_id)
    checksum = part.checksum
    await tx.soon(COUNTS_NO_MORE, upload_id=part.upload_id, number=part.number)
    recorded = await tx.run(
        END,
        upload_id=part.upload_id,
        number=part.number,
        attempt=part.attempt,
        etag=part.etag,
        backend_etag=part.backend_etag,
        modified_ms=part.modified_ms,
        algorithm=checksum.algorithm if checksum else None,
        value=checksum.value if checksum else None,
        kind=checksum.kind if checksum else None,
    )
    if not recorded:
        raise NoSuchUpload(part.upload_id)
    await tx.soon(TOUCH, upload_id=part.upload_id, now_ms=part.modified_ms)
    if upload["state"] == UploadState.OPEN:
        # While it is completing, what the list may name stays reserved.
        replaced = await tx.all(REPLACED, upload_id=part.upload_id, number=part.number, attempt=part.attempt)
        await _release(tx, part.upload_id, sum(row["size"] for row in replaced))


async def fail(tx: ITransaction, part: Part, *, unclear: bool) -> None:
    """Record that an attempt failed; an upload that has ended meanwhile has taken it along."""
    attempt = {"upload_id": part.upload_id, "number": part.number, "attempt": part.attempt}
    if unclear:
        await tx.soon(UNCLEAR, **attempt)
        return
    await tx.soon(LOCK_UPLOAD, upload_id=part.upload_id)
    failed = await tx.all(FAILED, **attempt)
    await _release(tx, part.upload_id, sum(row["size"] for row in failed))


async def how_many(tx: ITransaction, upload_id: str) -> int:
    """Return how many parts count."""
    row = await tx.one(HOW_MANY, upload_id=upload_id)
    assert row is not None
    number: int = row["parts"]
    return number


async def any_unclear(tx: ITransaction, upload_id: str) -> bool:
    """Tell whether an attempt may still reach the backend."""
    return await tx.one(ANY_UNCLEAR, upload_id=upload_id) is not None


async def _release(tx: ITransaction, upload_id: str, size: int) -> None:
    if size:
        row = await tx.one(BLOB_OF, upload_id=upload_id)
        assert row is not None
        await _resize(tx, row["blob_id"], -size)


async def _resize(tx: ITransaction, blob_id: int, change: int) -> None:
    """Let the pending blob of an upload grow or shrink."""
    row = await tx.one(RESIZE, id=blob_id, change=change)
    assert row is not None  # it is pending for as long as its upload has not ended
    blob = blob_of(row)
    tally = Tally()
    tally.move(blob.backend, blob.bucket_id, Kind.RESERVED, blob.size - change, Kind.RESERVED, blob.size)
    await tally.write(tx)
