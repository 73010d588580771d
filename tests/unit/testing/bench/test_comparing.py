"""Two runs beside each other."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.comparing import changes, main
from s3orchestrator.testing.bench.report import RATE, Report
from tests.unit.testing.bench.kit import figure


class ChangesTests(SynchronousTestCase):
    def marks(self, before: float, after: float, measure: str = "CPU") -> str:
        (change,) = changes(
            Report({}, [figure("GET", before, measure=measure)]),
            Report({}, [figure("GET", after, measure=measure)]),
        )
        return change.mark

    def test_noise(self) -> None:
        """Differences up to 15 % are not marked, in either direction."""
        self.assertEqual([self.marks(100, after) for after in (87, 100, 115)], ["", "", ""])

    def test_costs(self) -> None:
        """What takes more has become worse."""
        self.assertEqual([self.marks(100, after) for after in (80, 120)], ["better", "WORSE"])

    def test_rates(self) -> None:
        """What gives more has become better."""
        self.assertEqual([self.marks(100, after, RATE) for after in (80, 120)], ["WORSE", "better"])

    def test_nothing(self) -> None:
        """What was nothing and is nothing has not changed; what was nothing and is something has."""
        self.assertEqual([self.marks(0, after) for after in (0, 1)], ["", "WORSE"])

    def test_best_rounds(self) -> None:
        """The best rounds are compared to each other as well: of costs the least, of rates the most."""
        for measure, best in (("CPU", 0.5), (RATE, 2.0)):
            before = Report({}, [figure("GET", 2.0, 3.0, 4.0, measure=measure)])
            after = Report({}, [figure("GET", 1.0, 3.0, 8.0, measure=measure)])
            (change,) = changes(before, after)
            self.assertEqual((change.ratio, change.best_ratio), (1.0, best))

    def test_only_in_one(self) -> None:
        """What only one run has measured cannot be compared."""
        self.assertEqual(changes(Report({}, [figure("GET", 1.0)]), Report({}, [figure("PUT", 1.0)])), [])


class CommandTests(SynchronousTestCase):
    def run_with(self, *texts: str) -> tuple[int, str, str]:
        paths = []
        for text in texts:
            paths.append(Path(self.mktemp()))
            paths[-1].write_text(text, "utf-8")
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(path) for path in paths])
        return code, out.getvalue(), err.getvalue()

    def test_two_files(self) -> None:
        """Both medians are shown, and their ratio."""
        before = Report({"revision": "abc"}, [figure("GET", 100.0)]).to_json()
        after = Report({"revision": "def"}, [figure("GET", 150.0)]).to_json()
        code, out, _ = self.run_with(before, after)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"revision +abc +def")
        self.assertRegex(out, r"GET: CPU \(ours\) +µs +100 +150 +1\.50 +1\.50 +WORSE")

    def test_no_report(self) -> None:
        """A file that is no report is named as what it is, and not compared."""
        code, out, err = self.run_with("{}", "{}")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("not a report", err)
