"""
What a blob says of itself on its backend.

The self-description travels as user metadata named `s3o`, so that a ledger can be rebuilt
from the backends and so that cleaning up never deletes what is not ours. Clients may use
that name too; theirs is escaped on the backend (the ledger keeps it as it was sent).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from attrs import frozen

from s3orchestrator.domain.records import Blob

SELF = "s3o"
_ESCAPED = "s3o-"
_FORMAT = "1"
MAX_META = 2048  # S3's limit for all user metadata of an object


@frozen
class Stamp:
    """
    Which ledger wrote an object, as which blob, when.

    `key` is given only where the object's name does not show it; `encoded` tells that the
    values of the user metadata beside it are percent-encoded.
    """

    ledger: str
    blob_id: int
    created_ms: int
    key: str | None = None
    encoded: bool = False

    def is_of(self, blob: Blob, ledger: str) -> bool:
        """Tell whether exactly this blob's write made the object."""
        return (self.ledger, self.blob_id, self.created_ms) == (ledger, blob.id, blob.created_ms)


def write_stamp(stamp: Stamp) -> str:
    """Return the value of the `s3o` metadata: ASCII, no spaces."""
    fields = [_FORMAT, stamp.ledger, str(stamp.blob_id), str(stamp.created_ms), "e" if stamp.encoded else ""]
    if stamp.key is not None:
        fields.append(quote(stamp.key, safe="/"))
    return ";".join(fields)


def read_stamp(meta: Mapping[str, str]) -> Stamp | None:
    """Return the stamp in an object's metadata, None where there is none we understand."""
    fields = meta.get(SELF, "").split(";")
    if len(fields) not in (5, 6) or fields[0] != _FORMAT:
        return None
    try:
        blob_id, created_ms = int(fields[2]), int(fields[3])
    except ValueError:
        return None
    key = unquote(fields[5]) if len(fields) == 6 else None
    return Stamp(fields[1], blob_id, created_ms, key, fields[4] == "e")


def describe(blob: Blob, ledger: str, user: Mapping[str, str], *, shows_key: bool) -> dict[str, str]:
    """
    Return the metadata to store with a blob: the client's, escaped, and our stamp.

    `user` has latin-1-decoded values. If both do not fit S3's limit, the stamp stays and
    the client's metadata is left out: the ledger has it.
    """
    encoded = any(not _is_plain(value) for value in user.values())
    meta = {
        _escape(name): quote(value.encode("latin-1")) if encoded else value for name, value in user.items()
    }
    key = None if shows_key else blob.key
    value = write_stamp(Stamp(ledger, blob.id, blob.created_ms, key, encoded))
    if sum(len(name) + len(text) for name, text in meta.items()) + len(SELF) + len(value) > MAX_META:
        return {SELF: write_stamp(Stamp(ledger, blob.id, blob.created_ms, key))}
    return {**meta, SELF: value}


def _escape(name: str) -> str:
    return _ESCAPED + name if name == SELF or name.startswith(_ESCAPED) else name


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()
