"""How late the reactor is."""

from __future__ import annotations

from prometheus_client import REGISTRY
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.lag import EVERY, ReactorLag


def sample(suffix: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"s3o_reactor_lag_seconds_{suffix}", labels) or 0.0


class LagTests(SynchronousTestCase):
    def test_late(self) -> None:
        """What is due comes late by as long as somebody kept the reactor busy."""
        clock, busy = Clock(), [0.0]
        lag = ReactorLag(clock, lambda: clock.seconds() + busy[0])
        count, total, quick = sample("count"), sample("sum"), sample("bucket", le="0.001")
        lag.start()
        clock.advance(EVERY)
        busy[0] += 0.3
        clock.advance(EVERY)
        self.assertEqual(sample("count") - count, 2)
        self.assertEqual(sample("bucket", le="0.001") - quick, 1)
        self.assertAlmostEqual(sample("sum") - total, 0.3)
        lag.stop()
        lag.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
