"""A look at the ledger and the backends while clients are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from s3orchestrator.app.core import Core
from s3orchestrator.domain.records import Finding
from s3orchestrator.errors import Conflict
from s3orchestrator.objects.checking import BackendChecker
from s3orchestrator.services.jobs import Tell
from s3orchestrator.store.fsck import look, repair

MOST = 1000  # findings that are kept; the others are counted


@define(eq=False)
class Examination:
    """One check of everything; may be run once."""

    _core: Core
    _deep: bool
    _repair: bool
    _tell: Tell
    _findings: list[dict[str, Any]] = field(factory=list, init=False)
    _total: int = field(default=0, init=False)
    _mended: int = field(default=0, init=False)
    _compared: int = field(default=0, init=False)

    async def run(self) -> Mapping[str, Any]:
        """
        Return the findings, at most `MOST`, and how many there are.

        :raises Conflict: another instance is at it.
        """
        async with self._core.ledger.locks.hold("fsck") as held:
            if not held:
                raise Conflict("another instance is checking this ledger")
            await self._check_ledger()
            if self._deep:
                await self._check_backends()
        return {
            "deep": self._deep,
            "repair": self._repair,
            "compared": self._compared,
            "findings": self._findings,
            "total": self._total,
            "mended": self._mended,
            "left": self._total - self._mended,
        }

    async def _check_ledger(self) -> None:
        self._tell({"looking_at": "the ledger", "compared": 0, "findings": 0})
        database = self._core.ledger.database
        findings, self._total = await look(database, MOST)
        mend = self._repair and any(finding.repairable for finding in findings)
        if mend:
            await repair(database, findings)
            _, left = await look(database, 0)
            self._mended = self._total - left
        for finding in findings:
            self._keep(finding, mended=mend and finding.repairable)

    async def _check_backends(self) -> None:
        core = self._core
        for known in await core.left_out():
            message = f"holds {known.taken} bytes, and is not in the configuration"
            self._found(Finding("unreachable", known.backend, message))
        checker = BackendChecker(core.ledger.blobs, core.ledger.uploads, core.reactor, self._progress)
        for backend in core.backends.all():
            async for finding in checker.check(backend):
                self._found(finding)

    def _progress(self, backend: str, compared: int) -> None:
        self._compared = compared
        self._tell({"looking_at": backend, "compared": compared, "findings": self._total})

    def _found(self, finding: Finding) -> None:
        self._total += 1
        if len(self._findings) < MOST:
            self._keep(finding, mended=False)

    def _keep(self, finding: Finding, *, mended: bool) -> None:
        self._findings.append(
            {
                "rule": finding.rule,
                "subject": finding.subject,
                "message": finding.message,
                "repairable": finding.repairable,
                "mended": mended,
            }
        )
