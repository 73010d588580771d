"""
How refusals are named in the audit trail, where they have names of their own.

Whoever watches for attacks and overload selects by these, not by operations: most of them come before
it is known what was wanted.
"""

from __future__ import annotations

from prometheus_client import Counter

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.web.admission import AdmissionRejected, LoadShed
from s3orchestrator.web.rate_limit import RateLimitRejected
from s3orchestrator.web.s3.access import BucketMismatch

ADDRESSING, AUTHENTICATING = "InvalidPath", "AuthFailure"

EARLY = Counter(
    "s3o_early_rejections_total", "Uploads refused before their body was read: no backend may take them."
)

_BY_TYPE = {
    RateLimitRejected: "RateLimitRejected",
    LoadShed: "LoadShed",
    AdmissionRejected: "AdmissionRejected",
    BucketMismatch: "BucketMismatch",
}


def rejection(error: S3Error, stage: str) -> str:
    """
    Return how a refusal is called, nothing if it goes by the name of its operation.

    `stage` is what it would be called for having failed there.
    """
    named = _BY_TYPE.get(type(error))
    if named is not None:
        return named
    if error.status >= 500:  # our own failure is nobody's attempt
        return ""
    return "MethodNotAllowed" if error.code == "MethodNotAllowed" else stage


def note_early(call: Call, refusal: S3Error) -> None:
    """Count an upload that is refused before anybody has asked for its body."""
    if refusal.code == "InsufficientStorage" and not call.body.started:
        EARLY.inc()
