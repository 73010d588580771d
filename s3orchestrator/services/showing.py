"""
What the ledger says of the backends, as gauges.

Every instance shows the same, as of its last look. A backend without a limit has no series for the limit,
and none for what it leaves: 0 would read as full, and hide the one that is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define, field
from prometheus_client import Gauge

from s3orchestrator.domain.records import Backlog, Inventory, Usage
from s3orchestrator.domain.usage import Counters, Limits

MOST_COUNTED = 10_000

_BY_BACKEND: list[Gauge] = []


def _gauge(name: str, meaning: str) -> Gauge:
    gauge = Gauge(f"s3o_{name}", meaning, ["backend"])
    _BY_BACKEND.append(gauge)
    return gauge


BYTES_USED = _gauge(
    "quota_bytes_used", "Bytes of objects; what is being written counts against what is available only."
)
BYTES_LIMIT = _gauge("quota_bytes_limit", "The quota; no series if there is none.")
BYTES_ORPHAN = _gauge("quota_orphan_bytes", "Bytes that are still to be deleted.")
BYTES_AVAILABLE = _gauge("quota_bytes_available", "What the quota leaves; no series if there is none.")
OBJECTS = _gauge("objects_count", "Objects, each copy counted.")
UPLOADS = _gauge("active_multipart_uploads", "Multipart uploads in progress.")
API_REQUESTS = _gauge("usage_api_requests", "Requests this month, of all instances.")
EGRESS = _gauge("usage_egress_bytes", "Bytes read this month, by all instances.")
INGRESS = _gauge("usage_ingress_bytes", "Bytes written this month, by all instances.")
API_REQUEST_LIMIT = _gauge("usage_api_requests_limit", "Requests allowed in a month; no series for any.")
EGRESS_LIMIT = _gauge("usage_egress_bytes_limit", "Bytes that may be read in one; no series for any.")
INGRESS_LIMIT = _gauge("usage_ingress_bytes_limit", "Bytes that may be written in one; no series for any.")

PENDING = Gauge("s3o_pending_intents_depth", "Objects being written; counted up to 10000.")
DOOMED = Gauge("s3o_cleanup_queue_depth", "What waits to be deleted; counted up to 10000.")
DEAD = Gauge("s3o_cleanup_dlq_depth", "What nobody tries to delete any more; counted up to 10000.")


@define(eq=False)
class Showing:
    """Sets the gauges, and takes away those of backends that are not there any more."""

    _names: set[str] = field(factory=set, init=False)

    def only(self, names: Collection[str]) -> None:
        """Show no others than these from now on."""
        for gone in self._names.difference(names):
            for gauge in _BY_BACKEND:
                gauge.remove(gone)
        self._names = set(names)

    @staticmethod
    def room(known: Usage) -> None:
        """What a backend holds, and may hold."""
        BYTES_USED.labels(known.backend).set(known.live)
        BYTES_ORPHAN.labels(known.backend).set(known.orphan)
        _show_if(BYTES_LIMIT, known.backend, known.limit)
        available = max(known.limit - known.taken, 0) if known.limit else None
        _show_if(BYTES_AVAILABLE, known.backend, available)

    @staticmethod
    def usage(name: str, used: Counters, limits: Limits) -> None:
        """What was used of a backend this month, and may be."""
        API_REQUESTS.labels(name).set(used.api_requests)
        EGRESS.labels(name).set(used.egress_bytes)
        INGRESS.labels(name).set(used.ingress_bytes)
        _show_if(API_REQUEST_LIMIT, name, limits.api_requests or None)
        _show_if(EGRESS_LIMIT, name, limits.egress_bytes or None)
        _show_if(INGRESS_LIMIT, name, limits.ingress_bytes or None)

    def inventory(self, held: Mapping[str, Inventory]) -> None:
        """How many objects and uploads there are."""
        for name in self._names:
            OBJECTS.labels(name).set(held.get(name, Inventory()).objects)
            UPLOADS.labels(name).set(held.get(name, Inventory()).uploads)

    @staticmethod
    def backlog(backlog: Backlog) -> None:
        """What waits, of all backends together."""
        PENDING.set(backlog.pending)
        DOOMED.set(backlog.doomed)
        DEAD.set(backlog.dead)


def _show_if(gauge: Gauge, name: str, value: float | None) -> None:
    if value is None:
        gauge.remove(name)
    else:
        gauge.labels(name).set(value)
