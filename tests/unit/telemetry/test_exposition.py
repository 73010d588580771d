"""The page of metrics: its formats and its pieces."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.process_collector import ProcessCollector
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.exposition import OPENMETRICS, SLICE, TEXT, families_of, negotiate, pieces


def registry() -> CollectorRegistry:
    """One of each kind; some have more samples than a piece, some none, some odd labels."""
    made = CollectorRegistry()
    Counter("calls_total", "With a \\ and\na line.", ["who"], registry=made).labels('a"b\\c\nd').inc()
    Counter("never_total", "No child.", ["who"], registry=made)
    Gauge("depth", "No labels.", registry=made).set(1.5)
    Summary("size_bytes", "A sum and a count.", registry=made).observe(2)
    Info("built", "By whom.", registry=made).info({"by": "us"})
    seconds = Histogram("seconds", "Long.", ["who"], registry=made)
    for number in range(2 * SLICE):
        seconds.labels(str(number)).observe(number)
    return made


def without_created(page: bytes) -> list[bytes]:
    """The library's page without when each series was made, which ours does not tell."""
    return [line for line in page.splitlines(keepends=True) if b"_created" not in line]


class PieceTests(SynchronousTestCase):
    def test_text(self) -> None:
        """All pieces together are what the library writes in one go."""
        made = registry()
        whole = b"".join(pieces(families_of(made), TEXT))
        self.assertEqual(whole.splitlines(keepends=True), without_created(generate_latest(made)))

    def test_openmetrics(self) -> None:
        """So they are in the other format, with one end."""
        made = registry()
        whole = b"".join(pieces(families_of(made), OPENMETRICS))
        self.assertEqual(whole.splitlines(keepends=True), without_created(generate_openmetrics(made)))
        self.assertEqual(whole.count(b"# EOF\n"), 1)

    def test_small(self) -> None:
        """No piece holds more than so many samples, however many a metric has."""
        for form in (TEXT, OPENMETRICS):
            self.assertLessEqual(
                max(piece.count(b"\n") for piece in pieces(families_of(registry()), form)), SLICE
            )

    def test_what_is_asked_anew(self) -> None:
        """What is no metric of ours but looks at something when asked is there, too."""
        made = CollectorRegistry()
        ProcessCollector(registry=made)
        families = text_string_to_metric_families(b"".join(pieces(families_of(made), TEXT)).decode())
        self.assertIn("process_open_fds", [family.name for family in families])


class NegotiationTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Whoever says nothing, or something unknown, gets text."""
        for accept in (
            "",
            "*/*",
            "text/html",
            "text/plain",
            "application/openmetrics-text;version=2.0.0",
            ";;,=,",
        ):
            self.assertIs(negotiate(accept), TEXT, accept)

    def test_openmetrics(self) -> None:
        """Prometheus says which it likes best, older and newer ones differently."""
        for accept in (
            "application/openmetrics-text",
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
        ):
            self.assertIs(negotiate(accept), OPENMETRICS, accept)

    def test_preference(self) -> None:
        """The better liked of two is taken; what has no weight, or a wrong one, is not wanted."""
        self.assertIs(negotiate("application/openmetrics-text;q=0.3, text/plain;q=0.9"), TEXT)
        self.assertIs(negotiate("application/openmetrics-text;q=0"), TEXT)
        self.assertIs(negotiate("application/openmetrics-text;q=much"), TEXT)
