"""The command `s3orchestrator`: which subcommand, and how it ends."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, TextIO

from attrs import frozen
from twisted.python import usage

from s3orchestrator import __version__
from s3orchestrator.cli.explaining import CommandOptions


@frozen
class Command:
    """
    A command by the name of its module, and in it that of its options.

    The module is imported when the command is wanted: a daemon's takes half a second, for which
    whoever asks one that is running need not wait.
    """

    _module: str
    _options: str

    def __call__(self) -> CommandOptions:
        """Return its options, as a command line may set them."""
        options: CommandOptions = getattr(self._imported(), self._options)()
        return options

    def run(self, options: Any, stdout: TextIO, stderr: TextIO) -> int:
        """Run it; returns its exit status."""
        status: int = self._imported().run(options, stdout, stderr)
        return status

    def _imported(self) -> ModuleType:
        # What is imported stays, all of it: looking for garbage meanwhile took an eighth of the time.
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            return import_module(f"s3orchestrator.cli.{self._module}")
        finally:
            if is_collecting:
                gc.enable()


_COMMANDS = {
    "demo": Command("demo", "DemoOptions"),
    "serve": Command("serve", "ServeOptions"),
    "validate": Command("validate", "ValidateOptions"),
    "init": Command("init", "InitOptions"),
    "fsck": Command("fsck", "FsckOptions"),
    "admin": Command("admin", "AdminOptions"),
    "copy-ledger": Command("copy_ledger", "CopyLedgerOptions"),
}


class _VersionOptions(CommandOptions):
    """A command without options."""

    synopsis = "Usage: s3orchestrator version"


class _HelpOptions(CommandOptions):
    """Which command to explain."""

    synopsis = "Usage: s3orchestrator help [COMMAND]"

    def parseArgs(self, *arguments: str) -> None:
        super().parseArgs(*arguments[1:])
        self["command"] = arguments[0] if arguments else None


class Options(CommandOptions):
    """What may stand on the command line."""

    synopsis = "Usage: s3orchestrator COMMAND [options]"
    description = """\
One S3 endpoint in front of many storage backends.

To try it: s3orchestrator demo. To run it: s3orchestrator init, then s3orchestrator serve.
Each command explains itself: s3orchestrator COMMAND --help."""

    subCommands: Sequence[tuple[str, None, Callable[[], usage.Options], str]] = [
        ("demo", None, _COMMANDS["demo"], "Try it: three directories, three buckets, nothing to configure."),
        ("serve", None, _COMMANDS["serve"], "Serve clients as a configuration file says."),
        ("validate", None, _COMMANDS["validate"], "Check a configuration file; every problem at once."),
        ("init", None, _COMMANDS["init"], "Write a configuration file that validates."),
        ("fsck", None, _COMMANDS["fsck"], "Check the ledger, and compare it with the backends."),
        ("admin", None, _COMMANDS["admin"], "Ask a running daemon, and have it do things."),
        (
            "copy-ledger",
            None,
            _COMMANDS["copy-ledger"],
            "Copy the ledger into another database: SQLite or PostgreSQL.",
        ),
        ("version", None, _VersionOptions, "Print the version."),
        ("help", None, _HelpOptions, "Explain a command; without one, list them."),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: 2 for a command line that makes no sense."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments), sys.stdout, sys.stderr))


def run(arguments: list[str], stdout: TextIO, stderr: TextIO) -> int:
    """Run one command; returns its exit status."""
    options = Options()  # type: ignore[no-untyped-call]
    try:
        options.parseOptions(_modernised(arguments))  # type: ignore[no-untyped-call]
    except usage.UsageError as error:
        stderr.write(f"s3orchestrator: {error}\nTry: {_asking_for_help(options)}\n")
        return 2
    except SystemExit as ended:  # --help and --version print and exit
        return int(ended.code or 0)
    command = options.subCommand
    if command == "version":
        stdout.write(f"s3orchestrator {__version__}\n")
        return 0
    if command is None:
        stderr.write(f"{options}\n")
        return 2
    if command == "help":
        return _explain(options.subOptions["command"], stdout, stderr)
    return _COMMANDS[command].run(options.subOptions, stdout, stderr)


def _asking_for_help(options: Options) -> str:
    command = getattr(options, "subCommand", None)
    known = [name for name, *_ in Options.subCommands]
    return f"s3orchestrator {command} --help" if command in known else "s3orchestrator --help"


def _explain(command: str | None, stdout: TextIO, stderr: TextIO) -> int:
    parsers = {name: parser for name, _, parser, _ in Options.subCommands}
    if command is not None and command not in parsers:
        stderr.write(f"s3orchestrator: there is no command {command!r}\nTry: s3orchestrator help\n")
        return 2
    options = parsers[command]() if command else Options()  # type: ignore[no-untyped-call]
    stdout.write(f"{options}\n")
    return 0


def _modernised(arguments: list[str]) -> list[str]:
    """Accept `-config F [-mode M]` without a command, and both words with one dash anywhere."""
    spelled = [
        "-" + argument if argument.split("=")[0] in ("-config", "-mode") else argument
        for argument in arguments
    ]
    if spelled and spelled[0].split("=")[0] in ("--config", "--mode"):
        return ["serve", *spelled]
    return spelled
