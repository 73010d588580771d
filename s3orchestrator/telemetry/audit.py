"""
The audit trail: one line for everything that changes or hands out data.

It shares the log's stream; a reader selects it by `"audit": true`. The log's level does not
concern it: who wants fewer lines about what happens still has to know who did what.
"""

from __future__ import annotations

from functools import cache

from s3orchestrator.telemetry.lines import TRAIL
from s3orchestrator.telemetry.logging import CAN_WAIT, log_always
from s3orchestrator.telemetry.unlocked import UnlockedCounter

EVENTS = UnlockedCounter("s3o_audit_events_total", "What the audit trail recorded.", ["event"])

# Requests, and what was only read. A line about something changed is there before the client has its answer.
_CAN_WAIT = ("s3.", "storage.Get", "storage.Head", "storage.List")


def audit(event: str, **fields: object) -> None:
    """
    Record `event`, a name from the program (`s3.PutObject`), never from a client.

    Secrets must not be among `fields`; an access key id is none.
    """
    record(event, fields)


def record(event: str, fields: dict[str, object]) -> None:
    """Do as `audit`; `fields` are taken over, for each request has two lines, and copying them takes time."""
    count, fixed = _known(event)
    count.inc()
    fields.update(fixed)
    log_always(__name__, TRAIL, fields)


@cache
def _known(event: str) -> tuple[UnlockedCounter, dict[str, object]]:
    """Return what counts `event`, and the fields that all its lines have."""
    fixed: dict[str, object] = {"audit": True, "event": event}
    if event.startswith(_CAN_WAIT):
        fixed[CAN_WAIT] = True
    return EVENTS.labels(event), fixed
