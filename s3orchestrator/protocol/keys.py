"""Signing keys, kept prepared: deriving one costs as much as everything else in a signature."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from hmac import digest

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class PreparedHmac:
    """HMAC-SHA-256 under one key of at most 64 bytes; the padding is hashed once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(64, b"\0")
        self._inner = sha256(padded.translate(_INNER))
        self._outer = sha256(padded.translate(_OUTER))

    def hexdigest(self, message: bytes) -> str:
        """Return the code of `message` in lower-case hex, as signatures are written."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()


class SigningKeys:
    """
    Keys by secret, day and region, the `limit` used last.

    Keyed by the secret and not by its id: a rotated secret takes effect at once. Bounded,
    since whoever sends requests chooses day and region.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._prepared = lru_cache(maxsize=limit)(_prepare)

    def __len__(self) -> int:
        return self._prepared.cache_info().currsize

    def key(self, secret: str, date: bytes, region: str) -> PreparedHmac:
        """Return the key of `secret` for S3 in `region` on the day `date` (yyyymmdd)."""
        return self._prepared(secret, date, region)


def _prepare(secret: str, date: bytes, region: str) -> PreparedHmac:
    key = b"AWS4" + secret.encode()
    for scope in (date, region.encode(), b"s3", b"aws4_request"):
        key = digest(key, scope, "sha256")
    return PreparedHmac(key)
