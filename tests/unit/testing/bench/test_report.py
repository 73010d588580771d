"""What a run found, on its way to a file and back, and measured by what was aimed at."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.report import CPU, NGINX, P50, RATE, Report, Verdict
from s3orchestrator.testing.bench.targets import TARGETS, judged
from tests.unit.testing.bench.kit import figure

GET = "GET, 32 connections"


class ReportTests(SynchronousTestCase):
    def test_statistics(self) -> None:
        """Of several rounds the least and the median are told."""
        found = figure("GET", 3.0, 1.0, 8.0)
        self.assertEqual((found.least, found.median), (1.0, 3.0))

    def test_round_trip(self) -> None:
        """What is written is what is read again."""
        figures = [figure("GET", 1.0, 2.0, connections=32), figure("PUT", 5.0, who=NGINX)]
        report = judged(Report({"machine": "1 × Abacus"}, figures, problems=["workers: none"]))
        again = Report.from_json(report.to_json())
        self.assertEqual(again.to_json(), report.to_json())
        self.assertEqual(again.about, report.about)
        self.assertEqual(again.verdicts, list(report.verdicts))
        self.assertEqual([each.name for each in again.figures], [each.name for each in figures])

    def test_read_by_others(self) -> None:
        """Who has no code of ours finds minimum, median, unit, guide and verdict in the file."""
        report = judged(Report({}, [figure(GET, 100.0, 140.0, 170.0)]))
        content = json.loads(report.to_json())
        (written,) = content["figures"]
        self.assertEqual(
            [written[name] for name in ("minimum", "median", "unit", "guide", "who")],
            [100.0, 140.0, "µs", "≤ 150 µs", "ours"],
        )
        self.assertEqual(content["targets"][0]["verdict"], "met")

    def test_something_else(self) -> None:
        """What is no report, or of another time, is refused."""
        for text in ("[]", "{}", '{"format": 99}', "nonsense"):
            self.assertRaises(ValueError, Report.from_json, text)

    def test_places(self) -> None:
        """Figures are found by where they lie."""
        few, many = figure("GET", 1.0, connections=1), figure("GET, many", 2.0, connections=256)
        report = Report({}, [few, many, figure("PUT", 1.0, case="bodies", connections=1)])
        self.assertEqual(list(report.of("small", connections=1)), [few])
        self.assertEqual(list(report.of("small")), [few, many])


class TargetTests(SynchronousTestCase):
    def verdict(self, *figures: object, aim: str) -> Verdict:
        report = judged(Report({}, figures))  # type: ignore[arg-type]
        return next(each for each in report.verdicts if each.aim.startswith(aim))

    def test_median_decides(self) -> None:
        """An aim is reached if the median does; if only the best round does, that is said."""
        words = [
            self.verdict(figure(GET, *values), aim="GET 1 KiB").word
            for values in ((100, 140, 170), (140, 160, 170), (160, 170, 180))
        ]
        self.assertEqual(words, ["met", "met at best", "missed"])

    def test_relative_to_nginx(self) -> None:
        """Some limits are multiples of what nginx needs in the same run."""
        ours = figure("GET 64 MiB", 0.3, 0.4, case="bodies", unit="s/GB")
        nginx = evolve(ours, who=NGINX, values=(1.0, 1.6))
        verdict = self.verdict(ours, nginx, aim="GET 64 MiB plain")
        self.assertEqual((verdict.limit, verdict.unit, verdict.word), (0.35, "× nginx", "met"))
        assert verdict.median is not None
        self.assertAlmostEqual(verdict.median, 0.35 / 1.3, places=4)
        self.assertEqual((verdict.ours, verdict.nginx), ("0.35 s/GB", "1.30 s/GB"))
        guided = judged(Report({}, [ours, nginx])).figures
        self.assertEqual([each.guide for each in guided], ["≤ 0.35 × nginx", ""])

    def test_not_measured(self) -> None:
        """Without its figure, or without what it is compared to, nothing is said."""
        ours = figure("GET 64 MiB", 0.3, case="bodies", unit="s/GB")
        self.assertEqual(self.verdict(ours, aim="GET 64 MiB plain").word, "not measured")
        self.assertEqual(self.verdict(aim="GET 1 KiB").word, "not measured")

    def test_other_measures(self) -> None:
        """Latencies have aims as well, in their own unit."""
        beside = figure("beside 3 PUTs, SHA-256 signed", 4.0, case="fairness", measure=P50, unit="ms")
        verdict = self.verdict(beside, aim="small GETs beside")
        self.assertEqual((verdict.limit, verdict.unit, verdict.median), (5, "ms", 4.0))

    def test_names_are_unique(self) -> None:
        """No figure has two limits."""
        names = [target.name for target in TARGETS]
        self.assertEqual(len(names), len(set(names)))

    def test_more_is_better(self) -> None:
        """Rates are what was given; all else is what was taken."""
        self.assertTrue(figure("GET", 1.0, measure=RATE).more_is_better)
        self.assertFalse(figure("GET", 1.0, measure=CPU).more_is_better)
