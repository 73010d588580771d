"""`s3orchestrator copy-ledger`: the ledger of one configuration into the empty one of another."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from twisted.internet.task import react
from twisted.python import usage

from s3orchestrator.app.copying import copy_ledger
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.serve import load_or_explain
from s3orchestrator.concurrency import start
from s3orchestrator.errors import LedgerInUse, OrchestratorError
from s3orchestrator.store.carrying import Carried

DONE, FAILED = 0, 1
_STEP = 10_000  # rows between two signs of life


class CopyLedgerOptions(CommandOptions):
    """What `copy-ledger` may be told."""

    synopsis = "Usage: s3orchestrator copy-ledger --config FILE --to FILE"
    description = """\
Copies the ledger that one configuration file names into the empty ledger that another one
names, from SQLite to PostgreSQL or back, and compares both row by row. Stop the daemon
first, and start it with the second file afterwards. The old ledger is not changed.

A copy that was broken off cannot be served from: drop that database, or remove that file,
and begin again. Exit status: 0 copied and compared, 1 not."""

    optParameters = [
        ["config", "c", "config.yaml", "The configuration file whose ledger is copied."],
        ["to", "t", None, "The configuration file whose ledger is written."],
    ]

    def postOptions(self) -> None:
        if not self["to"]:
            raise usage.UsageError("--to is required: the configuration file of the new ledger")


def run(options: CopyLedgerOptions, stdout: TextIO, stderr: TextIO) -> int:
    """Copy; returns the exit status."""
    configs = [load_or_explain(options[name], None, stderr) for name in ("config", "to")]
    source, target = configs
    if source is None or target is None:
        return FAILED
    if source.config.database == target.config.database:
        stderr.write("s3orchestrator copy-ledger: --config and --to name the same ledger\n")
        return FAILED
    status = FAILED

    def tell(table: str, rows: int) -> None:
        if rows % _STEP == 0:
            stderr.write(f"{table}: {rows} rows\n")

    async def main(reactor: object) -> None:
        nonlocal status
        try:
            carried = await copy_ledger(source.config, target.config, reactor, tell)
        except LedgerInUse as error:
            stderr.write(f"s3orchestrator copy-ledger: {error}\n")
            stderr.write("Stop the daemon first; a running one holds its ledger.\n")
            return
        except (OrchestratorError, OSError) as error:
            stderr.write(f"s3orchestrator copy-ledger: {error}\n")
            return
        _report(carried, stdout)
        stdout.write(f"Both ledgers are the same. Start the daemon with --config {options['to']}\n")
        status = DONE

    try:
        react(lambda reactor: start(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            return FAILED
    return status


def _report(carried: Sequence[Carried], out: TextIO = sys.stdout) -> None:
    for table in carried:
        sums = ", ".join(f"{column} {total}" for column, total in table.sums.items())
        out.write(f"{table.table:15}{table.rows:>10} rows  {sums}\n".rstrip() + "\n")
