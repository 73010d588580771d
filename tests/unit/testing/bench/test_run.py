"""A run of several measurements."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.__main__ import Run
from s3orchestrator.testing.bench.load import UnexpectedAnswer
from s3orchestrator.testing.bench.measurements import MEASUREMENTS, Measurement
from s3orchestrator.testing.bench.report import Figure
from s3orchestrator.testing.bench.stage import QUICK, Stage
from s3orchestrator.testing.bench.targets import TARGETS
from tests.unit.testing.bench.kit import figure


def refused(_: Stage) -> list[Figure]:
    raise UnexpectedAnswer("503 Slow Down")


class RunTests(SynchronousTestCase):
    def test_one_that_fails(self) -> None:
        """What cannot be measured is said, kept, and no reason to stop."""
        directory = Path(self.mktemp())
        directory.mkdir()
        good = Measurement("of something", lambda _: [figure("GET, 32 connections", 100.0)])
        run = Run(Stage(directory, QUICK), {"bad": Measurement("of nothing", refused), "small": good})
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            for name in run.measurements:
                run.make(name)
        self.assertEqual(run.problems, ["bad: 503 Slow Down"])
        self.assertEqual([each.what for each in run.figures], ["GET, 32 connections"])
        self.assertIn("503 Slow Down", err.getvalue())
        self.assertIn("small: of something", out.getvalue())
        self.assertIn("≤ 150 µs", out.getvalue())

    def test_aims_are_measured(self) -> None:
        """Every aim is about a measurement that there is."""
        self.assertLessEqual({target.case for target in TARGETS}, set(MEASUREMENTS))
