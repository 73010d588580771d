"""Steps that several roles take with blobs inside their own transactions."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.store.operations import ILedger, Left
from s3orchestrator.store.rows import BLOB, blob_of

_DOOM = """
    UPDATE blobs
       SET state = 'doomed', version = NULL, unclear = TRUE, owner = :owner, operation = :operation,
           due_ms = :now_ms, doomed_ms = :now_ms, reason = :reason
"""
DOOM_PENDING = f"{_DOOM} WHERE id = :id AND state = 'pending' RETURNING {BLOB}"
DOOM_OF_VERSION = f"{_DOOM} WHERE version = :version AND state = 'live' RETURNING {BLOB}"

ABORT_UPLOAD_OF = """
    UPDATE uploads SET state = 'aborted', active_ms = :now_ms
     WHERE blob_id = :blob_id AND state IN ('open', 'completing')
"""
FORGET_UPLOAD_OF = "DELETE FROM uploads WHERE blob_id = :blob_id AND state = 'aborted'"
DROP_PARTS = "DELETE FROM parts WHERE upload_id = :upload_id"


@frozen
class Claim:
    """Who dooms, as part of which operation, when and why; `owner` None leaves it to cleaning up."""

    owner: int | None
    operation: int
    now_ms: int
    reason: str

    @classmethod
    def by(cls, ledger: ILedger, reason: str) -> Claim:
        """Return a claim for a new operation of this process."""
        return cls(ledger.operations.owner, ledger.operations.begin(), ledger.now_ms(), reason)

    def columns(self) -> dict[str, object]:
        """What is noted of it, by the names of the statements' parameters."""
        return {
            "owner": self.owner,
            "operation": self.operation,
            "now_ms": self.now_ms,
            "reason": self.reason,
        }

    @property
    def left(self) -> tuple[Left, int]:
        """What to note if nobody hears what was claimed."""
        return Left.CLAIM, self.operation


async def doom_pending(
    tx: ITransaction, tally: Tally, blob_id: int, claim: Claim, *, unclear: bool
) -> Blob | None:
    """
    pending -> doomed, with the upload it is of; None if it is not pending any more.

    The result tells of `unclear` what was known before this claim.
    """
    row = await tx.one(DOOM_PENDING, id=blob_id, **claim.columns())
    if row is None:
        return None
    blob = blob_of(row, unclear=unclear)
    move(tally, blob, Kind.RESERVED, Kind.ORPHAN)
    await end_upload(tx, blob, claim.now_ms)
    return blob


async def doom_version(tx: ITransaction, tally: Tally, version: int, claim: Claim) -> tuple[Blob, ...]:
    """live -> doomed for all blobs of a version that is being removed."""
    blobs = doomed_of(await tx.all(DOOM_OF_VERSION, version=version, **claim.columns()))
    for blob in blobs:
        move(tally, blob, Kind.LIVE, Kind.ORPHAN)
    return blobs


def doomed_of(rows: Sequence[Row]) -> tuple[Blob, ...]:
    """Read the blobs that a version had; of each it was clear until then what is on its backend."""
    return tuple([blob_of(row, unclear=False) for row in rows])


async def end_upload(tx: ITransaction, blob: Blob, now_ms: int) -> None:
    """Abort the upload of a blob that is pending no more; there is none for most blobs."""
    if blob.upload_id is not None:
        await tx.soon(ABORT_UPLOAD_OF, blob_id=blob.id, now_ms=now_ms)
        await tx.soon(DROP_PARTS, upload_id=blob.upload_id)


def move(tally: Tally, blob: Blob, before: Kind, after: Kind) -> None:
    """Note that all bytes of a blob count as another kind."""
    tally.move(blob.backend, blob.bucket_id, before, blob.size, after, blob.size)


async def drop(tx: ITransaction, tally: Tally, blob: Blob, before: Kind) -> None:
    """Account for a row that has been deleted; an aborted upload goes with its blob."""
    move(tally, blob, before, Kind.ABSENT)
    if blob.multipart:
        await tx.soon(FORGET_UPLOAD_OF, blob_id=blob.id)
