"""Keeps the processes that serve clients going, and speaks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from attrs import define, field
from prometheus_client import REGISTRY
from twisted.internet.task import LoopingCall

from s3orchestrator.app.core import Core
from s3orchestrator.app.lending import ILending
from s3orchestrator.app.reloading import TakeOver
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import Config
from s3orchestrator.errors import OrchestratorError, StoreUnavailable
from s3orchestrator.telemetry.exposition import OPENMETRICS, TEXT, Families
from s3orchestrator.telemetry.figures import figures_of
from s3orchestrator.telemetry.logging import RING, LogForm, current_level, make_logger, set_level
from s3orchestrator.telemetry.ring import MOST_BYTES
from s3orchestrator.telemetry.sums import Family, Sums, as_metrics
from s3orchestrator.web.admin.desk import Desk, Inquiry
from s3orchestrator.web.admin.instants import instant
from s3orchestrator.web.admin.relayed import Taken
from s3orchestrator.web.metrics import Pages
from s3orchestrator.workers.crew import GONE, Crew, Member, failures
from s3orchestrator.workers.link import FailedElsewhere
from s3orchestrator.workers.messages import LINES_AT_ONCE, Begin, packed
from s3orchestrator.workers.process import Process

NOTE_EVERY = 15.0  # seconds; what a process counted since then is not known when it dies
PATIENCE = 2.0  # seconds for an answer that somebody waits for
LONG_PATIENCE = 20.0  # for one that takes work, or the ledger
# With lines of the log, the oldest first, from each process: so many hold all that it may keep.
MOST_MESSAGES = MOST_BYTES // LINES_AT_ONCE


class Front(Protocol):
    """Those here who answer what is asked elsewhere."""

    @property
    def desk(self) -> Desk | None: ...
    @property
    def pages(self) -> Pages: ...


@define(eq=False)
class Foreman:
    """
    Has `size` processes serve at `sockets`, which are known by the time that it opens.

    They have the ledger by `lending`. Their log is written in the same `form` as ours. `failed` is called
    if there comes a time when nobody serves and nobody can be started.
    """

    log = make_logger()
    _core: Core
    _size: int
    _lending: ILending
    _form: LogForm
    _failed: Callable[[str], object]
    sockets: Sequence[Sequence[int]] = field(factory=list, init=False)
    front: Front = field(init=False)
    _crew: Crew = field(init=False)
    _sums: Sums = field(factory=Sums, init=False)
    _noting: LoopingCall = field(init=False)
    _is_ready: bool = field(default=False, init=False)
    _generations: dict[Member, int] = field(factory=dict, init=False)
    _generation: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._crew = Crew(self._size, self, self._core.reactor)
        self._noting = LoopingCall(self._note_figures)
        self._noting.clock = self._core.reactor

    async def open(self) -> None:
        """:raises WorkersError: one of them cannot start; none is left then."""
        await self._crew.open()
        start(self._noting.start(NOTE_EVERY))

    def say_ready(self, ready: bool) -> None:
        """Have all of them tell balancers whether to send requests."""
        self._is_ready = ready
        self._crew.tell("ready", ready)

    async def stop_listening(self) -> None:
        """Have no more connections accepted, by nobody."""
        self._crew.replace_no_more()
        await self._crew.ask("stop_listening", seconds=PATIENCE)

    async def stop(self, seconds: float) -> None:
        """Let all finish what they are doing, within so many seconds."""
        if self._noting.running:
            self._noting.stop()
        await self.bring_lines()
        await self._crew.stop(seconds, self._heard_last)

    # --- for the crew

    def started(self, begin: Begin) -> Process:
        """See `Employer`."""
        descriptors = [each for place in begin.sockets for each in place]
        everything = [*descriptors, *begin.more]
        return Process.started(begin.number, everything, self._form, self._core.reactor)

    def begin(self, number: int) -> Begin:
        """See `Employer`."""
        return Begin(
            number,
            self._size,
            packed(self._core.config),
            current_level(),
            tuple(tuple(descriptors) for descriptors in self.sockets),
            tuple(self._lending.descriptors),
        )

    def answers(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """See `Employer`."""
        self._generations[member] = self._generation
        return {
            "admin": self._answer_operator,
            "page": self._page,
            **self._lending.admit(member),
        }

    async def serves(self, member: Member) -> None:
        """See `Employer`."""
        await self._catch_up(member)
        member.link.tell("log_level", current_level())
        member.link.tell("ready", self._is_ready)

    async def is_gone(self, member: Member) -> None:
        """See `Employer`."""
        self._generations.pop(member, None)
        self._sums.end(member.number)
        await self._lending.gone(member)

    def gave_up(self, reason: str) -> None:
        """See `Employer`."""
        self._failed(reason)

    async def _answer_operator(self, inquiry: Sequence[Any], taken: Sequence[Any]) -> tuple[Any, ...]:
        desk = self.front.desk
        if desk is None:
            raise OrchestratorError("nobody is here for operators")
        return attrs.astuple(await desk.answer(Inquiry(*inquiry), Taken(*taken).read))

    async def _page(self, is_openmetrics: bool) -> bytes:
        return await self.front.pages.get(OPENMETRICS if is_openmetrics else TEXT)

    # --- another configuration

    async def prepare(self, new: Config) -> TakeOver:
        """
        Have each of them do what may fail, as `TakingOver.prepare` does.

        :raises OrchestratorError: one of them cannot take it over; then none does.
        """
        answers = await self._crew.ask("prepare", packed(new), seconds=LONG_PATIENCE)
        for member, failure in failures(answers):
            if not failure.check(*GONE):
                raise OrchestratorError(f"worker {member.number}: {failure.getErrorMessage()}")
        gone = dict(failures(answers))
        prepared = [member for member in answers if member not in gone]

        def take_over() -> None:
            self._generation += 1
            for member in prepared:
                self._generations[member] = self._generation
                member.link.tell("take_over")
            for member in self._crew.serving:
                start(self._catch_up(member))

        return take_over

    async def _catch_up(self, member: Member) -> None:
        """Have one take over what has come into force since it began, or was last asked to."""
        try:
            while self._generations.get(member, self._generation) != self._generation:
                self._generations[member] = self._generation
                await member.link.ask("prepare", packed(self._core.config))
                member.link.tell("take_over")
        except GONE:
            return
        except (OrchestratorError, FailedElsewhere) as error:
            self.log.error(
                "worker {number} cannot take over the configuration, and is replaced: {error}",
                number=member.number,
                error=str(error),
            )
            member.process.kill()

    # --- IColleagues

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
            for member in self._crew.members
        ]

    def breakers(self, backend: str) -> Sequence[str]:
        """See `IColleagues`."""
        reports = [member.report for member in self._crew.serving]
        return [report.breakers[backend] for report in reports if backend in report.breakers]

    def set_level(self, level: str) -> None:
        """See `IColleagues`."""
        set_level(level)
        self._crew.tell("log_level", level)

    async def bring_lines(self) -> None:
        """See `IColleagues`."""
        for _ in range(MOST_MESSAGES):
            brought = await self._crew.ask("lines", seconds=PATIENCE)
            answers = [answer for answer in brought.values() if isinstance(answer, list)]
            lines = [tuple(line) for answer in answers for line in answer]
            if not lines:
                return
            RING.add(sorted(lines))

    async def flush_usage(self) -> None:
        """See `IColleagues`."""
        answers = await self._crew.ask("flush_usage", seconds=LONG_PATIENCE)
        for member, failure in failures(answers):
            raise StoreUnavailable(f"worker {member.number}: {failure.getErrorMessage()}")

    async def families(self) -> Families:
        """See `IColleagues`."""
        await self._ask_for_figures()
        own = await figures_of(REGISTRY, self._core.reactor)
        return as_metrics(self._sums.all(own))

    # --- metrics

    async def _ask_for_figures(self) -> None:
        await self._crew.ask("figures", seconds=PATIENCE, heard=self._heard_figures)

    def _heard_last(self, member: Member, figures: Sequence[Sequence[Any]]) -> None:
        """It has told the ledger itself that nothing there is its own any more."""
        member.has_left = True
        self._heard_figures(member, figures)

    def _heard_figures(self, member: Member, figures: Sequence[Sequence[Any]]) -> None:
        self._sums.note(member.number, [Family(*each) for each in figures])

    def _note_figures(self) -> None:
        start(self._ask_for_figures())
        start(self.bring_lines())
