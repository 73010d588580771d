"""
The moto server with ETags that hold while others ask too; for the interpreter that moto is installed for.

Its own are worked out when somebody first asks, by reading a file that all requests share and
moving its position: an upload whose name was listed meanwhile was answered with another MD5.
"""

from __future__ import annotations

from moto.s3.models import FakeKey
from moto.server import main

_unguarded = FakeKey.etag.fget


def _etag(key: FakeKey) -> str:
    with key.lock:  # which moto takes for reading the bytes
        etag: str = _unguarded(key)
        return etag


if __name__ == "__main__":
    FakeKey.etag = property(_etag)
    main()
