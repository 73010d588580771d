"""What signature version 4 signs: one spelling for all requests that mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote_from_bytes, unquote_to_bytes

ALGORITHM = b"AWS4-HMAC-SHA256"

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PATH = _UNRESERVED + b"/"
_SPACES = re.compile(rb" {2,}")
_STAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")


def canonical_path(path: bytes) -> bytes:
    """
    Return `path`, as it was sent, in the spelling that is signed.

    Escapes are undone and made again, so that it does not matter which characters the
    client left plain. Nothing is normalised: `//` and `..` are parts of keys.
    """
    if not path.translate(None, _PATH):
        return path or b"/"
    return quote_from_bytes(unquote_to_bytes(path), safe="/").encode("ascii")


def canonical_query(query: bytes, without: bytes | None = None) -> bytes:
    """
    Return `query` in the spelling that is signed, leaving out the parameter `without`.

    Sorted by name and then value, which is not the order of the pairs written out: `=`
    comes after `-` and the digits.
    """
    if not query:
        return b""
    return _join(
        (_canonical(name), _canonical(value))
        for name, _, value in (pair.partition(b"=") for pair in query.split(b"&") if pair)
        if name != without
    )


def encoded_query(parameters: Mapping[str, str]) -> bytes:
    """Write `parameters` as a query, in the spelling that is signed."""
    return _join((_quoted(name.encode()), _quoted(value.encode())) for name, value in parameters.items())


def _join(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"&".join([b"%s=%s" % pair for pair in sorted(pairs)])


def _canonical(text: bytes) -> bytes:
    if not text.translate(None, _UNRESERVED):
        return text
    return _quoted(unquote_to_bytes(text.replace(b"+", b" ")))


def _quoted(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode("ascii")


def canonical_headers(headers: Mapping[bytes, Sequence[bytes]], names: Sequence[bytes]) -> bytes:
    """
    Write the signed headers, a line each.

    One that was signed but is not there counts as empty: the signature will not match.
    """
    lines = []
    for name in names:
        values = headers.get(name, ())
        value = values[0].strip() if len(values) == 1 else b",".join([each.strip() for each in values])
        if b"  " in value:
            value = _SPACES.sub(b" ", value)
        lines.append(b"%s:%s\n" % (name, value))
    return b"".join(lines)


def string_to_sign(timestamp: bytes, scope: bytes, request: bytes) -> bytes:
    """Return what is signed of the canonical `request`."""
    return b"%s\n%s\n%s\n%s" % (ALGORITHM, timestamp, scope, sha256(request).hexdigest().encode("ascii"))


def parse_timestamp(text: bytes) -> int | None:
    """Read a time like `20261121T021500Z` as Unix time; None if it is not one."""
    # Anything of another length must not get into the cache.
    return _parse_timestamp(text) if len(text) == 16 else None


@lru_cache(maxsize=256)
def _parse_timestamp(text: bytes) -> int | None:
    if not _STAMP.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text.decode("ascii").replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):
        return None


def timestamp(now: float) -> bytes:
    """Write Unix time as signatures want it, in whole seconds."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(int(now))).encode("ascii")
