"""`s3orchestrator admin`: what an operator asks a running daemon, and has it do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TextIO

from s3orchestrator.cli.admin_client import CannotAsk, Client, Trust, place
from s3orchestrator.cli.admin_commands import (
    CleanupQueueOptions,
    LogLevelOptions,
    ObjectLocationsOptions,
    RunOptions,
    StatusOptions,
    UsageFlushOptions,
    WorkersOptions,
)
from s3orchestrator.cli.admin_fsck import AdminFsckOptions
from s3orchestrator.cli.admin_logs import LogsOptions
from s3orchestrator.cli.admin_options import CANNOT_ASK, AdminCommand, AskingOptions, Output
from s3orchestrator.cli.admin_reload import ReloadStatusOptions

TIMEOUT = 30.0  # seconds; `run` is answered after 20 at the latest


class AdminOptions(AskingOptions):
    """What `admin` may be told."""

    synopsis = "Usage: s3orchestrator admin COMMAND [options]"
    description = """\
Asks a running daemon, and has it do things. The daemon needs a token (ui.admin_token in its
configuration); this command takes address and token from the environment (S3O_ADMIN_URL,
S3O_ADMIN_TOKEN), or from the same file, of which it needs nothing else.

Answers are for people; with --json they are for programs. Exit status: 0 done, 1 the answer
is no, or there are findings, 2 it could not be asked."""

    subCommands = [
        ("status", None, StatusOptions, "The ledger, the backends, and what they hold."),
        ("reload-status", None, ReloadStatusOptions, "Whether the configuration was taken over."),
        ("workers", None, WorkersOptions, "What is done in the background, and how that goes."),
        ("run", None, RunOptions, "Have a worker do its work now."),
        ("object-locations", None, ObjectLocationsOptions, "Where an object is."),
        ("cleanup-queue", None, CleanupQueueOptions, "What waits to be deleted, and what will not go."),
        ("usage-flush", None, UsageFlushOptions, "Write down now what was used of the backends."),
        ("fsck", None, AdminFsckOptions, "Check the ledger while clients are served."),
        ("logs", None, LogsOptions, "What was logged last."),
        ("log-level", None, LogLevelOptions, "How much is logged."),
    ]


def run(
    options: AdminOptions, stdout: TextIO, stderr: TextIO, *, environ: Mapping[str, str] = os.environ
) -> int:
    """Ask; returns the exit status."""
    if options.subCommand is None:
        stderr.write(f"{options}\n")
        return CANNOT_ASK
    command: AdminCommand = options.subOptions

    def told(name: str) -> Any:
        """What is said behind the command's name wins over what is said before it."""
        return command[name] or options[name]

    output = Output(stdout, stderr, bool(told("json")))
    try:
        where = place(told("url"), told("config"), environ)
        trust = Trust(*[told(name) or "" for name in ("ca-file", "cert-file", "key-file")])
        return command.ask(Client(where, told("timeout") or TIMEOUT, trust), output)
    except CannotAsk as error:
        output.tell(f"s3orchestrator admin: {error}")
        return CANNOT_ASK
    except KeyboardInterrupt:
        return CANNOT_ASK
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return CANNOT_ASK
