"""Breakers as a dashboard sees them."""

from __future__ import annotations

from prometheus_client import REGISTRY
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.breaker import State
from s3orchestrator.telemetry.breakers import moved, show


class BreakerMetricsTests(SynchronousTestCase):
    """A state and its changes, by name."""

    def test_shown_and_moved(self) -> None:
        """A breaker is there from the start, and each change of it is counted."""
        show("oci")
        self.assertEqual(self.value("state", name="oci"), 0)
        moved("oci", State.CLOSED, State.OPEN)
        moved("oci", State.OPEN, State.HALF_OPEN)
        self.assertEqual(self.value("state", name="oci"), 2)
        changes = {"name": "oci", "from": "closed", "to": "open"}
        self.assertEqual(self.value("transitions_total", **changes), 1)

    def value(self, metric: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"s3o_circuit_breaker_{metric}", labels)
