"""
The stamp: one line of ASCII on each blob that says whose it is, and what the rest of it means.

Fields are separated by `;`, trailing empty ones left out:

    2 ; ledger ; blob id ; created ; flags ; name ; ETag ; checksum ; headers

Flags: `e` user metadata is encoded, `m` made from parts, `i` incomplete. `name` begins with `.` for
the digest that binds the blob to the key its name shows, with `q` (percent-encoded) or `b` (base64)
for a key its name does not show. The first format had no more than five fields and a key.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote, unquote, unquote_to_bytes

from attrs import Factory, frozen

from s3orchestrator.domain.naming import HIDDEN, plain_name
from s3orchestrator.domain.records import Blob
from s3orchestrator.protocol.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, Checksum
from s3orchestrator.protocol.metadata import STANDARD

SELF = "s3o"

_FIRST, _SECOND = "1", "2"
_FIELDS = 9
# What binds a blob to its key is the first hundred bits of a digest, in base32: two digits at a time,
# for the library's own way costs as much as the rest of the stamp.
_BOUND_BYTES, _BOUND_SHIFT, _BOUND_SHIFTS = 13, 4, range(90, -1, -10)
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BASE32_PAIRS = tuple(high + low for high in _BASE32 for low in _BASE32)
_SAFE = "/=+?@$&!*'()"  # in values; not our own separators
_KINDS = {"F": FULL_OBJECT, "C": COMPOSITE}
_LETTERS = {
    "Cache-Control": "c",
    "Content-Disposition": "d",
    "Content-Encoding": "e",
    "Content-Language": "l",
    "Expires": "x",
}
_HEADERS = {letter: name for name, letter in _LETTERS.items()}
_CLASS = "s"


@frozen
class Stamp:
    """
    Which ledger wrote an object, as which blob, when; and what else was known by then.

    `key` is given only where the object's name does not show it, `bound` only where it does.
    `encoded`: the values of the user metadata beside it are percent-encoded. `complete`:
    nothing that the client said about the object was left out.
    """

    ledger: str
    blob_id: int
    created_ms: int
    key: str | None = None
    encoded: bool = False
    bound: str | None = None
    multipart: bool = False
    complete: bool = True
    etag: str = ""
    checksum: Checksum | None = None
    headers: Mapping[str, str] = Factory(dict)
    storage_class: str = STANDARD

    def is_of(self, blob: Blob, ledger: str) -> bool:
        """Tell whether exactly this blob's write made the object."""
        return (self.ledger, self.blob_id, self.created_ms) == (ledger, blob.id, blob.created_ms)

    def is_for(self, bucket: str, key: str, name: str) -> bool:
        """
        Tell whether an object called `name`, one of the names the key may have, was written for the key.

        Keys that look like another key's unique names are just keys, and a backend may hold a
        name as another: so the name alone proves nothing, except where it is a hash.
        """
        if name.startswith(HIDDEN):
            return self.key == key
        if self.bound is None:
            return self.key is None and not self.complete  # the first format: nobody can tell
        return self.bound == bound_of(plain_name(bucket, key))


def bound_of(plain: str) -> str:
    """Return what binds a blob to its bucket and key, given as a plain name."""
    number = int.from_bytes(sha256(plain.encode()).digest()[:_BOUND_BYTES], "big") >> _BOUND_SHIFT
    return "".join([_BASE32_PAIRS[(number >> shift) & 1023] for shift in _BOUND_SHIFTS])


def write_stamp(stamp: Stamp) -> str:
    """Return the value of the `s3o` metadata: ASCII, no spaces."""
    flags = (
        ("e" if stamp.encoded else "") + ("m" if stamp.multipart else "") + ("" if stamp.complete else "i")
    )
    etag = stamp.etag if stamp.etag.isalnum() and stamp.etag.isascii() else quote(stamp.etag, safe=_SAFE)
    fields = (
        _SECOND,
        stamp.ledger,
        str(stamp.blob_id),
        str(stamp.created_ms),
        flags,
        _written_name(stamp),
        etag,
        write_checksum(stamp.checksum),
        _written_headers(stamp),
    )
    return ";".join(fields).rstrip(";")


def _written_name(stamp: Stamp) -> str:
    if stamp.key is None:
        return "" if stamp.bound is None else f".{stamp.bound}"
    quoted = quote(stamp.key, safe=_SAFE)
    encoded = urlsafe_b64encode(stamp.key.encode()).decode("ascii").rstrip("=")
    return f"q{quoted}" if len(quoted) <= len(encoded) else f"b{encoded}"


def write_checksum(checksum: Checksum | None) -> str:
    """Return a checksum as one word, empty for none."""
    return "" if checksum is None else f"{checksum.algorithm}:{checksum.kind[0]}:{checksum.value}"


def _written_headers(stamp: Stamp) -> str:
    if not stamp.headers and stamp.storage_class == STANDARD:
        return ""
    values = {_LETTERS[name]: value for name, value in stamp.headers.items()}
    if stamp.storage_class != STANDARD:
        values[_CLASS] = stamp.storage_class
    return ",".join(letter + quote(value.encode("latin-1"), safe=_SAFE) for letter, value in values.items())


def read_stamp(meta: Mapping[str, str]) -> Stamp | None:
    """Return the stamp in an object's metadata, None where there is none we understand."""
    fields = meta.get(SELF, "").split(";")
    try:
        if fields[0] == _FIRST and len(fields) in (5, 6):
            return _read_first(fields)
        if fields[0] == _SECOND and 4 <= len(fields) <= _FIELDS:
            return _read_second(fields + [""] * (_FIELDS - len(fields)))
    except (ValueError, LookupError):
        pass
    return None


def _read_first(fields: list[str]) -> Stamp:
    """It said nothing of the standard headers, so that it is incomplete whatever it says."""
    key = unquote(fields[5]) if len(fields) == 6 else None
    return Stamp(fields[1], int(fields[2]), int(fields[3]), key, fields[4] == "e", complete=False)


def _read_second(fields: list[str]) -> Stamp:
    flags = fields[4]
    headers, storage_class = _read_headers(fields[8])
    return Stamp(
        fields[1],
        int(fields[2]),
        int(fields[3]),
        key=_read_key(fields[5]),
        encoded="e" in flags,
        bound=fields[5][1:] if fields[5].startswith(".") else None,
        multipart="m" in flags,
        complete="i" not in flags,
        etag=unquote(fields[6]),
        checksum=read_checksum(fields[7]),
        headers=headers,
        storage_class=storage_class,
    )


def _read_key(text: str) -> str | None:
    if text.startswith("q"):
        return unquote(text[1:], errors="strict")
    if text.startswith("b"):
        return urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4)).decode()
    return None


def read_checksum(text: str) -> Checksum | None:
    """
    Return what `write_checksum` was given.

    :raises ValueError: it is something else (or LookupError).
    """
    if not text:
        return None
    algorithm, kind, value = text.split(":")
    return Checksum(ALGORITHMS[algorithm].name, value, _KINDS[kind])


def _read_headers(text: str) -> tuple[dict[str, str], str]:
    values = {item[0]: unquote_to_bytes(item[1:]).decode("latin-1") for item in text.split(",") if item}
    storage_class = values.pop(_CLASS, STANDARD)
    return {_HEADERS[letter]: value for letter, value in values.items()}, storage_class
