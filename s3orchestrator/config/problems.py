"""What is wrong with a file: each problem with its path and line, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, define, frozen

from s3orchestrator.errors import OrchestratorError


@frozen
class Problem:
    """Something to put right, or to know of; `path` is empty where it concerns the file as a whole."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.path
        if self.line is not None:
            where = f"{where} (line {self.line})" if where else f"line {self.line}"
        return f"{where}: {self.message}" if where else self.message


class ConfigErrors(OrchestratorError):
    """The configuration cannot be used; `problems` has every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("invalid config: " + "; ".join(map(str, self.problems)))


@define
class Problems:
    """What was found so far, and on which line each path stands."""

    lines: dict[str, int] = Factory(dict)
    errors: list[Problem] = Factory(list)
    warnings: list[Problem] = Factory(list)
    _wrong: set[str] = Factory(set)

    def error(self, path: str, message: str, *, using: Sequence[str] = ()) -> None:
        """
        Add an error, unless a value it rests on is itself in error.

        :param using: paths of the other values that were looked at to find this.
        """
        if not (using and any(map(self.is_bad, (path, *using)))):
            self.errors.append(Problem(path, message, self._line(path)))
            self._wrong.add(path)

    def refuse(self, path: str, message: str) -> None:
        """Add an error about a value that is right as such, so that rules may go on to look at it."""
        self.errors.append(Problem(path, message, self._line(path)))

    def warn(self, path: str, message: str) -> None:
        """Add something that works, but perhaps not as meant."""
        if not self.is_bad(path):
            self.warnings.append(Problem(path, message, self._line(path)))

    def unique(self, named: Iterable[tuple[str, str]], *, shown: bool = True) -> None:
        """Add an error for each (path, value) whose value, other than none, came before."""
        first: dict[str, str] = {}
        for path, value in named:
            before = first.setdefault(value, path)
            if value and before != path:
                what = f'"{value}"' if shown else "the value (not shown)"
                self.error(path, f"{what} is already {before}: it must be unique", using=[path, before])

    def is_bad(self, path: str) -> bool:
        """Whether this value, or something it is part of, is wrong already."""
        return any(
            path == wrong or path.startswith((f"{wrong}.", f"{wrong}[")) for wrong in self._wrong if wrong
        )

    def _line(self, path: str) -> int | None:
        """The line of the path, or of the innermost thing around it that is in the file."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)
