"""How a command explains itself: usage, then what it does as it was written, then the options."""

from __future__ import annotations

import sys

from twisted.python import usage

from s3orchestrator import __version__


class CommandOptions(usage.Options):
    """
    Options whose `--help` begins with their own `synopsis` and keeps the paragraphs of `description`.

    Twisted's would repeat the usage of the program before that of the command, run all
    paragraphs together and give Twisted's version for ours.
    """

    synopsis = ""
    description = ""
    longdesc = ""

    def getSynopsis(self) -> str:
        return self.synopsis

    def getUsage(self, width: int | None = None) -> str:
        listed = super().getUsage(width)
        # With a subcommand, Twisted answers for that.
        return f"\n{self.description}\n\n{listed}" if self.description and not self._has_chosen() else listed

    def _has_chosen(self) -> bool:
        return hasattr(self, "subOptions")

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"s3orchestrator {__version__}\n")
        sys.exit(0)

    opt_h = usage.Options.opt_help

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError(f"unexpected: {arguments[0]!r}")
