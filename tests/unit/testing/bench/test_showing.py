"""Figures in tables."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.report import NGINX, RATE, TUNED, Report, number
from s3orchestrator.testing.bench.showing import aims, tables
from s3orchestrator.testing.bench.targets import judged
from tests.unit.testing.bench.kit import figure


class ShowingTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Three digits, and no more than there are of whole numbers."""
        shown = [number(value) for value in (0, 0.123, 1.0, 12.34, 123.4, 12345.6)]
        self.assertEqual(shown, ["0", "0.12", "1.00", "12.3", "123", "12346"])

    def test_beside_nginx(self) -> None:
        """A line has both servers, how they compare and what was aimed at; of the tuned nginx CPU only."""
        ours = figure("GET, 32 connections", 100.0, 160.0)
        rate = figure("GET, 32 connections", 5000.0, measure=RATE, unit="/s")
        figures = [
            *(
                evolve(ours, who=who, values=values)
                for who, values in ((NGINX, (20.0, 30.0)), (TUNED, (10.0,)))
            ),
            *(evolve(rate, who=who) for who in (NGINX, TUNED)),
        ]
        (table,) = tables("small", "title", judged(Report({}, [ours, rate, *figures])).figures)
        self.assertEqual(table.title, "small: title")
        self.assertEqual(
            table.rows,
            [
                (
                    "GET, 32 connections",
                    *("100", "130", "20.0", "25.0", "10.0", "10.0"),
                    "5000",
                    "5000",
                    "5.20",
                    "≤ 150 µs",
                )
            ],
        )

    def test_units_apart(self) -> None:
        """What has other units has a table of its own; what was not measured leaves a gap."""
        figures = [
            figure("parts", 1.0, unit="s/GB"),
            figure("complete", 2.0, unit="ms"),
            figure("abort", 3.0, unit="ms"),
            figure("complete", 4.0, who=NGINX, unit="ms"),
        ]
        parts, others = tables("multipart", "title", figures)
        self.assertEqual([row[0] for row in parts.rows], ["parts"])
        self.assertEqual(others.rows[1], ("abort", "3.00", "3.00", "", "", ""))

    def test_aims(self) -> None:
        """Each aim that was measured has a line."""
        report = judged(Report({}, [figure("GET, 32 connections", 100.0, 160.0)]))
        (row,) = aims(report).rows
        self.assertEqual(row[1:], ("small: GET, 32 connections", "150 µs", "100", "130", "met", "130 µs", ""))
