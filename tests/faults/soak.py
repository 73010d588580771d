"""
`make soak MINUTES=n SEED=s`: clients and mischief for as long as wanted, and what came of it.

The seed decides what happens, when, and what the clients ask; the same seed gives the same schedule. How
the machine's scheduler interleaves it is beyond anybody's reach, so a finding may take more than one run
to see again. Exit status 1: something was lost, left over, or found by `fsck --deep`.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from shutil import rmtree
from tempfile import mkdtemp

from attrs import define, field

from tests.faults.database import Database
from tests.faults.ordeal import Ordeal, Report, deadline, either, scratch

_PROGRESS = 10.0  # seconds
_COMPARE = 300.0  # seconds between two comparisons of everything, so that a finding has a place in time


@define(eq=False)
class Progress:
    """Prints a line now and then."""

    _ordeal: Ordeal
    _started: float = field(init=False, factory=time.monotonic)
    _last: float = field(init=False, default=0.0)

    def tell(self) -> None:
        """Print a line if it is time."""
        if time.monotonic() - self._last >= _PROGRESS:
            self.tell_now()

    def tell_now(self) -> None:
        """Print a line."""
        self._last = time.monotonic()
        report, elapsed = self._ordeal.report(), self._last - self._started
        print(
            f"{elapsed:7.0f} s  {report.operations:8} operations  {report.faults:5} faults  "
            f"{len(report.losses)} losses  {len(report.orphans)} orphans  {len(report.findings)} findings",
            flush=True,
        )


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing was wrong."""
    parser = ArgumentParser(prog="make soak", description="Everything goes wrong, at random.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to have it again")
    parser.add_argument("--backends", default="disk,disk,radosgw", help="of disk and radosgw")
    parser.add_argument("--ledger", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--instances", type=int, default=1, help="daemons; more than one needs postgres")
    options = parser.parse_args(arguments)
    if options.instances > 1 and options.ledger == "sqlite":
        parser.error("SQLite is for one daemon")
    seed = options.seed if options.seed is not None else SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {options.ledger}, {options.instances} daemon(s), {options.backends}", flush=True)
    directory = Path(mkdtemp(prefix="s3o-soak-", dir=scratch()))
    database = Database() if options.ledger == "postgres" else None
    ordeal = Ordeal(directory, options.backends.split(","), seed, database, options.instances)
    report = _endure(ordeal, 60 * options.minutes)
    if database is not None:
        database.stop()
    _print(report)
    if not report.is_good:
        print(f"\nseed {seed}; what is left is in {directory}", flush=True)
        return 1
    rmtree(directory)
    return 0


def _endure(ordeal: Ordeal, seconds: float) -> Report:
    progress, over = Progress(ordeal), deadline(seconds)
    ordeal.start()
    try:
        while True:
            ordeal.run(either(over, deadline(_COMPARE)), progress.tell)
            ordeal.compare()
            progress.tell_now()
            if over() or not ordeal.report().is_good:
                return ordeal.report()
    finally:
        ordeal.stop()


def _print(report: Report) -> None:
    rows = [
        ("operations answered", report.operations),
        ("operations without an answer", report.failures),
        ("crashes and faults", report.faults),
        *((f"  {what}", count) for what, count in sorted(report.happened.items())),
        ("acknowledged objects lost or altered", len(report.losses)),
        ("orphans after the services ran", len(report.orphans)),
        ("other findings, those of fsck --deep included", len(report.findings)),
    ]
    print()
    for what, count in rows:
        print(f"{what:48}{count:10}")
    for line in [*report.losses, *report.orphans, *report.findings]:
        print(f"!! {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
