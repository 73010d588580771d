"""Run the measurements and print their tables."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from s3orchestrator.testing.bench.bodies import bodies
from s3orchestrator.testing.bench.fairness import fairness
from s3orchestrator.testing.bench.load import UnexpectedAnswer
from s3orchestrator.testing.bench.memory import memory
from s3orchestrator.testing.bench.pages import pages
from s3orchestrator.testing.bench.servers import CannotStart
from s3orchestrator.testing.bench.small import small
from s3orchestrator.testing.bench.stage import QUICK, THOROUGH, Stage
from s3orchestrator.testing.bench.table import Table
from s3orchestrator.testing.bench.tls import tls

MEASUREMENTS: Mapping[str, Callable[[Stage], Table]] = {
    "small": small,
    "bodies": bodies,
    "tls": tls,
    "pages": pages,
    "memory": memory,
    "fairness": fairness,
}


def main(arguments: Sequence[str]) -> int:
    """Measure; 0 unless something could not be measured. Guides are not gates."""
    parser = ArgumentParser(prog="make bench", description="Measure what serving costs, beside nginx.")
    parser.add_argument("--quick", action="store_true", help="less of everything, in a minute and a half")
    parser.add_argument(
        "--only", metavar="NAME", choices=MEASUREMENTS, action="append", help="/".join(MEASUREMENTS)
    )
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {_processor()}\n")
    with tempfile.TemporaryDirectory(prefix="s3orchestrator-bench-") as directory:
        stage = Stage(Path(directory), QUICK if options.quick else THOROUGH)
        try:
            with stage.run():
                for name in options.only or MEASUREMENTS:
                    began = time.monotonic()
                    print(MEASUREMENTS[name](stage).render(), flush=True)
                    print(f"({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
        except (CannotStart, UnexpectedAnswer) as error:
            print(f"cannot be measured: {error}", file=sys.stderr)
            return 1
    return 0


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{len(names)} × {name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
