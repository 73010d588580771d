"""
The processes that serve clients for this one: started, watched, replaced, told to stop.

Each has a place, numbered from 1. A process is, in turn: started; serving, once it has said so; told to stop,
or dead; gone, when nothing is left of it. Only then is another one started in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from attrs import astuple, define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from s3orchestrator.concurrency import deadline, start
from s3orchestrator.errors import OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.workers.link import Link
from s3orchestrator.workers.messages import Begin, Report
from s3orchestrator.workers.process import Process, how_it_ended
from s3orchestrator.workers.restarts import Restarts, are_hopeless

ASK_EVERY = 5.0  # seconds between two questions how a process fares
# Without an answer for so many times that, its reactor stands still. Counted, not measured: when the machine
# was asleep everybody was.
MOST_UNANSWERED = 6

GONE = (StoreUnavailable, TransactionUnclear)  # what a link says of an end that has gone


class WorkersError(OrchestratorError):
    """The processes that serve clients cannot be started, or not any more."""


@define(eq=False)
class Member:
    """A process in its place, from its start until it is gone. `since` is Unix time."""

    number: int
    process: Process
    link: Link
    since: float
    is_serving: bool = field(default=False, init=False)
    has_failed: bool = field(default=False, init=False)  # to begin, as it has said itself
    has_left: bool = field(default=False, init=False)  # in order, as it was told
    is_dismissed: bool = field(default=False, init=False)  # killed with all the others, and that was said
    report: Report = field(factory=Report, init=False)
    unanswered: int = field(default=0, init=False)


Heard = Callable[[Member, Any], object]


class ISupervisor(Protocol):
    """Who starts the processes of a pool, tells them what to do, and sees to what they leave behind."""

    def started(self, begin: Begin) -> Process:
        """
        Start a process that inherits what it will be told of.

        :raises OSError: there is no room for it.
        """

    def begin(self, number: int) -> Begin:
        """What a process in that place is to do."""

    def answers(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """Who answers what a process may ask."""

    async def serves(self, member: Member) -> None:
        """One has begun to serve, at the start or in the place of another."""

    async def is_gone(self, member: Member) -> None:
        """Nothing is left of a process."""

    def gave_up(self, reason: str) -> None:
        """Nobody serves any more, and nobody can be started."""


@define(eq=False)
class WorkerPool:
    """So many processes, from `open` to `stop`."""

    log = make_logger()
    _size: int
    _supervisor: ISupervisor
    _reactor: Any
    _members: dict[int, Member] = field(factory=dict, init=False)
    _restarts: dict[int, Restarts] = field(factory=dict, init=False)
    _keeping: list[Deferred[None]] = field(factory=list, init=False)
    _waking: dict[int, Deferred[None]] = field(factory=dict, init=False)
    _asking: LoopingCall | None = field(default=None, init=False)
    _opened: Deferred[None] | None = field(default=None, init=False)
    _is_stopping: bool = field(default=False, init=False)

    @property
    def members(self) -> list[Member]:
        """Those that there are, by place."""
        return [self._members[number] for number in sorted(self._members)]

    @property
    def serving(self) -> list[Member]:
        """Those that serve."""
        return [member for member in self.members if member.is_serving]

    async def open(self) -> None:
        """
        Start all of them, and return when each serves.

        :raises WorkersError: one cannot; none is left then.
        """
        self._opened = opened = Deferred[None]()
        self._restarts = {number: Restarts() for number in range(1, self._size + 1)}
        self._asking = LoopingCall(self._ask_how_they_fare)
        self._asking.clock = self._reactor
        start(self._asking.start(ASK_EVERY, now=False))
        self._keeping = [start(self._keep(number)) for number in self._restarts]
        try:
            await opened
        except BaseException:
            self.kill()
            await self.gone()
            raise
        finally:
            self._opened = None

    # --- keeping places filled

    async def _keep(self, number: int) -> None:
        """Have a process in this place as long as we are not told to stop."""
        while not self._is_stopping:
            served = None
            try:
                served = await self._have(number)
            except OSError as error:
                self._failed(f"worker {number} cannot be started: {error.strerror}")
            self._restarts[number] = restarts = self._restarts[number].after(served)
            if self._is_stopping:
                return
            if are_hopeless(list(self._restarts.values()), len(self.serving)):
                self._give_up()
                return
            await self._sleep(number, restarts.delay)

    async def _have(self, number: int) -> float | None:
        """Have one process until it is gone; returns how many seconds it served, None if it never did."""
        begin = self._supervisor.begin(number)
        process = self._supervisor.started(begin)
        lost, answers = Deferred[None](), dict[str, Callable[..., object]]()
        link = Link(answers, lambda: lost.callback(None), self._reactor)
        member = Member(number, process, link, self._reactor.seconds())
        answers.update(self._supervisor.answers(member))
        self._members[number] = member
        process.connect(link)
        beginning = start(self._begin(member, begin))
        await lost
        await beginning
        status = await process.gone()
        del self._members[number]
        self._tell_end(member, status)
        try:
            await self._supervisor.is_gone(member)
        except Exception:
            # Whatever it is: the place must not stay empty for it.
            self.log.failure("worker {number} has left something behind", number=number)
        return self._reactor.seconds() - member.since if member.is_serving else None

    async def _begin(self, member: Member, begin: Begin) -> None:
        try:
            member.report = Report(*await member.link.ask("begin", *astuple(begin, recurse=False)))
        except TransactionUnclear:
            return  # it has died, and that will be said
        except Exception as error:
            member.has_failed = True
            self._failed(f"worker {member.number} cannot start: {error}")
            member.process.kill()
            return
        member.since = self._reactor.seconds()
        member.is_serving = True
        self.log.info(
            "worker {number} (process {process}) is serving",
            number=member.number,
            process=member.process.pid,
        )
        try:
            await self._supervisor.serves(member)
        except GONE:
            return
        if self._opened is not None and len(self.serving) == self._size and not self._opened.called:
            self._opened.callback(None)

    def _tell_end(self, member: Member, status: int) -> None:
        if member.has_failed or member.is_dismissed:
            return
        if self._is_stopping and (status == 0 or not member.is_serving):
            return
        ended = how_it_ended(status)
        self.log.error(
            "worker {number} (process {process}) {ended}",
            number=member.number,
            process=member.process.pid,
            ended=ended,
        )
        if not member.is_serving:
            self._failed(f"worker {member.number} {ended} before it served")

    def _failed(self, reason: str) -> None:
        """One could not be started; while all of them are, that is the end of it."""
        if self._opened is not None and not self._opened.called:
            self._opened.errback(WorkersError(reason))
        else:
            self.log.error("{reason}", reason=reason)

    def _give_up(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._supervisor.gave_up("none of the workers can be started any more")

    async def _sleep(self, number: int, seconds: float) -> None:
        self._waking[number] = waking = Deferred[None]()
        timer = self._reactor.callLater(seconds, waking.callback, None)
        try:
            await waking
        finally:
            del self._waking[number]
            if timer.active():
                timer.cancel()

    # --- watching

    def _ask_how_they_fare(self) -> None:
        for member in self.members:
            member.unanswered += 1
            if member.unanswered == 1:
                start(self._ask_how_it_fares(member))
            elif member.unanswered > MOST_UNANSWERED:
                self.log.error(
                    "worker {number} (process {process}) does not answer any more: it is ended",
                    number=member.number,
                    process=member.process.pid,
                )
                member.process.kill()

    async def _ask_how_it_fares(self, member: Member) -> None:
        try:
            member.report = Report(*await member.link.ask("report"))
        except GONE:
            return
        member.unanswered = 0

    # --- all of them

    def tell(self, name: str, *args: Any) -> None:
        """Tell all that serve something."""
        for member in self.serving:
            member.link.tell(name, *args)

    async def ask(
        self,
        name: str,
        *args: Any,
        seconds: float,
        heard: Heard | None = None,
        but: Container[Member] = (),
    ) -> dict[Member, Any]:
        """
        Ask all that serve something, and wait for so long; returns their answers, or failures.

        `heard` is called with each answer as it comes; a process that has one to give is not gone yet. Those
        in `but` are not asked.
        """
        asked = {}
        for member in self.serving:
            if member in but:
                continue
            answer = member.link.ask(name, *args)
            if heard is not None:
                answer.addCallback(_tell, heard, member)
            asked[member] = start(deadline(seconds, answer, self._reactor, _no_answer))
        answers = await DeferredList(list(asked.values()), consumeErrors=True)
        for _, answer in answers:
            if isinstance(answer, Failure) and answer.check(CancelledError):
                raise CancelledError  # the list takes our caller's leaving for the answer of each
        return {member: answer for member, (_, answer) in zip(asked, answers, strict=True)}

    def replace_no_more(self) -> None:
        """
        Leave the places of those empty that end from now on: what they inherit is about to be closed.

        Those that have not begun to serve are ended: nobody would tell them to take no more clients.
        """
        self._is_stopping = True
        for member in self.members:
            if not member.is_serving:
                member.process.kill()

    async def stop(self, seconds: float, heard: Heard) -> None:
        """
        Let each finish what it is doing, and see to it that all have ended after so many seconds.

        `heard` is called with what each says last.
        """
        self.replace_no_more()
        late = self._reactor.callLater(seconds, self._too_late)
        await self.ask("stop", seconds=seconds, heard=heard)
        await self.gone()
        if late.active():
            late.cancel()

    def _too_late(self) -> None:
        for member in self.members:
            self.log.error("worker {number} does not end: it is ended", number=member.number)
        self.kill()

    def kill(self) -> None:
        """End all of them without giving them a chance to do anything, and start no other."""
        self._is_stopping = True
        for member in self.members:
            member.is_dismissed = True
            member.process.kill()

    async def gone(self) -> None:
        """Return when nothing is left of any of them; all have been told to stop, or killed."""
        if self._asking is not None and self._asking.running:
            self._asking.stop()
        for member in self.members:
            if not member.is_serving:
                member.process.kill()
        for waking in list(self._waking.values()):
            waking.callback(None)
        for keeping in self._keeping:
            await keeping


def failures(answers: Mapping[Member, Any]) -> Sequence[tuple[Member, Failure]]:
    """Return what went wrong."""
    return [(member, answer) for member, answer in answers.items() if isinstance(answer, Failure)]


def _tell(answer: Any, heard: Heard, member: Member) -> Any:
    heard(member, answer)
    return answer


def _no_answer() -> Exception:
    return StoreUnavailable("no answer in time")
