"""
What is told of deletions: the metrics of the cleanup queue, and what the audit trail says of it.

The queue is what could not be deleted at once. What goes together with its request is that
request's line in the audit trail.
"""

from __future__ import annotations

from prometheus_client import Counter

from s3orchestrator.domain.backoff import is_given_up
from s3orchestrator.domain.records import Blob
from s3orchestrator.telemetry.audit import audit

ENQUEUED = Counter(
    "s3o_cleanup_queue_enqueued_total",
    "What could not be deleted from its backend at once, by why it was to go.",
    ["reason"],
)
PROCESSED = Counter(
    "s3o_cleanup_queue_processed_total",
    "Attempts to delete what was in the queue: success, retry, exhausted (nobody tries again).",
    ["status"],
)
EXHAUSTED = Counter(
    "s3o_cleanup_dlq_enqueued_total", "What a backend has refused to delete ten times.", ["backend"]
)
for _status in ("success", "retry", "exhausted"):
    PROCESSED.labels(_status)


def deleted(blob: Blob) -> None:
    """A blob of the queue is gone from its backend."""
    PROCESSED.labels("success").inc()
    _audit("processed", blob, blob.attempts + 1)


def put_off(blob: Blob, *, queued: bool, counted: bool) -> None:
    """A deletion failed, of a blob that was in the queue or comes there now; `counted` as an attempt."""
    attempts = blob.attempts + counted
    if not queued:
        ENQUEUED.labels(blob.reason).inc()
    if is_given_up(attempts):
        PROCESSED.labels("exhausted").inc()
        EXHAUSTED.labels(blob.backend).inc()
        _audit("exhausted_to_dlq", blob, attempts)
    elif queued:
        PROCESSED.labels("retry").inc()


def _audit(what: str, blob: Blob, attempt: int) -> None:
    audit(
        f"cleanup_queue.{what}",
        backend=blob.backend,
        key=blob.name,
        size=blob.size,
        reason=blob.reason,
        attempt=attempt,
    )
