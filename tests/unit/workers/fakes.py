"""Processes that are none: links in memory, and who answers at their other end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from s3orchestrator.workers.link import Link


@define(eq=False)
class Wire:
    """One end of a connection in memory."""

    link: Link
    other: Wire = field(init=False)
    is_cut: bool = field(default=False, init=False)

    def write(self, data: bytes) -> None:
        if not self.other.is_cut:
            self.other.link.dataReceived(data)

    def cut(self) -> None:
        for end in (self, self.other):
            if not end.is_cut:
                end.is_cut = True
                end.link.connectionLost(Failure(ConnectionError()))

    loseConnection = abortConnection = cut


@define(eq=False)
class FakeProcess:
    """A process, as far as the pool can tell; `begin` is what it does when it is told to."""

    pid: int
    clock: Clock
    begin: Callable[[], Any]
    more: dict[str, Callable[..., Any]] = field(factory=dict)  # what else it answers
    asked: list[str] = field(factory=list, init=False)
    is_deaf: bool = field(default=False, init=False)
    status: int | None = field(default=None, init=False)
    _wire: Wire = field(init=False)
    _gone: Deferred[int] | None = field(default=None, init=False)

    def connect(self, link: Link) -> None:
        handlers = {
            "begin": self._begin,
            "report": self._report,
            "stop": self._stop,
            "word": lambda: self.pid,
            **{name: self._more(name) for name in self.more},
        }
        theirs = Link(handlers, lambda: None, self.clock)
        self._wire = Wire(link)
        self._wire.other = Wire(theirs)
        self._wire.other.other = self._wire
        theirs.makeConnection(self._wire.other)  # type: ignore[arg-type]
        link.makeConnection(self._wire)  # type: ignore[arg-type]

    def _more(self, name: str) -> Callable[..., Any]:
        return lambda *args: self.more[name](*args)

    def _begin(self, *told: Any) -> Any:
        self.asked.append("begin")
        return self.begin()

    def _report(self) -> Any:
        self.asked.append("report")
        return Deferred() if self.is_deaf else ((), 1, 2, {})

    def _stop(self) -> str:
        self.asked.append("stop")
        if not self.is_deaf:
            self.clock.callLater(0.5, self.die, 0)
        return "farewell"

    def die(self, status: int = 1) -> None:
        if self.status is None:
            self.status = status
            self._wire.cut()
            if self._gone is not None and not self._gone.called:
                self._gone.callback(status)

    def kill(self) -> None:
        self.clock.callLater(0, self.die, -9)

    def gone(self) -> Deferred[int]:
        self._gone = Deferred()
        if self.status is not None:
            self._gone.callback(self.status)
        return self._gone
