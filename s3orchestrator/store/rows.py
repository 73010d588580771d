"""Rows of the ledger as the records of `domain`; columns are read by position, for speed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from s3orchestrator.domain.records import (
    Blob,
    BlobState,
    Bucket,
    ListedVersion,
    Part,
    Upload,
    UploadState,
    Version,
)
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.partlist import read_parts

# Looking a state up costs a tenth of what calling its class does.
_BLOB_STATES = {state.value: state for state in BlobState}
_UPLOAD_STATES = {state.value: state for state in UploadState}

BUCKET = "id, name, created_ms, owner"


def bucket_of(row: Sequence[Any]) -> Bucket:
    """Read the columns of `BUCKET`."""
    return Bucket(*row)


def columns(table: str, names: str) -> str:
    """Return a list of columns with the table they are of."""
    return ", ".join(f"{table}.{name.strip()}" for name in names.split(","))


BLOB = (
    "id, backend, name, state, size, created_ms, bucket_id, key, etag, backend_version,"
    " is_plain, was_live, unclear, suspect, attempts, upload_id, multipart, reason"
)
_BLOB_WIDTH = BLOB.count(",") + 1


def blob_of(row: Sequence[Any], *, unclear: bool | None = None) -> Blob:
    """
    Read the columns of `BLOB`.

    `unclear` is what was known before a claim set the mark (L8).
    """
    (
        blob_id,
        backend,
        name,
        state,
        size,
        created_ms,
        bucket_id,
        key,
        etag,
        backend_version,
        is_plain,
        was_live,
        marked_unclear,
        suspect,
        attempts,
        upload_id,
        multipart,
        reason,
    ) = row
    return Blob(
        blob_id,
        backend,
        name,
        _BLOB_STATES[state],
        size,
        created_ms,
        bucket_id,
        key or "",
        etag,
        backend_version,
        bool(is_plain),
        bool(was_live),
        bool(marked_unclear) if unclear is None else unclear,
        bool(suspect),
        attempts,
        upload_id,
        bool(multipart),
        reason or "",
    )


# What differs between live blobs of one key, which is what reads need.
LIVE_BLOB = (
    "id, backend, name, size, created_ms, etag, backend_version, is_plain, suspect, upload_id, multipart"
)


def live_blob_of(bucket_id: int, key: str, row: Sequence[Any]) -> Blob:
    """Read the columns of `LIVE_BLOB` of a blob that is live."""
    (
        blob_id,
        backend,
        name,
        size,
        created_ms,
        etag,
        backend_version,
        is_plain,
        suspect,
        upload_id,
        multipart,
    ) = row
    return Blob(
        blob_id,
        backend,
        name,
        BlobState.LIVE,
        size,
        created_ms,
        bucket_id,
        key,
        etag,
        backend_version,
        bool(is_plain),
        True,
        False,
        bool(suspect),
        0,
        upload_id,
        bool(multipart),
    )


VERSION = (
    "id, version_id, is_latest, is_delete_marker, size, etag, modified_ms, metadata,"
    " checksum_algorithm, checksum_value, checksum_kind, parts, sha256"
)
VERSION_WIDTH = VERSION.count(",") + 1


def version_of(bucket_id: int, key: str, row: Sequence[Any], blobs: tuple[Blob, ...]) -> Version:
    """Read the columns of `VERSION`, which may be followed by others."""
    (
        row_id,
        version_id,
        is_latest,
        is_delete_marker,
        size,
        etag,
        modified_ms,
        metadata,
        algorithm,
        value,
        kind,
        parts,
        sha256,
    ) = row[:VERSION_WIDTH]
    return Version(
        row_id,
        bucket_id,
        key,
        version_id,
        bool(is_latest),
        bool(is_delete_marker),
        size,
        etag,
        modified_ms,
        _metadata_of(metadata),
        checksum_of(algorithm, value, kind) if algorithm is not None else None,
        read_parts(parts) if parts is not None else (),
        sha256,
        blobs,
    )


# Many objects share what is said about them, which is often no more than a content type.
_metadata_of = lru_cache(maxsize=4096)(ObjectMetadata.from_json)


def checksum_of(algorithm: str | None, value: str | None, kind: str | None) -> Checksum | None:
    """Read a checksum from its three columns."""
    if algorithm is None or value is None or kind is None:
        return None
    return Checksum(algorithm, value, kind)


LISTED = (
    "key, version_id, is_latest, is_delete_marker, size, etag, modified_ms, storage_class,"
    " checksum_algorithm, checksum_kind"
)


def listed_of(row: Sequence[Any]) -> ListedVersion:
    """Read the columns of `LISTED`."""
    key, version_id, is_latest, is_delete_marker, *rest = row
    return ListedVersion(key, version_id, bool(is_latest), bool(is_delete_marker), *rest)


UPLOAD = (
    "id, bucket_id, key, state, metadata, initiated_ms, backend_upload,"
    " checksum_algorithm, checksum_kind, owner, blob_id"
)
_UPLOAD_WIDTH = UPLOAD.count(",") + 1


def upload_of(row: Sequence[Any]) -> Upload:
    """
    Read the columns of `UPLOAD` and then those of `BLOB`.

    The blob of a completed upload may have gone; a name nobody can use stands for it then.
    """
    if row[_UPLOAD_WIDTH] is not None:
        blob = blob_of(row[_UPLOAD_WIDTH : _UPLOAD_WIDTH + _BLOB_WIDTH])
    else:
        blob = Blob(row[10], "", "", BlobState.RESTING, 0, row[5], row[1], row[2], upload_id=row[0])
    return Upload(
        row[0],
        row[1],
        row[2],
        _UPLOAD_STATES[row[3]],
        blob,
        _metadata_of(row[4]),
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
    )


PART = (
    "upload_id, number, attempt, size, etag, backend_etag, modified_ms,"
    " checksum_algorithm, checksum_value, checksum_kind"
)


def part_of(row: Sequence[Any]) -> Part:
    """Read the columns of `PART`."""
    checksum = checksum_of(row[7], row[8], row[9])
    return Part(row[0], row[1], row[2], row[3], row[4], row[5], row[6], checksum)
