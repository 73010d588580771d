"""
How uploads in `aws-chunked` framing fare.

Every SDK frames by default, and each in a way of its own: a wave of refusals after an update of clients shows
here first.
"""

from __future__ import annotations

from prometheus_client import Counter

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.forms import PayloadForm
from s3orchestrator.protocol.sigv4 import Verified

_VARIANTS = {
    PayloadForm.SIGNED_CHUNKS: "signed",
    PayloadForm.SIGNED_CHUNKS_TRAILER: "signed_trailer",
    PayloadForm.UNSIGNED_CHUNKS_TRAILER: "unsigned_trailer",
}
# What the reading of a framed body may end with.
_REASONS = {
    "SignatureDoesNotMatch": "signature",
    "InvalidRequest": "framing",
    "IncompleteBody": "incomplete",
    "MalformedTrailerError": "trailer",
    "BadDigest": "checksum",
}

REQUESTS = Counter(
    "s3o_auth_streaming_requests_total",
    "Authenticated uploads in chunks, by how these are signed.",
    ["variant"],
)
REJECTIONS = Counter(
    "s3o_auth_streaming_rejections_total", "Uploads in chunks refused for what their chunks were.", ["reason"]
)
_requests = {form.value.encode(): REQUESTS.labels(variant) for form, variant in _VARIANTS.items()}
_rejections = {code: REJECTIONS.labels(reason) for code, reason in _REASONS.items()}


def note_chunks(verified: Verified | None) -> None:
    """Count an upload in chunks whose headers have been verified."""
    counter = _requests.get(verified.payload_hash) if verified is not None else None
    if counter is not None:
        counter.inc()


def note_refused_chunks(call: Call, refusal: S3Error) -> None:
    """Count the refusal of a body in chunks; before it is read, refusals are about something else."""
    if call.body.started and call.headers.get(b"x-amz-content-sha256", [b""])[0] in _requests:
        counter = _rejections.get(refusal.code)
        if counter is not None:
            counter.inc()
