"""Answers as people read them: columns, sizes, and nothing that a terminal would obey."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], right: Collection[int] = ()) -> str:
    """
    Return lines with aligned columns; those in `right` (counted from 0) are flush right.

    None is shown as a dash.
    """
    shown = [[_cell(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    lines = []
    for row in shown:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def printable(text: str) -> str:
    """Escape what would begin a line or tell the terminal to do something: keys are clients' text."""
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else each.encode("unicode_escape").decode() for each in text])


def size(number: int | None) -> str | None:
    """Return bytes with a unit and at most one digit behind the point; of None nothing is known."""
    if number is None:
        return None
    value, unit = float(number), _UNITS[0]
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time as `90s`, `5m` or `1h`: in the largest unit that leaves nothing over."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
