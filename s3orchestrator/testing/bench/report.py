"""
What a run found, as values and as JSON: this is what is kept, compared and drawn.

A figure is known by four words: the measurement (as `--only` names it), what was done, who
did it, and what was measured of that. Everything that looks figures up goes by these.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, evolve, field, frozen

FORMAT = 1  # of the JSON

OURS, NGINX, TUNED = "ours", "nginx", "nginx, 256 KiB buffers"

CPU, RATE, P50, P99, RSS = "CPU", "rate", "p50", "p99", "RSS"


def number(value: float) -> str:
    """Three digits, or as many as a whole number has."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@frozen
class Figure:
    """
    One figure, measured in several rounds.

    `at` is where it belongs on the axes of plots, for example bytes or connections. `guide` says what was
    aimed at, if anything was.
    """

    case: str
    what: str
    who: str
    measure: str
    unit: str
    values: Sequence[float]
    at: Mapping[str, float] = field(factory=dict)
    guide: str = ""

    @property
    def name(self) -> tuple[str, str, str, str]:
        """By what it is found again, in another run too."""
        return self.case, self.what, self.who, self.measure

    @property
    def least(self) -> float:
        """Of what something takes the undisturbed case: others on the machine only ever add."""
        return min(self.values)

    @property
    def median(self) -> float:
        """The usual case."""
        return statistics.median(self.values)

    @property
    def more_is_better(self) -> bool:
        """Whether the figure says what was given, not what was taken."""
        return self.measure == RATE


@frozen
class Verdict:
    """
    Whether something that was aimed at has been reached.

    `least` and `median` are in `unit`; None if it was not measured. The median decides. `ours` and
    `nginx` are what both need, ready to be shown.
    """

    aim: str
    what: str
    limit: float
    unit: str
    least: float | None = None
    median: float | None = None
    ours: str = ""
    nginx: str = ""

    @property
    def word(self) -> str:
        """`met`, `missed`, or `met at best`, if only the best round has kept to it."""
        if self.median is None or self.least is None:
            return "not measured"
        if self.median <= self.limit:
            return "met"
        return "met at best" if self.least <= self.limit else "missed"


@frozen
class Report:
    """A whole run: what it ran on and in which way (`about`), its figures, and which aims are reached."""

    about: Mapping[str, str]
    figures: Sequence[Figure]
    verdicts: Sequence[Verdict] = ()
    problems: Sequence[str] = ()

    def find(self, case: str, what: str, who: str = OURS, measure: str = CPU) -> Figure | None:
        """Return the figure of that name, if it was measured."""
        return next((each for each in self.figures if each.name == (case, what, who, measure)), None)

    def of(self, case: str, measure: str = CPU, **at: float) -> Iterator[Figure]:
        """The figures of a measurement that lie at a place, as far as that is given."""
        for figure in self.figures:
            if (figure.case, figure.measure) == (case, measure) and at.items() <= figure.at.items():
                yield figure

    def to_json(self) -> str:
        """
        Write it down, a figure to a line.

        What follows from the values is there as well, for others who read it.
        """
        content: dict[str, list[Any]] = {
            "targets": [asdict(verdict) | {"verdict": verdict.word} for verdict in self.verdicts],
            "figures": [
                asdict(figure) | {"minimum": figure.least, "median": figure.median} for figure in self.figures
            ],
            "problems": list(self.problems),
        }
        lines = [f'"format": {FORMAT}', f'"about": {_json(dict(self.about), indent=1)}']
        for name, each in content.items():
            lines.append(f'"{name}": [\n' + ",\n".join(map(_json, each)) + "\n]")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """
        Read what `to_json` wrote.

        :raises ValueError: it was something else, or in another format.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"not a report in format {FORMAT}")
        figures = [Figure(**_without(each, "minimum", "median")) for each in content["figures"]]
        verdicts = [Verdict(**_without(each, "verdict")) for each in content["targets"]]
        return cls(content["about"], figures, verdicts, content["problems"])

    def with_guides(self, guides: Mapping[tuple[str, str, str, str], str]) -> Report:
        """Return it with what was aimed at noted beside each figure."""
        return evolve(
            self,
            figures=[evolve(each, guide=guides.get(each.name, each.guide)) for each in self.figures],
        )


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _without(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}
