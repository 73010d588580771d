"""
The audit trail: one line for everything that changes or hands out data.

It shares the log's stream; a reader selects it by `"audit": true`. The log's level does not
concern it: who wants fewer lines about what happens still has to know who did what.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter

from s3orchestrator.telemetry.logging import log_always

EVENTS = Counter("s3o_audit_events_total", "What the audit trail recorded.", ["event"])


def audit(event: str, **fields: object) -> None:
    """
    Record `event`, a name from the program (`s3.PutObject`), never from a client.

    Secrets must not be among `fields`; an access key id is none.
    """
    _count(event).inc()
    fields.update(audit=True, event=event)
    log_always(__name__, "audit", fields)


@cache
def _count(event: str) -> Counter:
    return EVENTS.labels(event)
