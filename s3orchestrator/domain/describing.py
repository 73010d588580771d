"""
What a blob says of itself on its backend.

The self-description travels as user metadata named `s3o`, so that a ledger can be rebuilt
from the backends, so that cleaning up never deletes what is not ours, and so that objects
can be read as they are while the ledger is away. Clients may use that name too; theirs is
escaped on the backend (the ledger keeps it as it was sent).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

from s3orchestrator.domain.naming import HIDDEN, TOKEN_LENGTH
from s3orchestrator.domain.records import Blob
from s3orchestrator.domain.stamping import SELF, Stamp, bound_of, read_checksum, write_checksum, write_stamp
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.metadata import DEFAULT_CONTENT_TYPE, ObjectMetadata

MAX_META = 2048  # S3's limit for all user metadata of an object
_ESCAPED = "s3o-"
# Ours as well: what clients call so is escaped and begins with "s3o-s3o".
_ETAG = "s3o-etag"
_CHECKSUM = "s3o-checksum"
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_COMPOSITE = re.compile(r"[0-9a-f]{32}-[0-9]{1,5}\Z")


@frozen
class Known:
    """What clients are (or will be) told of an object's bytes; an empty ETag is not known yet."""

    etag: str = ""
    checksum: Checksum | None = None


NOTHING_KNOWN = Known()


def describe(
    blob: Blob, ledger: str, metadata: ObjectMetadata, known: Known = NOTHING_KNOWN
) -> dict[str, str]:
    """
    Return the metadata to store with a blob: the client's, escaped, and our stamp.

    If they do not fit S3's limit the stamp comes first, then the standard headers, then the
    client's metadata. What was left out is in the ledger, and the stamp says that it is incomplete.
    """
    user, encoded = _escaped(metadata.user) if metadata.user else ({}, False)
    hides_key = blob.name.startswith(HIDDEN)
    bound = None if hides_key else bound_of(_plain_name_of(blob))
    for with_headers, with_user in ((True, True), (True, False), (False, False)):
        stamp = Stamp(
            ledger,
            blob.id,
            blob.created_ms,
            key=blob.key if hides_key else None,
            encoded=encoded and with_user,
            bound=bound,
            multipart=blob.multipart,
            complete=(with_user or not user) and (with_headers or not metadata.headers),
            etag=known.etag,
            checksum=known.checksum,
            headers=metadata.headers if with_headers else {},
            storage_class=metadata.storage_class,
        )
        meta = {**(user if with_user else {}), SELF: write_stamp(stamp)}
        if sum([len(name) + len(value) for name, value in meta.items()]) <= MAX_META:
            break
    return meta


def afterword(known: Known) -> dict[str, str]:
    """Return what is added to a description once the bytes are there, where a backend can do that."""
    meta = {}
    if known.etag:
        meta[_ETAG] = known.etag
    if known.checksum is not None:
        meta[_CHECKSUM] = write_checksum(known.checksum)
    return meta


def metadata_in(content_type: str, meta: Mapping[str, str], stamp: Stamp) -> ObjectMetadata:
    """Return what a client said about an object, as its backend tells it: all, if the stamp is complete."""
    user = {}
    for name, value in meta.items():
        if name == SELF or (name.startswith(_ESCAPED) and not name.startswith(_ESCAPED + SELF)):
            continue
        told = unquote_to_bytes(value).decode("latin-1") if stamp.encoded else value
        user[name.removeprefix(_ESCAPED)] = told
    return ObjectMetadata(
        content_type or DEFAULT_CONTENT_TYPE, dict(stamp.headers), user, stamp.storage_class
    )


def known_in(etag: str, meta: Mapping[str, str], stamp: Stamp, *, md5_etags: bool) -> Known:
    """
    Return what clients were told of the bytes; `etag` is the backend's own.

    That is the backend's own ETag where it is made as clients expect it, or what was added when
    the bytes were there, or what was foretold. It cannot be known of a streamed or multipart
    object on a service whose ETags are made in another way.
    """
    told = meta.get(_ETAG) or stamp.etag
    expected = _COMPOSITE if stamp.multipart else _MD5
    if md5_etags and expected.match(etag):
        # Two that are made in one way and differ: somebody has put other bytes below our description.
        told = "" if expected.match(told) and told != etag else etag
    try:
        checksum = read_checksum(meta.get(_CHECKSUM, ""))
    except (ValueError, LookupError):
        checksum = None
    return Known(told, checksum or stamp.checksum)


def _plain_name_of(blob: Blob) -> str:
    """`{bucket}/{key}`, from a name that shows it."""
    return blob.name if blob.plain else blob.name[: -1 - TOKEN_LENGTH]


def _escaped(user: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """`user` has latin-1-decoded values; the flag tells that they had to be encoded."""
    encoded = any(not _is_plain(value) for value in user.values())
    return {
        _escape(name): quote(value.encode("latin-1")) if encoded else value for name, value in user.items()
    }, encoded


def _escape(name: str) -> str:
    return _ESCAPED + name if name == SELF or name.startswith(_ESCAPED) else name


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()
