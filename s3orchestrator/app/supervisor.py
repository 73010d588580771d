"""Has the processes that serve clients do so: who they are, what they are told, and who answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from attrs import define, field

from s3orchestrator.app.as_one import AsOne
from s3orchestrator.app.catching_up import CatchingUp
from s3orchestrator.app.core import Core
from s3orchestrator.app.lending import ILending
from s3orchestrator.app.reloading import TakeOver
from s3orchestrator.config.sections import Config
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.exposition import OPENMETRICS, TEXT
from s3orchestrator.telemetry.logging import LogForm, current_level
from s3orchestrator.web.admin.api import AdminApi, AdminRequest
from s3orchestrator.web.admin.relayed import Taken
from s3orchestrator.web.metrics import Pages
from s3orchestrator.workers.messages import Begin, packed
from s3orchestrator.workers.pool import Member, WorkerPool
from s3orchestrator.workers.process import Process

PATIENCE = 2.0  # seconds for an answer that somebody waits for


class Front(Protocol):
    """Those here who answer what is asked elsewhere."""

    @property
    def api(self) -> AdminApi | None: ...
    @property
    def pages(self) -> Pages: ...


@define(eq=False)
class Supervisor:
    """
    Has `size` processes serve at `sockets`, which are known by the time that it opens.

    They have the ledger by `lending`. Their log is written in the same `form` as ours. `failed` is called
    if there comes a time when nobody serves and nobody can be started.
    """

    _core: Core
    _size: int
    _lending: ILending
    _form: LogForm
    _failed: Callable[[str], object]
    sockets: Sequence[Sequence[int]] = field(factory=list, init=False)
    front: Front = field(init=False)
    as_one: AsOne = field(init=False)
    _pool: WorkerPool = field(init=False)
    _catching_up: CatchingUp = field(init=False)
    _is_ready: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = WorkerPool(self._size, self, self._core.reactor)
        self._catching_up = CatchingUp(self._core, self._pool)
        self.as_one = AsOne(self._core, self._pool)

    async def open(self) -> None:
        """:raises WorkersError: one of them cannot start; none is left then."""
        await self._pool.open()
        self.as_one.begin()

    def say_ready(self, ready: bool) -> None:
        """Have all of them tell balancers whether to send requests."""
        self._is_ready = ready
        self._pool.tell("ready", ready)

    async def stop_listening(self) -> None:
        """Have no more connections accepted, by nobody."""
        self._pool.replace_no_more()
        await self._pool.ask("stop_listening", seconds=PATIENCE)

    async def stop(self, seconds: float) -> None:
        """Let all finish what they are doing, within so many seconds."""
        self.as_one.end()
        await self.as_one.bring_lines()
        await self._pool.stop(seconds, self._heard_last)

    async def prepare(self, new: Config) -> TakeOver:
        """See `CatchingUp`."""
        return await self._catching_up.prepare(new)

    def started(self, begin: Begin) -> Process:
        """See `ISupervisor`."""
        descriptors = [each for place in begin.sockets for each in place]
        everything = [*descriptors, *begin.more]
        return Process.started(begin.number, everything, self._form, self._core.reactor)

    def begin(self, number: int) -> Begin:
        """See `ISupervisor`."""
        return Begin(
            number,
            self._size,
            packed(self._core.config),
            current_level(),
            tuple(tuple(descriptors) for descriptors in self.sockets),
            tuple(self._lending.descriptors),
        )

    def answers(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """See `ISupervisor`."""
        self._catching_up.begins(member)
        return {
            "admin": self._answer_operator,
            "page": self._page,
            **self._lending.admit(member),
        }

    async def serves(self, member: Member) -> None:
        """See `ISupervisor`."""
        await self._catching_up.catch_up(member)
        member.link.tell("log_level", current_level())
        member.link.tell("ready", self._is_ready)

    async def is_gone(self, member: Member) -> None:
        """See `ISupervisor`."""
        self._catching_up.is_gone(member)
        self.as_one.is_gone(member)
        await self._lending.gone(member)

    def gave_up(self, reason: str) -> None:
        """See `ISupervisor`."""
        self._failed(reason)

    async def _answer_operator(self, asked: Sequence[Any], taken: Sequence[Any]) -> tuple[Any, ...]:
        api = self.front.api
        if api is None:
            raise OrchestratorError("nobody is here for operators")
        return attrs.astuple(await api.answer(AdminRequest(*asked), Taken(*taken).read))

    async def _page(self, is_openmetrics: bool) -> bytes:
        return await self.front.pages.get(OPENMETRICS if is_openmetrics else TEXT)

    def _heard_last(self, member: Member, figures: Sequence[Sequence[Any]]) -> None:
        """It has told the ledger itself that nothing there is its own any more."""
        member.has_left = True
        self.as_one.heard_figures(member, figures)
