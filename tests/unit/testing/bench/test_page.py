"""Which charts a run makes, and the part of the documentation that shows it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.bodies import GET, PUT, body_name, size_name
from s3orchestrator.testing.bench.page import main, page
from s3orchestrator.testing.bench.plots import charts
from s3orchestrator.testing.bench.report import NGINX, OURS, Report
from s3orchestrator.testing.bench.small import request_name
from s3orchestrator.testing.bench.targets import judged
from tests.unit.testing.bench.kit import figure

SIZES = (1 << 10, 64 << 20, 1 << 30)


def full() -> Report:
    """A report with something of all that is drawn."""
    figures = [
        figure(body_name(kind, size, tls=tls), 0.2, 0.3, case="bodies", unit="s/GB", bytes=size, tls=tls)
        for kind in (GET, PUT)
        for size in SIZES
        for tls in (False, True)
    ]
    figures += [
        figure(request_name(kind, connections), 140.0, connections=connections)
        for kind in ("GET", "GET, TLS", "HEAD", "PUT, new keys")
        for connections in (1, 32)
    ]
    figures += [evolve(each, who=NGINX) for each in figures]
    return judged(Report({"machine": "1 × Abacus"}, figures))


class NamesTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """Sizes are told in the largest unit that fits."""
        self.assertEqual([size_name(size) for size in SIZES], ["1 KiB", "64 MiB", "1 GiB"])

    def test_bodies(self) -> None:
        """The size follows the method."""
        self.assertEqual(body_name(PUT, 1 << 30, tls=True), "PUT 1 GiB, unsigned payload, TLS")

    def test_connections(self) -> None:
        """One connection is one."""
        self.assertEqual(
            [request_name("GET", n) for n in (1, 2)], ["GET, 1 connection", "GET, 2 connections"]
        )


class ChartsTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Over sizes there are both servers, plain and over TLS, each with all sizes."""
        chart = charts(full())["get-by-size"]
        self.assertEqual([line.name for line in chart.lines], [OURS, "ours, TLS", NGINX, "nginx, TLS"])
        self.assertEqual([len(line.points) for line in chart.lines], [3] * 4)
        self.assertEqual([name for _, name in chart.ticks], ["1 KiB", "64 MiB", "1 GiB"])
        self.assertEqual((chart.lines[0].points[0].low, chart.lines[0].points[0].high), (0.2, 0.3))

    def test_kinds(self) -> None:
        """Over connections there is a line for each kind of request that was measured."""
        chart = charts(full())["kinds-by-connections"]
        self.assertEqual([line.name for line in chart.lines], ["GET", "HEAD", "PUT, new keys"])
        self.assertEqual([place for place, _ in chart.ticks], [1, 32])

    def test_not_measured(self) -> None:
        """What was not measured is not drawn."""
        self.assertEqual(list(charts(Report({}, []))), [])


class PageTests(SynchronousTestCase):
    def test_what_is_shown(self) -> None:
        """The page has the machine, the aims with what became of them, charts and tables."""
        text = page(full())
        self.assertIn("1 × Abacus", text)
        self.assertIn(".. image:: _static/performance/get-by-size.svg", text)
        self.assertRegex(
            text, r"GET 1 KiB, verify.*\n.*small: GET, 32 connections\n.*150 µs\n.*140\n.*140\n +- met\n"
        )
        self.assertIn("*not measured*", text)
        self.assertIn("   bodies: bodies over one connection\n", text)

    def test_problems(self) -> None:
        """What could not be measured is said, in a line."""
        text = page(evolve(full(), problems=["workers: HTTP/1.1 503\r\nServer: s3orchestrator"]))
        self.assertTrue(text.endswith("Not measured:\n\n.. code-block:: text\n\n   workers: HTTP/1.1 503\n"))

    def test_files(self) -> None:
        """One command makes all files, and making them again changes nothing."""
        docs, source = Path(self.mktemp()), Path(self.mktemp())
        docs.mkdir()
        source.write_text(full().to_json(), "utf-8")
        made = []
        for json in (source, docs / "_static/performance/run.json"):
            self.assertEqual(main([str(json), "--docs", str(docs)]), 0)
            made.append({path: path.read_bytes() for path in docs.rglob("*") if path.is_file()})
        self.assertEqual(made[0], made[1])
        self.assertEqual(len(made[0]), 7)

    def test_no_report(self) -> None:
        """A file that is no report changes nothing."""
        docs, source = Path(self.mktemp()), Path(self.mktemp())
        source.write_text("{}", "utf-8")
        with redirect_stderr(io.StringIO()) as err:
            self.assertEqual(main([str(source), "--docs", str(docs)]), 1)
        self.assertIn("cannot be shown", err.getvalue())
        self.assertFalse(docs.exists())
