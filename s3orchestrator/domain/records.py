"""
The ledger's rows as frozen values.

A version is what a client sees, a blob is bytes on one backend. Times are ledger time in
milliseconds since the epoch, sizes are bytes, ETags carry no quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from attrs import field, frozen

from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.values import value

NULL_VERSION = "null"  # S3's id for the version of a bucket without versioning


class BlobState(StrEnum):
    """Where a blob is in its life; see docs/design/ledger.rst."""

    PENDING = "pending"
    LIVE = "live"
    DOOMED = "doomed"
    RESTING = "resting"
    DEAD = "dead"


class UploadState(StrEnum):
    """Where a multipart upload is in its life."""

    OPEN = "open"
    COMPLETING = "completing"
    COMPLETED = "completed"
    ABORTED = "aborted"


@frozen
class Bucket:
    """A namespace of keys. `owner` is a user's name, or None for a bucket of the configuration file."""

    id: int
    name: str
    created_ms: int
    owner: str | None = None


@value
class Blob:
    """
    One physical object on one backend.

    `size` is what is reserved while pending, what is stored while live. `plain` tells
    that the name is `{bucket}/{key}`. `was_live` is False for one that never belonged to a
    version: then a plain name is deleted only after a HEAD showed this blob's stamp.
    `unclear`: a write or delete may have been sent and no clear answer is recorded (L8).
    `reason` is why it was doomed.
    """

    id: int
    backend: str
    name: str
    state: BlobState
    size: int
    created_ms: int
    bucket_id: int | None = None
    key: str = ""
    etag: str = ""
    backend_version: str | None = None
    plain: bool = False
    was_live: bool = False
    unclear: bool = True
    suspect: bool = False
    attempts: int = 0
    upload_id: str | None = None
    multipart: bool = False
    reason: str = ""


@frozen
class PartInfo:
    """A part as GetObjectAttributes and `partNumber` reads need it after completion."""

    number: int
    size: int
    checksum: Checksum | None = None


@value
class NewVersion:
    """What a commit makes visible; identity and time are given by the ledger."""

    size: int
    etag: str
    metadata: ObjectMetadata
    checksum: Checksum | None = None
    parts: tuple[PartInfo, ...] = ()
    sha256: str | None = None


@value
class Version:
    """
    One version of a key, with the live blobs that hold its bytes.

    `parts_known` is False for one that was made from parts, found without the ledger: only
    that knows which.
    """

    id: int
    bucket_id: int
    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str
    modified_ms: int
    metadata: ObjectMetadata
    checksum: Checksum | None = None
    parts: Sequence[PartInfo] = ()
    sha256: str | None = None
    blobs: tuple[Blob, ...] = ()
    parts_known: bool = True

    @property
    def is_hearsay(self) -> bool:
        """Tell whether it was found on a backend, without the ledger."""
        return self.id < 0


class ListedVersion(NamedTuple):
    """
    A version as a listing shows it; no blobs, no metadata.

    A tuple because a page has a thousand of them, and attrs takes thrice as long to freeze one.
    """

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str
    modified_ms: int
    storage_class: str = "STANDARD"
    checksum_algorithm: str | None = None
    checksum_kind: str | None = None


@value
class Committed:
    """A version that is now current, and the blobs it displaced: doomed, and claimed by the caller."""

    version: Version
    displaced: tuple[Blob, ...]


@frozen
class Removed:
    """
    The outcome of one delete.

    `version_id` is the version that went, None when there was none. `doomed` is claimed
    by the caller. `error` is set instead for an entry of a batch that was refused.
    """

    key: str
    version_id: str | None = None
    was_delete_marker: bool = False
    doomed: tuple[Blob, ...] = ()
    error: Exception | None = None


@frozen
class Upload:
    """
    A multipart upload. `backend_upload` is the backend's own id, None until it has answered.

    Of one that has just been aborted, `dropped_parts` says how many counted until then.
    """

    id: str
    bucket_id: int
    key: str
    state: UploadState
    blob: Blob
    metadata: ObjectMetadata
    initiated_ms: int
    backend_upload: str | None = None
    checksum_algorithm: str | None = None
    checksum_kind: str | None = None
    owner: str = ""
    dropped_parts: int = 0


@frozen
class Part:
    """
    One attempt at one part. `attempt` tells attempts at the same number apart.

    `etag` is what the client was told, `backend_etag` what the backend answered.
    """

    upload_id: str
    number: int
    attempt: int
    size: int
    etag: str = ""
    backend_etag: str = ""
    modified_ms: int = 0
    checksum: Checksum | None = None


@frozen
class Completion:
    """
    What a Complete in progress has fixed.

    `done` is set when the upload had been completed before with the same list: the same
    answer is due and nothing is to be sent.
    """

    upload: Upload
    parts: tuple[Part, ...]
    size: int
    done: Version | None = None


@frozen
class Usage:
    """Bytes counted against one backend. `limit` is None where there is none."""

    backend: str
    live: int = 0
    reserved: int = 0
    orphan: int = 0
    limit: int | None = None

    @property
    def taken(self) -> int:
        """Everything that takes room."""
        return self.live + self.reserved + self.orphan


@frozen
class Inventory:
    """How much a backend holds: live objects, and multipart uploads in progress."""

    objects: int = 0
    uploads: int = 0


@frozen
class Backlog:
    """How many blobs are being written, wait to be deleted, or have been given up."""

    pending: int = 0
    doomed: int = 0
    dead: int = 0


@frozen
class Finding:
    """Something `fsck` found. `repairable` tells that `--repair` mends it without losing data."""

    rule: str
    subject: str
    message: str
    repairable: bool = field(default=False)
