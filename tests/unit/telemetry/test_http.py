"""What is counted of HTTP traffic, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.http import BYTES, SECONDS, Traffic


class TrafficTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.traffic = Traffic()
        self.registry = CollectorRegistry()
        self.registry.register(self.traffic)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def test_requests(self) -> None:
        """Requests are counted by method and status, those in flight by method."""
        get = self.traffic.of(b"GET")
        get.in_flight += 2
        get.answered(200, 0.1, 0, 10)
        get.answered(200, 0.1, 0, 10)
        get.answered(404, 0.1, 0, 10)
        self.assertEqual(self.value("s3o_requests_total", method="GET", status_code="200"), 2)
        self.assertEqual(self.value("s3o_requests_total", method="GET", status_code="404"), 1)
        self.assertEqual(self.value("s3o_inflight_requests", method="GET"), 2)

    def test_methods(self) -> None:
        """What clients make up as a method does not become a label."""
        for number in range(1000):
            self.traffic.of(b"M%d" % number).answered(405, 0, 0, 0)
        self.assertEqual(self.value("s3o_requests_total", method="other", status_code="405"), 1000)
        self.assertNotIn(b"M1", generate_latest(self.registry))

    def test_refused(self) -> None:
        """What was no request has a status, and took no time."""
        self.traffic.of(b"other").refused(400)
        self.assertEqual(self.value("s3o_requests_total", method="other", status_code="400"), 1)
        self.assertEqual(self.value("s3o_request_duration_seconds_count", method="other"), 0)

    def test_clock_set_back(self) -> None:
        """A sum never goes down."""
        self.traffic.of(b"GET").answered(200, -5.0, 0, 0)
        self.assertEqual(self.value("s3o_request_duration_seconds_sum", method="GET"), 0)

    def test_names_are_taken(self) -> None:
        """Nobody else can use these names."""
        self.assertRaises(ValueError, self.registry.register, Traffic())

    def test_as_the_library_does(self) -> None:
        """The same values give the same page as the client library's own histograms."""
        values = [0.0, 0.005, 0.0051, 1.0, 59.9, 60.0, 61.0, 1e6, 1024.0, 1025.0, 2.0**28, 2.0**28 + 1]
        theirs = CollectorRegistry()
        for name, bounds in (
            ("request_duration_seconds", SECONDS),
            ("request_size_bytes", BYTES),
            ("response_size_bytes", BYTES),
        ):
            child = Histogram(f"s3o_{name}", "-", ["method"], buckets=bounds, registry=theirs).labels("PUT")
            for value in values:
                child.observe(value)
        for value in values:
            self.traffic.of(b"PUT").answered(200, value, value, value)
        self.assertEqual(_histograms(self.registry), _histograms(theirs))


def _histograms(registry: CollectorRegistry) -> set[bytes]:
    lines = generate_latest(registry).splitlines()
    return {
        line for line in lines if line.startswith((b"s3o_request_", b"s3o_resp")) and b"_created" not in line
    }
