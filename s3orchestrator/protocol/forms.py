"""The forms a request's body may have, as `x-amz-content-sha256` names them."""

from __future__ import annotations

from enum import Enum

from s3orchestrator.protocol.errors import S3Error

UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"
_HEX = b"0123456789abcdefABCDEF"


class PayloadForm(Enum):
    """
    How a body is written and what vouches for it.

    HASHED and UNSIGNED are plain bytes; the others are aws-chunked.
    """

    HASHED = "the SHA-256 in hex"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @classmethod
    def of(cls, payload_hash: bytes) -> PayloadForm:
        """
        Read the value of `x-amz-content-sha256`.

        :raises S3Error: `InvalidArgument`; `NotImplemented` for asymmetric signatures.
        """
        found = _BY_NAME.get(payload_hash)
        if found is not None:
            return found
        if len(payload_hash) == 64 and not payload_hash.translate(None, _HEX):
            return cls.HASHED
        if payload_hash.startswith(b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"):
            raise S3Error("NotImplemented", Header="x-amz-content-sha256")
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER,"
            " STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
            " or a valid sha256 value.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=payload_hash.decode("utf-8", "replace"),
        )

    @property
    def is_chunked(self) -> bool:
        return self not in (PayloadForm.HASHED, PayloadForm.UNSIGNED)

    @property
    def is_signed_by_chunk(self) -> bool:
        return self in (PayloadForm.SIGNED_CHUNKS, PayloadForm.SIGNED_CHUNKS_TRAILER)

    @property
    def has_trailer(self) -> bool:
        return self in (PayloadForm.SIGNED_CHUNKS_TRAILER, PayloadForm.UNSIGNED_CHUNKS_TRAILER)


_BY_NAME = {form.value.encode("ascii"): form for form in PayloadForm if form is not PayloadForm.HASHED}
