"""Reading unit files, as far as ours go."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen


@frozen
class Unit:
    """The settings of a unit file, in order; a name may be there several times."""

    settings: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, *files: Path) -> Unit:
        """Read a file, and others that add to it; of a continued line the parts are joined."""
        text = "\n".join(file.read_text() for file in files).replace("\\\n", " ")
        lines = (line.strip() for line in text.splitlines())
        pairs = (line.split("=", 1) for line in lines if line[:1].isalpha())
        return cls(tuple((name, value) for name, value in pairs))

    def all(self, name: str) -> Iterator[str]:
        """Every value of a setting."""
        return (value for each, value in self.settings if each == name)

    def one(self, name: str) -> str:
        """
        The value of a setting that is there once.

        :raises ValueError: it is not.
        """
        (value,) = self.all(name)
        return value

    def command(self, name: str) -> list[str]:
        """The words of a command."""
        return shlex.split(self.one(name))


def variables(path: Path) -> dict[str, str]:
    """Return what an EnvironmentFile= sets."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: " ".join(shlex.split(value)) for name, value in pairs}
