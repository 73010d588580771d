"""Figures in columns."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field


@define
class Table:
    """Rows under headings, which may have several lines; the first column is text, the others are figures."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(factory=list)

    def add(self, *cells: str) -> None:
        """Add a row, with as many cells as there are headings."""
        if len(cells) != len(self.headings):
            raise ValueError(f"{self.title}: {cells} does not fit under {self.headings}")
        self.rows.append(cells)

    def render(self) -> str:
        """Return it as lines of text."""
        lines = [*self._heading_lines(), *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        text = [self.title, "-" * len(self.title)]
        for first, *others in lines:
            figures = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
            text.append("  ".join([first.ljust(widths[0]), *figures]).rstrip())
        return "\n".join(text) + "\n"

    def _heading_lines(self) -> list[list[str]]:
        """Short headings stand at the bottom, next to their figures."""
        split = [heading.split("\n") for heading in self.headings]
        height = max(len(lines) for lines in split)
        padded = [[""] * (height - len(lines)) + lines for lines in split]
        return [[lines[number] for lines in padded] for number in range(height)]
