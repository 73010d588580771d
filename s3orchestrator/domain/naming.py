"""
What blobs are called on their backends.

Plain names can be read without us; the others are for names that are taken, too long, or
not held as they are. See "Names on a backend" in docs/design/ledger.rst.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256

NAME_LIMIT = 1024  # UTF-8 bytes; S3's limit for a key
ENTROPY = 10  # random bytes in a token
HIDDEN = "~s3o/"  # no bucket's name begins with "~"
PROBE = f"{HIDDEN}probe~"
TOKEN_LENGTH = 26

# XML cannot carry these, or not all of them, so no listing can: services refuse such names, or lose them.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
_TIME_BYTES = 6  # milliseconds; enough until the year 10889
_TOKEN_SHIFT = 2  # 128 bits in 26 digits of 5 bits each
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # ascending, so that tokens sort by time
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_TOKEN = re.compile(f"[{_DIGITS}]{{{TOKEN_LENGTH}}}")


def token(now_ms: int, entropy: bytes) -> str:
    """
    Return 26 characters that were never issued before and sort by time.

    `entropy` is `ENTROPY` random bytes; no counter is involved, so a restored ledger cannot repeat one.
    """
    number = int.from_bytes(now_ms.to_bytes(_TIME_BYTES, "big") + entropy, "big") << _TOKEN_SHIFT
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def is_token(text: str) -> bool:
    """Tell whether a text could be a token; a client may have written one into a key."""
    return _TOKEN.fullmatch(text) is not None


def plain_name(bucket: str, key: str) -> str:
    """Return the name that users recognise, whether or not it may be used."""
    return f"{bucket}/{key}"


def unique_prefix(bucket: str, key: str) -> str:
    """Return what all unique names of a key begin with."""
    return f"{bucket}/{key}~"


def hashed_prefix(bucket: str, key: str) -> str:
    """Return what all hashed names of a key begin with."""
    digest = sha256(plain_name(bucket, key).encode()).digest()
    return f"{HIDDEN}{b32encode(digest).decode('ascii').rstrip('=').lower()}~"


def scratch_names(unused: str) -> tuple[str, str]:
    """
    Return two names for finding out what a backend does: a simple one and an odd one.

    `unused` is a fresh token.
    """
    return f"{PROBE}{unused}", f"{PROBE}{unused}//a/../b/"


def usable_plain_name(bucket: str, key: str, *, exact: bool = True) -> str | None:
    """
    Return the plain name of a key if a blob may have it, None if only another will do.

    `exact` says whether the backend holds every name as it is.
    """
    name = f"{bucket}/{key}"
    return name if _fits(name) and (exact or not is_odd(name)) else None


def has_unique_names(bucket: str, key: str) -> bool:
    """Tell whether a blob of the key may have a unique name, on a backend that holds names as they are."""
    return _fits(unique_prefix(bucket, key) + "0" * TOKEN_LENGTH)


def other_name(bucket: str, key: str, unused: str, *, exact: bool = True) -> str:
    """Return a unique name for one write of a key, or a hashed one; `unused` is a fresh token."""
    plain = f"{bucket}/{key}"
    name = f"{plain}~{unused}"
    return name if _fits(name) and (exact or not is_odd(plain)) else hashed_name(bucket, key, unused)


def hashed_name(bucket: str, key: str, unused: str) -> str:
    """Return a name that every backend can hold; `unused` is a fresh token."""
    return hashed_prefix(bucket, key) + unused


def _fits(name: str) -> bool:
    # Most names are ASCII: then the number of characters is that of bytes.
    size = len(name) if name.isascii() else len(name.encode())
    return size <= NAME_LIMIT and not _UNLISTABLE.search(name)


def is_odd(name: str) -> bool:
    """Tell whether a backend that treats names as paths would hold this one as another."""
    return any(segment in ("", ".", "..") for segment in name.split("/"))


def ancestors(name: str) -> list[str]:
    """Return the names that a backend which treats names as paths needs as folders for this one."""
    segments = name.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments))]


def descendants(name: str) -> tuple[str, str]:
    """Return the range, upper end excluded, of the names for which this one would have to be a folder."""
    return f"{name}/", f"{name}0"  # "0" is what follows "/" in byte order
