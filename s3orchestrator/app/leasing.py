"""The lease of this process, and what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

from s3orchestrator.app.ledgers import Ledger
from s3orchestrator.backends.leased import LeasedBackend
from s3orchestrator.interfaces import IBackend
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.owners import Lease


def seconds_since_boot() -> float:
    """Seconds that also count while the machine is suspended; no clock that somebody sets."""
    return clock_gettime(CLOCK_BOOTTIME)


def lease_on(ledger: Ledger, lapsed: Callable[[], object]) -> Lease:
    """Return the lease of this process, which must be renewed before anything is sent."""
    database, registration = ledger.database, ledger.registration
    return Lease(
        database,
        registration.length,
        seconds_since_boot,
        lapsed=lapsed,
        too_new=database.refuse_changes,
        registration=registration,
    )


def under_lease(backend: IBackend, lease: Lease, database: ILedger, reactor: Any) -> IBackend:
    """Return a backend that is changed only while the lease runs, where a lease can end."""
    if not database.operations.is_shared:
        return backend
    return LeasedBackend(backend, lease.may_send, reactor)


def break_off(backends: Iterable[IBackend]) -> None:
    """Break off what is being changed: the lease it was begun under has lapsed, and there is another."""
    for backend in backends:
        if isinstance(backend, LeasedBackend):
            backend.break_off()
