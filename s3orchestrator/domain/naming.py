"""
What blobs are called on their backends.

Plain names can be read without us; the others are for names that are taken, too long, or
not held as they are. See "Names on a backend" in docs/design/ledger.rst.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

from attrs import frozen

NAME_LIMIT = 1024  # UTF-8 bytes; S3's limit for a key
ENTROPY = 10  # random bytes in a token
HIDDEN = "~s3o/"  # no bucket's name begins with "~"

_TIME_BYTES = 6  # milliseconds; enough until the year 10889
_TOKEN_SHIFT = 2  # 128 bits in 26 digits of 5 bits each
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # ascending, so that tokens sort by time
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)


def token(now_ms: int, entropy: bytes) -> str:
    """
    Return 26 characters that were never issued before and sort by time.

    `entropy` is `ENTROPY` random bytes; no counter is involved, so a restored ledger cannot repeat one.
    """
    number = int.from_bytes(now_ms.to_bytes(_TIME_BYTES, "big") + entropy, "big") << _TOKEN_SHIFT
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


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
    return f"{HIDDEN}probe~{unused}", f"{HIDDEN}probe~{unused}//a/../b/"


@frozen
class Names:
    """
    What the blob of one write may be called: `plain`, if it may have such a name, else `other`.
    """

    plain: str | None
    other: str


def names_for(bucket: str, key: str, unused: str, *, exact: bool = True) -> Names:
    """
    Return the names for one write of a key; `unused` is a fresh token.

    `exact` says whether the backend holds every name as it is; if not, odd ones are hashed.
    """
    plain = f"{bucket}/{key}"
    # Most names are short and ASCII: then the number of characters decides.
    size = len(plain) if plain.isascii() else len(plain.encode())
    if size > NAME_LIMIT or (not exact and is_odd(plain)):
        return Names(None, hashed_prefix(bucket, key) + unused)
    if size + 1 + len(unused) > NAME_LIMIT:
        return Names(plain, hashed_prefix(bucket, key) + unused)
    return Names(plain, f"{plain}~{unused}")


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
