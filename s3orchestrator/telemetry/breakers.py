"""What circuit breakers show to the outside: one pair of metrics for the database and for each backend, and
lines of the audit trail, since a breaker decides where data goes.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from s3orchestrator.domain.breaker import State
from s3orchestrator.telemetry.audit import audit

DATABASE = "database"  # the name that the ledger's breaker has among those of the backends

STATES = Gauge(
    "s3o_circuit_breaker_state",
    "State of a circuit breaker: 0 closed, 1 open, 2 half-open.",
    ["name"],
)
TRANSITIONS = Counter(
    "s3o_circuit_breaker_transitions_total",
    "Changes of state of a circuit breaker.",
    ["name", "from", "to"],
)

_CHANGES = (
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.OPEN),
    (State.HALF_OPEN, State.CLOSED),
)


def show(name: str, state: State = State.CLOSED) -> None:
    """Show a breaker that is new, so that it can be seen, and rates be told, before it first changes."""
    STATES.labels(name).set(state)
    for before, after in _CHANGES:
        TRANSITIONS.labels(name, before.name.lower(), after.name.lower())


def moved(name: str, before: State, after: State) -> None:
    """Show that a breaker has changed."""
    STATES.labels(name).set(after)
    change = {"from": before.name.lower(), "to": after.name.lower()}
    TRANSITIONS.labels(name, *change.values()).inc()
    audit("circuit_breaker.changed", name=name, **change)
