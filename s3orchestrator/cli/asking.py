"""Questions on a terminal, each asked until the answer will do."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from typing import TextIO, TypeVar

from attrs import frozen

from s3orchestrator.config.scalars import ScalarError, parse_boolean

T = TypeVar("T")


class Aborted(Exception):
    """Nobody answers any more: end of input, or Ctrl-C."""


@frozen
class Dialogue:
    """
    Asks on `stdout` and reads answers, one per line, from `stdin`.

    An empty answer takes the default, which is in brackets. Secrets are not echoed on a terminal.
    """

    _stdin: TextIO
    _stdout: TextIO

    def say(self, text: str = "") -> None:
        """Print a line."""
        self._stdout.write(f"{text}\n")

    def ask(self, question: str, parse: Callable[[str], T], default: str = "", *, hidden: bool = False) -> T:
        """
        Return the answer, as `parse` reads it.

        :param parse: raises `ScalarError` with the reason why an answer will not do.
        :raises Aborted: there is no answer.
        """
        prompt = f"{question} [{default}]: " if default else f"{question}: "
        while True:
            answer = self._line(prompt, hidden=hidden) or default
            try:
                return parse(answer)
            except ScalarError as error:
                shown = "That" if hidden or not error.show else f'"{answer}"'
                self.say(f"  {shown} {error}.")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return whether the answer is yes."""
        return self.ask(question, parse_boolean, "yes" if default else "no")

    def _line(self, prompt: str, *, hidden: bool) -> str:
        try:
            if hidden and self._stdin.isatty():
                return getpass(prompt, self._stdout).strip()
            self._stdout.write(prompt)
            self._stdout.flush()
            line = self._stdin.readline()
        except (KeyboardInterrupt, EOFError):
            raise Aborted from None
        if not line:
            raise Aborted
        return line.strip()
