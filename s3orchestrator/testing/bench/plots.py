"""Which charts a run makes: cost against object size, and cost against connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from s3orchestrator.testing.bench.bodies import GET, PUT, body_name, size_name
from s3orchestrator.testing.bench.chart import Chart, Line, Point
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure, Report
from s3orchestrator.testing.bench.small import request_name

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0b5fa5", "#c2570c", "#2e7d32", "#7b3fa0", "#5f6368"


def charts(report: Report) -> Mapping[str, Chart]:
    """Return the charts that the report has figures for, by the names of their files."""
    made = {
        "get-by-size": _by_size(report, GET, "GET: CPU time per GB, by size of the object"),
        "put-by-size": _by_size(report, PUT, "PUT, payload unsigned: CPU time per GB, by size of the object"),
        "get-by-connections": _both_by_connections(report, "GET", "GET of 1 KiB: CPU time, by connections"),
        "put-by-connections": _both_by_connections(
            report, "PUT, new keys", "PUT of 1 KiB, new keys: CPU time, by connections"
        ),
        "kinds-by-connections": _kinds_by_connections(report),
    }
    return {name: chart for name, chart in made.items() if chart.lines}


def write(report: Report, folder: Path, prefix: str = "") -> list[Path]:
    """Draw all charts into a folder, which is there; returns the files."""
    files = []
    for name, chart in charts(report).items():
        files.append(folder / f"{prefix}{name}.svg")
        files[-1].write_text(chart.svg(), "utf-8")
    return files


def _by_size(report: Report, kind: str, title: str) -> Chart:
    def named(tls: bool) -> Callable[[Figure], bool]:
        return lambda figure: figure.what == body_name(kind, int(figure.at["bytes"]), tls=tls)

    figures = [figure for figure in report.of("bodies") if "bytes" in figure.at]
    lines = _plain_and_tls(figures, "bytes", named)
    ticks = [(size, size_name(int(size))) for size in _places(lines)]
    return Chart(title, "size of the object", "CPU, seconds per GB", ticks, lines)


def _both_by_connections(report: Report, kind: str, title: str) -> Chart:
    def named(tls: bool) -> Callable[[Figure], bool]:
        return lambda figure: figure.what == request_name(kind + ", TLS" * tls, int(figure.at["connections"]))

    lines = _plain_and_tls(list(report.of("small")), "connections", named)
    return _over_connections(title, lines)


def _kinds_by_connections(report: Report) -> Chart:
    kinds = {
        "GET": BLUE,
        "HEAD": GREEN,
        "304": GREY,
        "PUT, new keys": ORANGE,
        "PUT, overwriting": PURPLE,
        "DELETE": "#a01313",
    }
    figures = list(report.of("small"))
    lines = [
        _line(
            kind,
            [each for each in figures if each.what == request_name(kind, int(each.at["connections"]))],
            OURS,
            "connections",
            colour,
        )
        for kind, colour in kinds.items()
    ]
    return _over_connections("Requests of 1 KiB: our CPU time, by connections", [*filter(None, lines)])


def _over_connections(title: str, lines: list[Line]) -> Chart:
    ticks = [(place, f"{place:g}") for place in _places(lines)]
    return Chart(title, "connections", "CPU, µs per request", ticks, lines)


def _plain_and_tls(
    figures: list[Figure], axis: str, named: Callable[[bool], Callable[[Figure], bool]]
) -> list[Line]:
    """Ours and nginx's, in plain and over TLS."""
    lines = [
        _line(f"{who}, TLS" if tls else who, list(filter(named(tls), figures)), who, axis, colour, dashed=tls)
        for who, colour in ((OURS, BLUE), (NGINX, ORANGE))
        for tls in (False, True)
    ]
    return [line for line in lines if line is not None]


def _line(
    name: str, figures: Iterable[Figure], who: str, axis: str, colour: str, *, dashed: bool = False
) -> Line | None:
    points = [
        Point(figure.at[axis], figure.median, min(figure.values), max(figure.values))
        for figure in figures
        if figure.who == who
    ]
    points.sort(key=lambda point: point.x)
    return Line(name, points, colour, dashed, square=who == NGINX) if points else None


def _places(lines: Iterable[Line]) -> list[float]:
    return sorted({point.x for line in lines for point in line.points})
