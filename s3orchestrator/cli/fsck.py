"""`s3orchestrator fsck`: is the ledger sound, and do the backends hold what it says?"""

from __future__ import annotations

from typing import TextIO

from attrs import define, field
from twisted.internet.task import react
from twisted.python import usage

from s3orchestrator.app.offline import Offline, open_offline
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.serve import load_or_explain
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Finding
from s3orchestrator.errors import LedgerInUse, OrchestratorError

CLEAN, FINDINGS, IN_USE = 0, 1, 2


class FsckOptions(CommandOptions):
    """What `fsck` may be told."""

    synopsis = "Usage: s3orchestrator fsck --config FILE [--deep] [--repair] [--delete-strays]"
    description = """\
Checks a ledger that no daemon holds. Exit status: 0 clean, 1 findings, 2 the ledger is
in use or cannot be opened, or the command line or the file is wrong.

--deep also lists every backend and compares: rows without bytes, and bytes without rows
(strays). Strays are reported; only --delete-strays removes them."""

    optParameters = [["config", "c", "config.yaml", "The configuration file."]]
    optFlags = [
        ["deep", "d", "Compare the ledger with what the backends hold."],
        ["repair", None, "Mend what can be mended without losing data: counters."],
        ["delete-strays", None, "With --deep: delete what the ledger does not know."],
    ]

    def postOptions(self) -> None:
        if self["delete-strays"] and not self["deep"]:
            raise usage.UsageError("--delete-strays needs --deep: only then are strays looked for")


def run(options: FsckOptions, stdout: TextIO, stderr: TextIO) -> int:
    """Check; returns the exit status."""
    loaded = load_or_explain(options["config"], None, stderr)
    if loaded is None:
        return IN_USE
    status = IN_USE

    async def main(reactor: object) -> None:
        nonlocal status
        try:
            offline = await open_offline(loaded.config, reactor)
        except LedgerInUse as error:
            stderr.write(
                f"s3orchestrator fsck: {error}\nStop the daemon first; a running one holds its ledger.\n"
            )
            return
        except (OrchestratorError, OSError) as error:
            stderr.write(f"s3orchestrator fsck: {error}\n")
            return
        try:
            status = await Check(offline, options, stdout).run()
        finally:
            await offline.close()

    try:
        react(lambda reactor: start(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            return IN_USE
    return status


@define(eq=False)
class Check:
    """One run over the ledger, and perhaps over the backends."""

    _offline: Offline
    _options: FsckOptions
    _out: TextIO
    _left: int = field(default=0, init=False)
    _mended: int = field(default=0, init=False)

    async def run(self) -> int:
        """Print findings as they come, then a summary; returns the exit status."""
        await self._check_ledger()
        if self._options["deep"]:
            await self._check_backends()
        if not self._left and not self._mended:
            self._out.write("clean\n")
            return CLEAN
        self._out.write(f"{self._left} finding(s) left, {self._mended} mended\n")
        return FINDINGS if self._left else CLEAN

    async def _check_ledger(self) -> None:
        findings = await self._offline.check()
        repairable = [finding for finding in findings if finding.repairable]
        if self._options["repair"] and repairable:
            await self._offline.repair(repairable)
        for finding in findings:
            self._report(finding, mended=bool(self._options["repair"]) and finding.repairable)

    async def _check_backends(self) -> None:
        for finding in await self._offline.left_out():
            self._report(finding, mended=False)
        for backend in self._offline.backends:
            async for finding in self._offline.checker.check(backend):
                mended = False
                if self._options["delete-strays"] and finding.rule == "stray":
                    await self._offline.checker.delete_stray(backend, finding)
                    mended = True
                elif self._options["delete-strays"] and finding.rule == "stray-upload":
                    await self._offline.checker.delete_stray_upload(backend, finding)
                    mended = True
                self._report(finding, mended=mended)

    def _report(self, finding: Finding, *, mended: bool) -> None:
        if mended:
            self._mended += 1
        else:
            self._left += 1
        mark = "mended" if mended else finding.rule
        self._out.write(f"{mark}: {finding.subject}: {finding.message}\n")
