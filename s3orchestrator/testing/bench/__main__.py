"""Run the measurements, print their tables, and keep the figures."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from s3orchestrator.testing.bench.load import UnexpectedAnswer
from s3orchestrator.testing.bench.machine import described
from s3orchestrator.testing.bench.measurements import MEASUREMENTS, Measurement
from s3orchestrator.testing.bench.plots import write
from s3orchestrator.testing.bench.report import Figure, Report
from s3orchestrator.testing.bench.servers import CannotStart
from s3orchestrator.testing.bench.showing import aims, tables
from s3orchestrator.testing.bench.stage import FULL, QUICK, USUAL, Effort, Stage
from s3orchestrator.testing.bench.targets import judged

KEPT = Path(".cache/bench")


@define
class Run:
    """The measurements of a run, one after the other: one that fails leaves the others alone."""

    stage: Stage
    measurements: Mapping[str, Measurement] = MEASUREMENTS
    figures: list[Figure] = field(init=False, factory=list)
    problems: list[str] = field(init=False, factory=list)

    def make(self, name: str) -> None:
        """Make a measurement, and show it."""
        measurement = self.measurements[name]
        began = time.monotonic()
        try:
            found = measurement.make(self.stage)
        except Exception as error:
            if not isinstance(error, CannotStart | UnexpectedAnswer):
                traceback.print_exc()  # nobody has foreseen it
            self.problems.append(f"{name}: {error}")
            print(f"{name}: cannot be measured: {error}\n", file=sys.stderr, flush=True)
            return
        self.figures += found
        for table in tables(name, measurement.title, judged(Report({}, found)).figures):
            print(table.render(), flush=True)
        print(f"({name}: {time.monotonic() - began:.0f} s)\n", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure; 0 unless something could not be measured. Targets are not gates."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what has been started is stopped
    began = time.time_ns() / 1e9
    effort = _effort(options)
    about = described() | {"made": _written(began), "effort": effort.name, "rounds": str(effort.rounds)}
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + "\n", flush=True)
    kept = options.json or KEPT / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="s3orchestrator-bench-") as directory:
        run = Run(Stage(Path(directory), effort))
        with run.stage.run():
            for name in options.only or MEASUREMENTS:
                run.make(name)
                about["took"] = f"{(time.time_ns() / 1e9 - began) / 60:.1f} minutes"
                report = judged(Report(about, run.figures, problems=run.problems))
                # Every time: a run that is ended early has not been for nothing.
                kept.write_text(report.to_json(), "utf-8")
    write(report, kept.parent, f"{kept.stem}-")
    if (reached := aims(report)).rows:
        print(reached.render())
    print(f"{about['took']}; written to {kept}")
    return 1 if run.problems else 0


def _only_help() -> str:
    return f"this measurement, and others that are named so: {', '.join(MEASUREMENTS)}"


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="make bench", description="Measure what serving costs, beside nginx.")
    parser.add_argument("--quick", action="store_true", help="less of everything, in a few minutes")
    parser.add_argument("--full", action="store_true", help="everything, more thoroughly, in an hour")
    parser.add_argument("--only", metavar="NAME", choices=MEASUREMENTS, action="append", help=_only_help())
    parser.add_argument("--json", type=Path, help=f"where to keep the figures; by default a file in {KEPT}")
    return parser.parse_args(arguments)


def _effort(options: Namespace) -> Effort:
    if options.quick:
        return QUICK
    return FULL if options.full else USUAL


def _written(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
