"""
What operators are shown of the ledger, as frozen values.

Times are ledger time in milliseconds since the epoch, sizes are bytes. There is no key material.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Copy:
    """
    A live blob of an object, with what is worth knowing of the version it belongs to.

    `name` is what it is called on its backend, `size` what is stored there. `key_id` is that of the
    key it is encrypted with, None where it is not.
    """

    backend: str
    name: str
    size: int
    created_ms: int
    suspect: bool
    version_id: str
    is_latest: bool
    object_size: int
    etag: str
    modified_ms: int
    sha256: str | None = None
    key_id: str | None = None


@frozen
class Unwanted:
    """
    A blob that waits to be deleted, or that nobody tries to delete any more.

    `due_ms` is when it is tried next, None for a dead one. `claimed` tells that somebody is at it,
    `last_error` what became of the last attempt that failed.
    """

    id: int
    backend: str
    name: str
    state: str
    size: int
    reason: str
    attempts: int
    doomed_ms: int
    due_ms: int | None
    claimed: bool
    last_error: str = ""
