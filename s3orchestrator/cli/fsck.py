"""`s3orchestrator fsck`: is the ledger sound, and do the backends hold what it says?"""

from __future__ import annotations

from typing import TextIO

from attrs import define
from twisted.internet.task import react
from twisted.python import usage

from s3orchestrator.app.offline import Offline, open_offline
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.reporting import JsonReport, Report, TextReport
from s3orchestrator.cli.serve import load_or_explain
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Finding
from s3orchestrator.errors import LedgerInUse, OrchestratorError
from s3orchestrator.interfaces import IBackend

CLEAN, FINDINGS, IN_USE = 0, 1, 2


class FsckOptions(CommandOptions):
    """What `fsck` may be told."""

    synopsis = (
        "Usage: s3orchestrator fsck --config FILE [--deep] [--repair] [--delete-strays] [--json]\n"
        "       s3orchestrator fsck --config FILE --restored [--json]\n"
        "       s3orchestrator fsck --config FILE --claim BACKEND [--json]"
    )
    description = """\
Checks a ledger that no daemon holds. Exit status: 0 clean, 1 findings, 2 the ledger is
in use or cannot be opened, or the command line or the file is wrong.

--deep also lists every backend and compares: rows without bytes, and bytes without rows
(strays). Strays are reported; only --delete-strays removes them.

--restored is for a ledger that was restored from a backup, before the daemon is started
with it. Every backend is listed; objects that this ledger stored after the backup was made
are taken in again, and nothing is deleted. It may be broken off and begun again.

--claim makes a backend this ledger's whatever the marker in it says, for a bucket or disk
that was filled anew or was another ledger's."""

    optParameters = [
        ["config", "c", "config.yaml", "The configuration file."],
        ["claim", None, None, "Make this backend the ledger's, whatever its marker says."],
    ]
    optFlags = [
        ["deep", "d", "Compare the ledger with what the backends hold."],
        ["repair", None, "Mend what can be mended without losing data: counters."],
        ["delete-strays", None, "With --deep: delete what the ledger does not know."],
        ["restored", None, "Take in what was stored after the backup of this ledger was made."],
        ["json", "j", "Print one JSON document."],
    ]

    def postOptions(self) -> None:
        if self["delete-strays"] and not self["deep"]:
            raise usage.UsageError("--delete-strays needs --deep: only then are strays looked for")
        checks = any(self[flag] for flag in ("deep", "repair", "delete-strays"))
        if checks + bool(self["restored"]) + bool(self["claim"]) > 1:
            raise usage.UsageError("--restored, --claim and checks go one after the other")


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
            status = await _work_of(options, offline, _report_of(options, stdout)).run()
        except (OrchestratorError, OSError) as error:
            stderr.write(f"s3orchestrator fsck: {error}\n")
        finally:
            await offline.close()

    try:
        react(lambda reactor: start(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            return IN_USE
    return status


def _report_of(options: FsckOptions, out: TextIO) -> Report:
    return JsonReport(out) if options["json"] else TextReport(out)


def _work_of(options: FsckOptions, offline: Offline, report: Report) -> Check | Restore | Claim:
    if options["restored"]:
        return Restore(offline, report)
    if options["claim"]:
        return Claim(offline, report, options["claim"])
    return Check(offline, options, report)


@define(eq=False)
class Check:
    """One run over the ledger, and perhaps over the backends."""

    _offline: Offline
    _options: FsckOptions
    _report: Report

    async def run(self) -> int:
        """Report findings as they come, then a summary; returns the exit status."""
        await self._check_ledger()
        if self._options["deep"]:
            await self._check_backends()
        self._report.end()
        return FINDINGS if self._report.left else CLEAN

    async def _check_ledger(self) -> None:
        findings = await self._offline.check()
        repairable = [finding for finding in findings if finding.repairable]
        if self._options["repair"] and repairable:
            await self._offline.repair(repairable)
        for finding in findings:
            self._report.add(finding, mended=bool(self._options["repair"]) and finding.repairable)

    async def _check_backends(self) -> None:
        for finding in await self._offline.left_out():
            self._report.add(finding, mended=False)
        for backend in self._offline.backends:
            async for finding in self._offline.checker.check(backend):
                mended = bool(self._options["delete-strays"]) and await self._delete(backend, finding)
                self._report.add(finding, mended=mended)

    async def _delete(self, backend: IBackend, finding: Finding) -> bool:
        """
        Delete what is a stray; tells whether it was.

        :raises BackendWithheld: it may be what the ledger does not know, or somebody else's.
        """
        if finding.rule == "stray":
            await self._offline.checker.delete_stray(backend, finding)
        elif finding.rule == "stray-upload":
            await self._offline.checker.delete_stray_upload(backend, finding)
        else:
            return False
        return True


@define(eq=False)
class Restore:
    """Brings a ledger forward that was restored from a backup."""

    _offline: Offline
    _report: Report

    async def run(self) -> int:
        """Report what was taken in, and what could not be; returns the exit status."""
        work = await self._offline.bring_forward()
        async for finding in work.run():
            self._report.add(finding, mended=finding.repairable)
        for finding in await self._offline.left_out():
            self._report.add(finding, mended=False)
        self._report.end(behind=work.left, names=dict(work.tally))
        return FINDINGS if self._report.left else CLEAN


@define(eq=False)
class Claim:
    """Makes a backend this ledger's."""

    _offline: Offline
    _report: Report
    _name: str

    async def run(self) -> int:
        """Report how the backend stands now; returns the exit status."""
        verdict = await self._offline.claim(self._name)
        if not verdict.standing.may_remove:
            self._report.add(Finding(verdict.standing.value, self._name, str(verdict)), mended=False)
        self._report.end(claimed=self._name)
        return FINDINGS if self._report.left else CLEAN
