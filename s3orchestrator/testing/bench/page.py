"""
What `docs/performance.rst` shows of a run: its tables, its charts, and the figures to compare to.

`make bench-page JSON=…` makes all of it anew; what the page says about it is written by hand.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from pathlib import Path

from s3orchestrator.testing.bench.measurements import MEASUREMENTS
from s3orchestrator.testing.bench.plots import charts, write
from s3orchestrator.testing.bench.report import Report, number
from s3orchestrator.testing.bench.showing import tables

DOCS = Path("docs")
CHARTS = "_static/performance"  # below it
INCLUDED = "performance-run.inc"

_UNDER_CHARTS = "Medians; the thin strokes reach from the best round to the worst."


def page(report: Report) -> str:
    """Return the part of the page that shows a run, as reStructuredText."""
    parts = [
        ".. Made by `make bench-page`; changes belong there.\n",
        _list_table(["", ""], report.about.items(), headed=False),
        _heading("What was aimed at"),
        _list_table(["Aim", "Figure", "At most", "Min", "Median", "", "Ours", "nginx"], _aims(report)),
        _heading("Cost against size, and against connections"),
        *(_image(name, chart.title) for name, chart in charts(report).items()),
        _UNDER_CHARTS + "\n",
        _heading("All figures"),
        f":download:`The same as JSON <{CHARTS}/run.json>`, to compare others to.\n",
        *_all_tables(report),
        *_problems(report),
    ]
    return "\n".join(parts)


def _aims(report: Report) -> Iterable[Sequence[str]]:
    for verdict in report.verdicts:
        figures = [number(value) if value is not None else "–" for value in (verdict.least, verdict.median)]
        limit = f"{verdict.limit:g} {verdict.unit}".rstrip()
        word = verdict.word if verdict.word == "met" else f"*{verdict.word}*"
        yield [verdict.aim, verdict.what, limit, *figures, word, verdict.ours, verdict.nginx]


def _all_tables(report: Report) -> Iterable[str]:
    for name, measurement in MEASUREMENTS.items():
        found = [figure for figure in report.figures if figure.case == name]
        for table in tables(name, measurement.title, found):
            yield _literal(table.render().splitlines())


def _problems(report: Report) -> Iterable[str]:
    """What could not be measured, and why, in a line each."""
    if report.problems:
        yield "Not measured:\n\n" + _literal(problem.splitlines()[0] for problem in report.problems)


def _literal(lines: Iterable[str]) -> str:
    return ".. code-block:: text\n\n" + "\n".join(f"   {line}".rstrip() for line in lines) + "\n"


def _image(name: str, title: str) -> str:
    return f".. image:: {CHARTS}/{name}.svg\n   :alt: {title}\n"


def _heading(text: str) -> str:
    return f"{text}\n{'~' * len(text)}\n"


def _list_table(heading: Sequence[str], rows: Iterable[Sequence[str]], *, headed: bool = True) -> str:
    options = "   :header-rows: 1\n" if headed else ""
    lines = [heading, *rows] if headed else list(rows)
    text = "\n".join(
        "\n".join(f"   {'*' if column == 0 else ' '} - {cell}".rstrip() for column, cell in enumerate(row))
        for row in lines
    )
    return f".. list-table::\n{options}\n{text}\n"


def main(arguments: Sequence[str]) -> int:
    """Make the files; 1 if the file is no report."""
    parser = ArgumentParser(prog="make bench-page", description="Show a run of the benchmark in the docs.")
    parser.add_argument("json", type=Path, help="the run, as `make bench` has written it")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the docs")
    options = parser.parse_args(arguments)
    try:
        report = Report.from_json(options.json.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot be shown: {error}", file=sys.stderr)
        return 1
    folder = options.docs / CHARTS
    folder.mkdir(parents=True, exist_ok=True)
    write(report, folder)
    (folder / "run.json").write_text(report.to_json(), "utf-8")
    (options.docs / INCLUDED).write_text(page(report), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
