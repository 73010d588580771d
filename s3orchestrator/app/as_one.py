"""The processes that serve, as one: to operators, and to Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from prometheus_client import REGISTRY
from twisted.internet.task import LoopingCall

from s3orchestrator.app.core import Core
from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.telemetry.exposition import Families
from s3orchestrator.telemetry.figures import figures_of
from s3orchestrator.telemetry.logging import RING, set_level
from s3orchestrator.telemetry.ring import MOST_BYTES
from s3orchestrator.telemetry.sums import Family, Sums, as_metrics
from s3orchestrator.web.admin.instants import instant
from s3orchestrator.workers.messages import LINES_AT_ONCE
from s3orchestrator.workers.pool import Member, WorkerPool, failures

NOTE_EVERY = 15.0  # seconds; what a process counted since then is not known when it dies
PATIENCE = 2.0  # seconds for an answer that somebody waits for
LONG_PATIENCE = 20.0  # for one that takes the ledger
# With lines of the log, the oldest first, from each process: so many hold all that it may keep.
MOST_MESSAGES = MOST_BYTES // LINES_AT_ONCE


@define(eq=False)
class AsOne:
    """
    See `IColleagues`: those of `pool`, and this process.

    From `begin` to `end` each is asked now and then for what it would take along if it died.
    """

    _core: Core
    _pool: WorkerPool
    _sums: Sums = field(factory=Sums, init=False)
    _noting: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._noting = LoopingCall(self._note)
        self._noting.clock = self._core.reactor

    def begin(self) -> None:
        """Ask from now on."""
        start(self._noting.start(NOTE_EVERY))

    def end(self) -> None:
        """Ask no more; may come without a beginning."""
        if self._noting.running:
            self._noting.stop()

    def is_gone(self, member: Member) -> None:
        """Keep what a process has counted that has ended."""
        self._sums.end(member.number)

    def heard_figures(self, member: Member, figures: Sequence[Sequence[Any]]) -> None:
        """Note what a process has counted so far."""
        self._sums.note(member.number, [Family(*each) for each in figures])

    def shown(self) -> Sequence[Mapping[str, Any]]:
        """See `IColleagues`."""
        return [
            {
                "worker": member.number,
                "pid": member.process.pid,
                "serving": member.is_serving,
                "since": instant(member.since),
                "requests": member.report.requests,
                "connections": member.report.connections,
            }
            for member in self._pool.members
        ]

    def breakers(self, backend: str) -> Sequence[str]:
        """See `IColleagues`."""
        reports = [member.report for member in self._pool.serving]
        return [report.breakers[backend] for report in reports if backend in report.breakers]

    def set_level(self, level: str) -> None:
        """See `IColleagues`."""
        set_level(level)
        self._pool.tell("log_level", level)

    async def bring_lines(self) -> None:
        """See `IColleagues`."""
        for _ in range(MOST_MESSAGES):
            brought = await self._pool.ask("lines", seconds=PATIENCE)
            answers = [answer for answer in brought.values() if isinstance(answer, list)]
            lines = [tuple(line) for answer in answers for line in answer]
            if not lines:
                return
            RING.add(sorted(lines))

    async def flush_usage(self) -> None:
        """See `IColleagues`."""
        answers = await self._pool.ask("flush_usage", seconds=LONG_PATIENCE)
        for member, failure in failures(answers):
            raise StoreUnavailable(f"worker {member.number}: {failure.getErrorMessage()}")

    async def families(self) -> Families:
        """See `IColleagues`."""
        await self._ask_for_figures()
        own = await figures_of(REGISTRY, self._core.reactor)
        return as_metrics(self._sums.all(own))

    async def _ask_for_figures(self) -> None:
        await self._pool.ask("figures", seconds=PATIENCE, heard=self.heard_figures)

    def _note(self) -> None:
        start(self._ask_for_figures())
        start(self.bring_lines())
