"""How the services in the background fare, and `run now`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.instants import instant

WAIT = 20.0  # seconds; longer and a proxy in between, or the operator, may give up


class Report(Protocol):
    """How a service fares."""

    @property
    def name(self) -> str: ...
    @property
    def interval(self) -> float: ...
    @property
    def running(self) -> bool: ...
    @property
    def last_result(self) -> str | None: ...
    @property
    def last_success(self) -> float | None: ...
    @property
    def consecutive_failures(self) -> int: ...


@define(eq=False)
class Workers:
    """
    `GET workers` and `POST workers/{name}/run`.

    :param trigger: runs a service once, now; what it returns fires when that run, or one that was
        under way, has ended.
    :param processes: those that serve clients, if that is not this one.
    """

    _reports: Callable[[], Sequence[Report]]
    _trigger: Callable[[str], Deferred[None]]
    _clock: IReactorTime
    _processes: Callable[[], Sequence[Mapping[str, Any]]] = tuple

    async def show(self, ask: Ask) -> Answer:
        """List all of this process."""
        ask.allow_query()
        workers = [_shown(report) for report in self._reports()]
        return Answer({"workers": workers, "processes": list(self._processes())})

    async def run(self, ask: Ask) -> Answer:
        """Wait for the end of the run, but not for ever: then the answer is 202."""
        ask.allow_query()
        ask.allow_body()
        name = ask.path["name"]
        known = [report.name for report in self._reports()]
        if name not in known:
            raise Refused(404, f"there is no worker {name!r} in this process; there are {', '.join(known)}")
        ended = await self._ends(self._trigger(name))
        (report,) = (report for report in self._reports() if report.name == name)
        return Answer(_shown(report), 200 if ended else 202, {"worker": name})

    async def _ends(self, run: Deferred[None]) -> bool:
        """Wait for a run for a while; it goes on without us."""
        waiting: Deferred[bool] = Deferred()

        def tell(ended: bool) -> None:
            if not waiting.called:
                waiting.callback(ended)

        timer = self._clock.callLater(WAIT, tell, False)
        run.addCallback(lambda _: tell(True))
        try:
            return await waiting
        finally:
            if timer.active():
                timer.cancel()


def _shown(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "interval": report.interval,
        "running": report.running,
        "last_success": instant(report.last_success),
        "consecutive_failures": report.consecutive_failures,
        "last_result": report.last_result,
    }
