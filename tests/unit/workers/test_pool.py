"""Processes that are kept going; here they are links to nobody, which die when they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.workers.messages import Begin
from s3orchestrator.workers.pool import ASK_EVERY, MOST_UNANSWERED, Member, WorkerPool, WorkersError
from s3orchestrator.workers.restarts import GIVEN_UP
from tests.unit.workers.fakes import FakeProcess


class PoolCase(SynchronousTestCase):
    """A pool of two, and whom it works for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.processes: list[FakeProcess] = []
        self.heard: list[str] = []
        self.said: dict[int, Any] = {}
        self.begins: Callable[[], Any] = lambda: ((),)
        self.room, self.is_broken = True, False
        self.pool = WorkerPool(2, self, self.clock)

    # --- ISupervisor

    def started(self, begin: Begin) -> Any:
        if not self.room:
            raise OSError(12, "Cannot allocate memory")
        self.processes.append(FakeProcess(100 + len(self.processes), self.clock, self.begins))
        return self.processes[-1]

    def begin(self, number: int) -> Begin:
        return Begin(number, 2, b"", "info", ())

    def answers(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        return {}

    async def serves(self, member: Member) -> None:
        self.heard.append(f"{member.number} serves")

    async def is_gone(self, member: Member) -> None:
        self.heard.append(f"{member.number} is gone")
        if self.is_broken:
            raise ValueError("broken")

    def gave_up(self, reason: str) -> None:
        self.heard.append(reason)

    # --- and what the tests do

    def pass_time(self, seconds: float = 0.01) -> None:
        """In small steps, as it passes."""
        self.clock.pump([0.01] * max(1, round(seconds / 0.01)))

    def open(self) -> None:
        opening = start(self.pool.open())
        self.pass_time()
        self.successResultOf(opening)
        self.heard.clear()

    def die(self, index: int) -> None:
        self.processes[index].die(-9)
        self.pass_time(0.05)

    def pids(self) -> list[int]:
        return [member.process.pid for member in self.pool.serving]


class OpenTests(PoolCase):
    def test_all_serve(self) -> None:
        """It is open when each of them serves."""
        waiting: list[Deferred[Any]] = []

        def begins() -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.begins = begins
        opening = start(self.pool.open())
        self.pass_time()
        waiting[0].callback(((),))
        self.pass_time()
        self.assertNoResult(opening)
        waiting[1].callback(((),))
        self.pass_time()
        self.successResultOf(opening)
        self.assertEqual((self.heard, self.pids()), (["1 serves", "2 serves"], [100, 101]))

    def refuse(self) -> Any:
        raise OrchestratorError("the ledger cannot be opened")

    def test_cannot_begin(self) -> None:
        """One that says why it cannot is the end of all; nothing is left of any of them."""
        self.begins = self.refuse
        opening = start(self.pool.open())
        self.pass_time()
        error = self.failureResultOf(opening, WorkersError).value
        self.assertIn("cannot start: the ledger cannot be opened", str(error))
        self.assertEqual((self.pool.members, [each.status for each in self.processes]), ([], [-9, -9]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dies_at_once(self) -> None:
        """So is one that dies before it has said anything."""
        self.begins = Deferred
        opening = start(self.pool.open())
        self.pass_time()
        self.processes[1].die(7)
        self.pass_time()
        error = self.failureResultOf(opening, WorkersError).value
        self.assertEqual(str(error), "worker 2 ended with status 7 before it served")
        self.assertEqual(self.processes[0].status, -9)

    def test_no_room(self) -> None:
        """So is one for which there is no room."""
        self.room = False
        opening = start(self.pool.open())
        self.pass_time()
        self.assertIn("Cannot allocate memory", str(self.failureResultOf(opening, WorkersError).value))

    def test_told_to_stop(self) -> None:
        """Told to stop meanwhile, none is left."""
        self.begins = Deferred
        opening = start(self.pool.open())
        self.pass_time()
        opening.cancel()
        self.pass_time()
        self.failureResultOf(opening)
        self.assertEqual((self.pool.members, self.clock.getDelayedCalls()), ([], []))


class DeathTests(PoolCase):
    def test_replaced(self) -> None:
        """One that dies is replaced, once nothing is left of it; the log says both."""
        self.open()
        self.pass_time(20)
        with capturedLogs() as said:
            self.die(0)
        self.assertEqual(self.heard, ["1 is gone", "1 serves"])
        self.assertEqual(self.pids(), [102, 101])
        self.assertEqual(
            [formatEvent(each) for each in said],
            ["worker 1 (process 100) was ended by signal 9", "worker 1 (process 102) is serving"],
        )

    def test_left_behind(self) -> None:
        """It is replaced whatever happens when it is seen to what it has left behind."""
        self.open()
        self.is_broken = True
        self.die(0)
        self.assertEqual(self.pids(), [102, 101])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_again_and_again(self) -> None:
        """One that dies soon each time is replaced later and later; the other one goes on."""
        self.open()
        for _ in range(2):
            self.die(-1)
        self.assertEqual(len(self.pids()), 1)
        self.pass_time(0.1)
        self.assertEqual(len(self.pids()), 2)

    def test_cannot_be_replaced(self) -> None:
        """While one serves nothing is given up; when nobody does, and nobody can be started, all is."""
        self.open()
        self.begins = self.refuse
        self.die(0)
        self.pass_time(60)
        self.assertEqual((self.pids(), self.heard), ([101], ["1 is gone"] * self.heard.count("1 is gone")))
        self.assertGreater(self.heard.count("1 is gone"), GIVEN_UP)
        self.die(1)
        self.pass_time(60)
        self.assertEqual(self.heard[-1], "none of the workers can be started any more")
        self.assertEqual(self.pool.members, [])

    def refuse(self) -> Any:
        raise OrchestratorError("no")

    def test_deaf(self) -> None:
        """One that does not answer for long is ended; one that answers, or was late once, is not."""
        self.open()
        self.processes[0].is_deaf = True
        self.pass_time(ASK_EVERY * MOST_UNANSWERED)
        self.assertEqual(self.pids(), [100, 101])
        self.pass_time(ASK_EVERY + 0.1)
        self.assertEqual((self.processes[0].status, self.pids()), (-9, [102, 101]))
        self.assertEqual(self.processes[0].asked, ["begin", "report"])
        self.assertGreater(self.processes[1].asked.count("report"), 5)

    def test_report(self) -> None:
        """How each fares is known a few seconds later."""
        self.open()
        self.pass_time(ASK_EVERY + 0.1)
        self.assertEqual([member.report.requests for member in self.pool.members], [1, 1])


class StopTests(PoolCase):
    def stop(self, seconds: float = 10.0) -> Deferred[None]:
        def hear(member: Member, answer: Any) -> None:
            self.said[member.number] = answer

        stopping = start(self.pool.stop(seconds, hear))
        self.pass_time()
        return stopping

    def test_in_order(self) -> None:
        """Each finishes in its own time, and is heard once more; nobody takes its place."""
        self.open()
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.pass_time(1)
        self.successResultOf(stopping)
        self.assertEqual(self.said, {1: "farewell", 2: "farewell"})
        self.assertEqual((len(self.processes), self.clock.getDelayedCalls()), (2, []))

    def test_in_time(self) -> None:
        """One that does not end is ended."""
        self.open()
        self.processes[0].is_deaf = True
        stopping = self.stop(1.0)
        self.pass_time(1.1)
        self.successResultOf(stopping)
        self.assertEqual([process.status for process in self.processes], [-9, 0])

    def test_while_replacing(self) -> None:
        """One that was about to be started is not, and one that had not begun is ended."""
        self.open()
        self.begins = Deferred
        self.die(0)
        self.die(1)
        self.die(2)  # which is waited with
        stopping = self.stop()
        self.pass_time(1)
        self.successResultOf(stopping)
        self.assertEqual((self.pool.members, self.clock.getDelayedCalls()), ([], []))

    def test_about_to_stop(self) -> None:
        """Nobody takes the place of one that dies when the others have been told to take no more clients."""
        self.open()
        self.pool.replace_no_more()
        self.die(0)
        self.assertEqual((self.pids(), self.heard), ([101], ["1 is gone"]))
        stopping = self.stop()
        self.pass_time(1)
        self.successResultOf(stopping)

    def test_while_one_begins(self) -> None:
        """One that has not begun when the others take no more clients does not come to serve any."""
        self.open()
        begun: list[Deferred[Any]] = []

        def begins() -> Deferred[Any]:
            begun.append(Deferred())
            return begun[-1]

        self.begins = begins
        self.die(0)
        self.assertEqual((len(begun), self.pids()), (1, [101]))
        self.pool.replace_no_more()
        self.pass_time()
        begun[0].callback(((),))
        self.pass_time()
        self.assertEqual((self.pids(), self.processes[2].status), ([101], -9))
        stopping = self.stop(10.0)
        self.pass_time(1)
        self.successResultOf(stopping)

    def test_asked(self) -> None:
        """All are asked at once; what one cannot answer any more is a failure, and the others are heard."""
        self.open()
        asking = start(self.pool.ask("word", seconds=1.0))
        self.processes[0].die()
        self.pass_time(0.1)
        answers = {member.number: answer for member, answer in self.successResultOf(asking).items()}
        self.assertIsInstance(answers[1], Failure)
        self.assertEqual(answers[2], 101)
