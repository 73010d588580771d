"""Figures as people read them: a table for each measurement, and one of what was aimed at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from s3orchestrator.testing.bench.report import CPU, NGINX, OURS, TUNED, Figure, Report, number
from s3orchestrator.testing.bench.table import Table


@frozen
class Column:
    """What is measured of whom; `best` stands for the best round, else it is the median."""

    measure: str
    who: str
    best: bool = False

    def heading(self, units: Mapping[str, str]) -> str:
        """What stands above the column, in several lines."""
        lines = [f"{self.measure}, {units[self.measure]}", *self.who.split(", ")]
        if self.measure == CPU:
            lines.append("min" if self.best else "median")
        return "\n".join(lines)

    def cell(self, figures: Sequence[Figure]) -> str:
        """What stands in the row that `figures` make."""
        found = _find(figures, self.who, self.measure)
        if found is None:
            return ""
        return number(found.least if self.best else found.median)


def tables(case: str, title: str, figures: Sequence[Figure]) -> list[Table]:
    """Return the tables of a measurement: one for all that has figures in the same units."""
    kinds: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for what in _each(figure.what for figure in figures):
        units = {figure.measure: figure.unit for figure in figures if figure.what == what}
        kinds.setdefault(tuple(units.items()), []).append(what)
    return [
        _table(f"{case}: {title}", dict(units), [figure for figure in figures if figure.what in names])
        for units, names in kinds.items()
    ]


def _table(title: str, units: Mapping[str, str], figures: Sequence[Figure]) -> Table:
    """A line for everything that was done; the last columns say how we compare and what was aimed at."""
    columns = _columns(units, figures)
    servers = _each(figure.who for figure in figures)
    with_ratio = CPU in units and {OURS, NGINX} <= set(servers)
    with_guide = any(figure.guide for figure in figures)
    headings = ["", *(column.heading(units) for column in columns)]
    headings += ["CPU\nours / nginx"] * with_ratio + ["guide"] * with_guide
    table = Table(title, headings)
    for what in _each(figure.what for figure in figures):
        row = [figure for figure in figures if figure.what == what]
        cells = [column.cell(row) for column in columns]
        table.add(what, *cells, *[_ratio(row)] * with_ratio, *[_guides(row)] * with_guide)
    return table


def _columns(units: Mapping[str, str], figures: Sequence[Figure]) -> list[Column]:
    """
    Of CPU time the least and the median are shown, of everything else the median.

    Of nginx with larger buffers it is CPU time only, lest the table gets too wide.
    """
    columns = []
    for measure in units:
        for who in _each(figure.who for figure in figures if figure.measure == measure):
            if measure == CPU:
                columns.append(Column(measure, who, best=True))
            if measure == CPU or who != TUNED:
                columns.append(Column(measure, who))
    return columns


def _ratio(row: Sequence[Figure]) -> str:
    ours, nginx = _find(row, OURS, CPU), _find(row, NGINX, CPU)
    return f"{ours.median / nginx.median:.2f}" if ours is not None and nginx is not None else ""


def _guides(row: Iterable[Figure]) -> str:
    return ", ".join(
        f"{figure.measure} {figure.guide}" if figure.measure != CPU else figure.guide
        for figure in row
        if figure.guide
    )


def _find(figures: Iterable[Figure], who: str, measure: str) -> Figure | None:
    return next((each for each in figures if (each.who, each.measure) == (who, measure)), None)


def _each(values: Iterable[str]) -> list[str]:
    """The values in order, each once."""
    return list(dict.fromkeys(values))


def aims(report: Report) -> Table:
    """Return what was aimed at, and what has become of it, as far as it was measured."""
    table = Table("What is aimed at", ["", "of", "at most", "min", "median", "", "ours", "nginx"])
    for verdict in report.verdicts:
        if verdict.least is not None and verdict.median is not None:
            limit = f"{verdict.limit:g} {verdict.unit}"
            figures = (number(verdict.least), number(verdict.median))
            table.add(verdict.aim, verdict.what, limit, *figures, verdict.word, verdict.ours, verdict.nginx)
    return table
