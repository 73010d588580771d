"""
Two runs beside each other: `make bench-compare A=before.json B=after.json`.

Differences up to 15 % are noise on a machine that others use as well, and are not marked.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from s3orchestrator.testing.bench.report import Figure, Report, number
from s3orchestrator.testing.bench.table import Table

NOISE = 0.15


@frozen
class Change:
    """A figure that both runs have."""

    before: Figure
    after: Figure

    @property
    def ratio(self) -> float:
        """By how much the median has changed; 1 if it was nothing and is nothing."""
        return _ratio(self.before.median, self.after.median)

    @property
    def best_ratio(self) -> float:
        """The same of each run's best round."""
        best = max if self.after.more_is_better else min
        return _ratio(best(self.before.values), best(self.after.values))

    @property
    def mark(self) -> str:
        """`better` or `WORSE`, if it is more than noise."""
        if max(self.ratio, 1 / self.ratio if self.ratio else 0.0) <= 1 + NOISE:
            return ""
        return "better" if (self.ratio > 1) == self.after.more_is_better else "WORSE"


def _ratio(before: float, after: float) -> float:
    if before == after:
        return 1.0
    return after / before if before else float("inf")


def changes(before: Report, after: Report) -> list[Change]:
    """Return what can be compared, in the order of the second run."""
    known = {figure.name: figure for figure in before.figures}
    return [Change(known[each.name], each) for each in after.figures if each.name in known]


def compared(before: Report, after: Report) -> list[Table]:
    """Return a table for each measurement that both runs have made."""
    tables: dict[str, Table] = {}
    for change in changes(before, after):
        figure = change.after
        headings = ["", "unit", "A, median", "B, median", "B / A", "B / A at best", ""]
        table = tables.setdefault(figure.case, Table(figure.case, headings))
        table.add(
            f"{figure.what}: {figure.measure} ({figure.who})",
            figure.unit,
            number(change.before.median),
            number(figure.median),
            f"{change.ratio:.2f}",
            f"{change.best_ratio:.2f}",
            change.mark,
        )
    return list(tables.values())


def _about(before: Report, after: Report) -> Table:
    table = Table("Runs", ["", "A", "B"])
    for name in {**before.about, **after.about}:
        table.add(name, before.about.get(name, ""), after.about.get(name, ""))
    return table


def main(arguments: Sequence[str]) -> int:
    """Compare; 0 however the comparison ends, 1 if there is nothing to compare."""
    parser = ArgumentParser(prog="make bench-compare", description="Compare two runs of the benchmark.")
    parser.add_argument("a", metavar="A", type=Path, help="JSON of the earlier run")
    parser.add_argument("b", metavar="B", type=Path, help="JSON of the later one")
    options = parser.parse_args(arguments)
    try:
        before, after = (Report.from_json(path.read_text("utf-8")) for path in (options.a, options.b))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot be compared: {error}", file=sys.stderr)
        return 1
    for table in [_about(before, after), *compared(before, after)]:
        print(table.render())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
