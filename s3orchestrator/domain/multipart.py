"""What the whole of an upload is, as far as its parts tell."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from s3orchestrator.domain.records import Part
from s3orchestrator.protocol.checksums import Checksum, check_whole, of_parts


def composite_etag(etags: Sequence[str]) -> str:
    """
    Return the ETag of an object made of parts: the MD5 of their MD5s, and their number.

    ETags that are no MD5 (a backend that encrypts under its own keys) enter as text.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for etag in etags:
        try:
            digest.update(bytes.fromhex(etag))
        except ValueError:
            digest.update(etag.encode())
    return f"{digest.hexdigest()}-{len(etags)}"


def object_checksum(
    algorithm: str | None, kind: str | None, parts: Sequence[Part], expected: Checksum | None
) -> Checksum | None:
    """
    Return the checksum of the whole, None if the upload has none.

    :raises S3Error: `BadDigest` if the client expected another.
    """
    if algorithm is None or kind is None:
        return None
    known = [(part.checksum, part.size) for part in parts if part.checksum is not None]
    if len(known) < len(parts):
        return None
    found = of_parts(algorithm, kind, known)
    check_whole(found, expected)
    return found
