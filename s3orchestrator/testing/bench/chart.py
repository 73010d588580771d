"""
A chart of lines over two logarithmic axes, as SVG.

It brings a white ground along, for pages may be dark, and tells lines apart by their marks as
well as by their colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 78, 190, 44, 56  # margins; the legend is in the right one

_INK, _GRID, _FAINT = "#222222", "#c8c8c8", "#ececec"
_TICK_WIDTH = 56  # that a name below the axis takes
_STEPS = (1, 2, 5)  # of each decade
_MANY_DECADES = 2.0  # with more than that only whole ones are labelled


@frozen
class Point:
    """A place on a line, and the range of what was measured there."""

    x: float
    y: float
    low: float
    high: float


@frozen
class Line:
    """Points from left to right. Dashed lines have hollow marks."""

    name: str
    points: Sequence[Point]
    colour: str
    dashed: bool = False
    square: bool = False


@frozen
class Axis:
    """A logarithmic axis from `low` to `high`, which lie at `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def steps(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade, from the last one up to `low` to the first from `high` on."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [step * 10.0**decade for decade in range(first, last + 1) for step in _STEPS]
    begin = max(index for index, value in enumerate(found) if value <= low * (1 + 1e-9))
    end = min(index for index, value in enumerate(found) if value >= high * (1 - 1e-9))
    # An axis has a length, even if everything lies at one place.
    return found[begin : max(end, begin + 1) + 1]


@frozen
class Chart:
    """What is drawn; `ticks` are the values of the lower axis that have names."""

    title: str
    x_title: str
    y_title: str
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]

    def svg(self) -> str:
        """Draw it."""
        points = [point for line in self.lines for point in line.points]
        levels = steps(min(point.low for point in points), max(point.high for point in points))
        places = [place for place, _ in self.ticks]
        # A little room beside the first and the last place.
        room = (max(places) / min(places)) ** 0.03 if len(places) > 1 else 2.0
        x = Axis(min(places) / room, max(places) * room, LEFT, WIDTH - RIGHT)
        y = Axis(levels[0], levels[-1], HEIGHT - BOTTOM, TOP)
        drawn = [
            *self._frame(),
            *self._levels(y, levels),
            *self._ticks(x),
            *(element for line in self.lines for element in _drawn(line, x, y)),
            *self._legend(),
        ]
        return "\n".join(drawn) + "\n</svg>\n"

    def _frame(self) -> Iterable[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
            f' height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}" role="img">'
        )
        yield f"<title>{escape(self.title)}</title>"
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        yield _text(LEFT, 24, self.title, more=' font-size="15" font-weight="bold"')
        yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, self.x_title, "middle")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        yield _text(20, middle, self.y_title, "middle", f' transform="rotate(-90 20 {middle:g})"')

    def _levels(self, y: Axis, levels: Sequence[float]) -> Iterable[str]:
        many = math.log10(levels[-1] / levels[0]) > _MANY_DECADES
        for level in levels:
            whole = math.isclose(level, 10.0 ** round(math.log10(level)))
            yield _line(LEFT, y.place(level), WIDTH - RIGHT, y.place(level), _GRID if whole else _FAINT)
            if whole or not many:
                yield _text(LEFT - 8, y.place(level) + 4, f"{level:g}", "end")

    def _ticks(self, x: Axis) -> Iterable[str]:
        bottom = HEIGHT - BOTTOM
        yield _line(LEFT, bottom, WIDTH - RIGHT, bottom, _INK)
        yield _line(LEFT, TOP, LEFT, bottom, _INK)
        free_from = 0.0
        for value, name in self.ticks:
            place = x.place(value)
            yield _line(place, bottom, place, bottom + 5, _INK)
            if place >= free_from:
                yield _text(place, bottom + 19, name, "middle")
                free_from = place + _TICK_WIDTH

    def _legend(self) -> Iterable[str]:
        """In the order of the lines' right ends, so that names are about where the lines are."""
        ordered = sorted(self.lines, key=lambda line: -line.points[-1].y)
        left = WIDTH - RIGHT + 18
        for number, line in enumerate(ordered):
            top = TOP + 12 + number * 22
            yield _line(left, top, left + 30, top, line.colour, 2, line.dashed)
            yield _mark(line, left + 15, top)
            yield _text(left + 38, top + 4, line.name)


def _drawn(line: Line, x: Axis, y: Axis) -> Iterable[str]:
    """The line itself, at each point the range of all rounds, and a mark."""
    points = sorted(line.points, key=lambda point: point.x)
    path = " ".join(f"{x.place(point.x):.1f},{y.place(point.y):.1f}" for point in points)
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{dashes}/>'
    for point in points:
        place = x.place(point.x)
        yield _line(place, y.place(point.low), place, y.place(point.high), line.colour)
        yield _mark(line, place, y.place(point.y))


def _mark(line: Line, x: float, y: float) -> str:
    look = f'fill="{"#ffffff" if line.dashed else line.colour}" stroke="{line.colour}" stroke-width="1.5"'
    if line.square:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {look}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {look}/>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1, dashed: bool = False
) -> str:
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        f' stroke-width="{width}"{dashes}/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
