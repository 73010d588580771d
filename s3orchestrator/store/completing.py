"""
Complete: fixing the list, and answering the same Complete in the same way again.

What was listed and what was answered is kept as text in the upload's row: nobody ever
looks inside but us.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from s3orchestrator.domain.records import Blob, Completion, Part, Upload, UploadState, Version
from s3orchestrator.errors import Conflict, InvalidPart, NoSuchUpload, PartTooSmall
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.dooming import DROP_PARTS
from s3orchestrator.store.partlist import read_parts, write_parts
from s3orchestrator.store.rows import PART, part_of

MIN_PART = 5 << 20  # S3's own limit for all parts but the last

# Everything that an upload's parts and its end do to each other happens under this.
LOCK_UPLOAD = "$lock_upload"

FIXED = "SELECT listed, result FROM uploads WHERE id = :id"
CURRENT_ETAG = """
    SELECT etag FROM versions
     WHERE bucket_id = :bucket_id AND key = :key AND is_latest AND NOT is_delete_marker
"""
# Those that count come last, and so win over others of the same ETag.
STORED = f"""
    SELECT {PART} FROM parts WHERE upload_id = :upload_id AND state = 'stored'
     ORDER BY number, counts, attempt
"""
FIX = """
    UPDATE uploads SET state = 'completing', listed = :listed, active_ms = :now_ms
     WHERE id = :id AND state = 'open'
"""
COMPLETED = """
    UPDATE uploads SET state = 'completed', active_ms = :now_ms, result = :result
     WHERE id = :id AND state = 'completing'
"""

Listed = Sequence[tuple[int, str, Checksum | None]]


async def begin_complete(
    tx: ITransaction, upload: Upload, listed: Listed, condition: WriteCondition | None, now_ms: int
) -> Completion:
    """See `IUploads.begin_complete`."""
    if upload.state is UploadState.ABORTED:
        raise NoSuchUpload(upload.id)
    if upload.state is not UploadState.OPEN:
        return await _repeated(tx, upload, listed)
    if condition:
        row = await tx.one(CURRENT_ETAG, bucket_id=upload.bucket_id, key=upload.key)
        condition.check(row["etag"] if row is not None else None)
    stored = [part_of(row) for row in await tx.all(STORED, upload_id=upload.id)]
    parts = _chosen(stored, listed)
    if not await tx.run(FIX, id=upload.id, listed=write_fixed(listed, parts), now_ms=now_ms):
        raise Conflict(f"upload {upload.id} is not open any more")
    fixed = evolve(upload, state=UploadState.COMPLETING)
    return Completion(fixed, parts, sum(part.size for part in parts))


async def _repeated(tx: ITransaction, upload: Upload, listed: Listed) -> Completion:
    row = await tx.one(FIXED, id=upload.id)
    assert row is not None
    if not is_same_list(row["listed"], listed):
        if upload.state is UploadState.COMPLETED:
            raise NoSuchUpload(upload.id)
        raise Conflict(f"upload {upload.id} is being completed with other parts")
    parts = read_fixed(row["listed"], upload.id)
    done = read_result(row["result"], upload) if upload.state is UploadState.COMPLETED else None
    return Completion(upload, parts, sum(part.size for part in parts), done)


def _chosen(stored: Sequence[Part], listed: Listed) -> tuple[Part, ...]:
    """
    Return the attempts a client listed.

    :raises InvalidPart: there is none of that number, ETag and checksum.
    :raises PartTooSmall: one that is not the last is under S3's minimum.
    """
    by_etag = {(part.number, part.etag): part for part in stored}
    parts = []
    for number, etag, checksum in listed:
        part = by_etag.get((number, etag))
        if part is None or not _agree(checksum, part.checksum):
            raise InvalidPart(number, etag)
        parts.append(part)
    for part in parts[:-1]:
        if part.size < MIN_PART:
            raise PartTooSmall(part.number, part.size, part.etag)
    return tuple(parts)


def _agree(listed: Checksum | None, stored: Checksum | None) -> bool:
    if listed is None:
        return True
    return stored is not None and (listed.algorithm, listed.value) == (stored.algorithm, stored.value)


async def complete_upload(tx: ITransaction, blob: Blob, version: Version) -> None:
    """
    completing -> completed, together with the commit of its blob.

    :raises Conflict: the upload is not completing any more.
    """
    moved = await tx.run(
        COMPLETED, id=blob.upload_id, now_ms=version.modified_ms, result=write_result(version)
    )
    if not moved:
        raise Conflict(f"upload {blob.upload_id} is not being completed")
    await tx.soon(DROP_PARTS, upload_id=blob.upload_id)


def write_result(version: Version) -> str:
    """Return a version as text, without its blobs and without what the upload knows."""
    return _json(
        {
            "id": version.id,
            "version_id": version.version_id,
            "size": version.size,
            "etag": version.etag,
            "modified_ms": version.modified_ms,
            "checksum": _checksum(version.checksum),
            "parts": write_parts(version.parts),
            "sha256": version.sha256,
        }
    )


def read_result(text: str, upload: Upload) -> Version:
    """Return the version that completing `upload` made; it may have been replaced since."""
    result = json.loads(text)
    return Version(
        id=result["id"],
        bucket_id=upload.bucket_id,
        key=upload.key,
        version_id=result["version_id"],
        is_latest=True,
        is_delete_marker=False,
        size=result["size"],
        etag=result["etag"],
        modified_ms=result["modified_ms"],
        metadata=upload.metadata,
        checksum=Checksum(*result["checksum"]) if result["checksum"] else None,
        parts=read_parts(result["parts"]),
        sha256=result["sha256"],
        blobs=(upload.blob,),
    )


def write_fixed(listed: Listed, parts: Sequence[Part]) -> str:
    """Return what a client listed and the parts it meant, as text."""
    return _json(
        {
            "listed": [[number, etag, _checksum(checksum)] for number, etag, checksum in listed],
            "parts": [
                [
                    part.attempt,
                    part.size,
                    part.etag,
                    part.backend_etag,
                    part.modified_ms,
                    _checksum(part.checksum),
                ]
                for part in parts
            ],
        }
    )


def is_same_list(text: str, listed: Listed) -> bool:
    """Tell whether a client lists again what was fixed."""
    fixed: list[Any] = json.loads(text)["listed"]
    return fixed == [[number, etag, _checksum(checksum)] for number, etag, checksum in listed]


def read_fixed(text: str, upload_id: str) -> tuple[Part, ...]:
    """Return the parts that were fixed."""
    fixed = json.loads(text)
    parts = []
    for (number, _, _), told in zip(fixed["listed"], fixed["parts"], strict=True):
        attempt, size, etag, backend_etag, modified_ms, checksum = told
        known = Checksum(*checksum) if checksum else None
        parts.append(Part(upload_id, number, attempt, size, etag, backend_etag, modified_ms, known))
    return tuple(parts)


def _checksum(checksum: Checksum | None) -> list[str] | None:
    return [checksum.algorithm, checksum.value, checksum.kind] if checksum else None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
