"""What all commands of `s3orchestrator admin` have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any, TextIO

from attrs import frozen
from twisted.python import usage

from s3orchestrator.cli.admin_client import Client, Reply
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.tables import printable

DONE, NO, CANNOT_ASK = 0, 1, 2
_LONGEST = 86400  # seconds to wait for an answer


@frozen
class Output:
    """Where answers go, and in which form."""

    stdout: TextIO
    stderr: TextIO
    as_json: bool

    def show(self, document: Mapping[str, Any], text: str) -> None:
        """Print an answer: the document for programs, else the text."""
        self.stdout.write(json.dumps(document, indent=2) + "\n" if self.as_json else text)
        self.stdout.flush()

    def tell(self, text: str) -> None:
        """Print a line that is no answer."""
        self.stderr.write(f"{printable(text)}\n")
        self.stderr.flush()

    def refuse(self, reply: Reply) -> int:
        """Print why something was not done; returns the exit status."""
        if self.as_json:
            self.show(reply.document, "")
        self.tell(f"s3orchestrator admin: {reply.error}")
        return CANNOT_ASK if reply.status >= 500 else NO


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"--timeout is a number of seconds, at most {_LONGEST}, not {text!r}")
    return seconds


class AskingOptions(CommandOptions):
    """Options that may stand before the name of a command or anywhere behind it."""

    optParameters: Sequence[Sequence[object]] = [
        ["config", "c", None, "The daemon's configuration file; config.yaml unless given."],
        ["url", "u", None, "Where the daemon is, such as https://s3.example.net:9000."],
        ["ca-file", None, None, "Authorities (PEM) to trust instead of the system's."],
        ["cert-file", None, None, "A certificate (PEM) to show, where the daemon wants one."],
        ["key-file", None, None, "Its private key, unless that is in the same file."],
        ["timeout", "t", None, "Seconds to wait for each answer; 30 unless given.", _seconds],
    ]
    optFlags: Sequence[Sequence[object]] = [["json", "j", "Print the answer as JSON."]]


class AdminCommand(AskingOptions):
    """One command; its arguments and its options may come in any order."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            given, words = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(str(error)) from None
        takes_value = {name[:-1] for name in self.longOpt if name.endswith("=")}
        first = [f"{name}={value}" if name[2:] in takes_value else f"{name}{value}" for name, value in given]
        super().parseOptions([*first, "--", *words])  # type: ignore[no-untyped-call]

    def ask(self, client: Client, output: Output) -> int:
        """Do it; returns the exit status."""
        raise NotImplementedError
