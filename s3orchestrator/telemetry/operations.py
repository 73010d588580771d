"""
The engine's operations in numbers: how many, how they ended, how long they took.

Their names are those of the audit trail's `storage.` lines. What a client did wrong, such as asking for what
is not there, was answered, and is a success here as it is for backends: an error is what an operator has to
look after.
"""

from __future__ import annotations

from functools import cache

from twisted.internet.defer import CancelledError

from s3orchestrator.protocol.errors import as_s3_error
from s3orchestrator.telemetry.unlocked import UnlockedCounter, UnlockedHistogram

REQUESTS = UnlockedCounter(
    "s3o_manager_requests_total",
    "Operations of the engine; a refusal that is the client's doing, as of a missing object, is a success.",
    ["operation", "backend", "status"],
)
DURATION = UnlockedHistogram(
    "s3o_manager_duration_seconds",
    "How long they took; of GetObject, until the first byte was there.",
    ["operation", "backend"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)

# Looking a child up costs more than counting. There are not many: operations are the program's, backends the
# configuration's.
_requests = cache(REQUESTS.labels)
_duration = cache(DURATION.labels)


def ended(operation: str, backend: str, seconds: float, error: BaseException | None) -> None:
    """Count an operation; `backend` is who was asked last, empty where nobody was, or nobody had it."""
    _requests(operation, backend, status_of(error)).inc()
    _duration(operation, backend).observe(seconds)


def status_of(error: BaseException | None) -> str:
    """Return the metric's word for an end: success, error, or cancelled for a client that left."""
    if error is None:
        return "success"
    if isinstance(error, CancelledError):
        return "cancelled"
    if not isinstance(error, Exception):
        return "error"
    refusal = as_s3_error(error)
    # SlowDown may be 429: no backend may be used any more this month.
    return "error" if refusal.status >= 500 or refusal.status == 429 else "success"
