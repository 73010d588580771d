"""Uploads in chunks, as SDKs make them: signed each by each, or unsigned with a checksum behind the last."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.testing.bench.moving import Parts, Piece
from s3orchestrator.testing.bench.sdk import REGION, Sdk

SIGNED_CHUNK = 64 << 10  # the Java SDK's is 128 KiB, others' 64
UNSIGNED_CHUNK = 1 << 20  # botocore's

_SIGNED, _UNSIGNED = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_NOTHING = sha256(b"").hexdigest().encode()


def signed_chunks(sdk: Sdk, path: bytes, piece: Piece, size: int) -> Parts:
    """Return the parts of an upload whose chunks are signed, each with the signature of the one before."""
    sizes = _sizes(size, SIGNED_CHUNK)
    overhead = sum(len(b"%x;chunk-signature=%064d\r\n\r\n" % (each, 0)) for each in [*sizes, 0])
    head = sdk.upload(path, size + overhead, _SIGNED, _decoded(size))
    return _signed(sdk, head, piece, sizes)


def _signed(sdk: Sdk, head: bytes, piece: Piece, sizes: list[int]) -> Iterator[tuple[bytes, int]]:
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    stamp, authorization = fields[b"x-amz-date"], fields[b"authorization"]
    scope = authorization.partition(b"Credential=")[2].partition(b",")[0].partition(b"/")[2]
    key = SigningKeys(1).key(sdk.secret, stamp[:8], REGION)
    signature = authorization.partition(b"Signature=")[2]
    digests = {each: sha256(piece.content[:each]).hexdigest().encode() for each in {*sizes}} | {0: _NOTHING}
    before = head
    for each in [*sizes, 0]:
        lines = (b"AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, signature, _NOTHING, digests[each])
        signature = key.hexdigest(b"\n".join(lines)).encode()
        end = b"" if each else b"\r\n"
        yield before + b"%x;chunk-signature=%s\r\n%s" % (each, signature, end), each
        before = b"\r\n"


def unsigned_chunks(sdk: Sdk, path: bytes, piece: Piece, size: int) -> Parts:
    """Return the parts of an upload as boto3 makes it over TLS: a CRC-32 follows."""
    sizes = _sizes(size, UNSIGNED_CHUNK)
    crc = base64.b64encode(_crc(piece, size).to_bytes(4, "big"))
    trailer = b"0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % crc
    overhead = sum(len(b"%x\r\n\r\n" % each) for each in sizes) + len(trailer)
    headers = _decoded(size) | {b"x-amz-trailer": b"x-amz-checksum-crc32"}
    before = sdk.upload(path, size + overhead, _UNSIGNED, headers)
    parts = []
    for each in sizes:
        parts.append((before + b"%x\r\n" % each, each))
        before = b"\r\n"
    return [*parts, (before + trailer, 0)]


@lru_cache
def _crc(piece: Piece, size: int) -> int:
    """Kept, so that an upload begins at once when it is made again."""
    crc = 0
    for each in _sizes(size, UNSIGNED_CHUNK):
        crc = zlib.crc32(piece.content[:each], crc)
    return crc


def _sizes(size: int, chunk: int) -> list[int]:
    return [min(chunk, size - start) for start in range(0, size, chunk)]


def _decoded(size: int) -> dict[bytes, bytes]:
    return {b"x-amz-decoded-content-length": b"%d" % size, b"content-encoding": b"aws-chunked"}
