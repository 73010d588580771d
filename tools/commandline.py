"""The commands of the program with their options, read from the program: for its manual and for shells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from twisted.python import usage

from s3orchestrator.cli.main import Options


@frozen
class Option:
    """One option of a command; `letter` and `doc` may be empty."""

    name: str
    letter: str
    takes_value: bool
    doc: str


@frozen
class Command:
    """A command by all its words, `admin status` for instance; the program itself has none."""

    words: tuple[str, ...]
    summary: str
    synopsis: str
    description: str
    options: tuple[Option, ...]
    commands: tuple[Command, ...]

    def everyone(self) -> Iterator[Command]:
        """This command, and all that are below it."""
        yield self
        for command in self.commands:
            yield from command.everyone()


def program() -> Command:
    """Return the whole program."""
    return _command((), "", Options)


def _command(words: tuple[str, ...], summary: str, parser: Callable[[], Any]) -> Command:
    made = parser()
    below = tuple(
        _command((*words, name), doc, options)
        for name, _, options, doc in getattr(made, "subCommands", None) or ()
    )
    return Command(
        words,
        summary,
        " ".join(made.synopsis.removeprefix("Usage: ").split()),
        made.description,
        tuple(_options(made)),
        below,
    )


def _options(made: usage.Options) -> Iterator[Option]:
    letters = {long: short for short, long in made.synonyms.items() if len(short) == 1}
    for name in sorted(set(made.longOpt)):
        bare = name.removesuffix("=")
        doc = " ".join((made.docs.get(bare) or "").split())
        yield Option(bare, letters.get(bare, ""), name.endswith("="), doc)
