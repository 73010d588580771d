"""Speaking for several processes; these are links in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.supervisor import Supervisor
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import Config
from s3orchestrator.errors import OrchestratorError, StoreUnavailable
from s3orchestrator.telemetry.logging import RING, current_level, set_level
from s3orchestrator.telemetry.sums import Family
from s3orchestrator.testing.harness import Harness
from s3orchestrator.workers.messages import Begin, unpacked
from s3orchestrator.workers.pool import Member
from tests.unit.workers.fakes import FakeProcess


class NothingLent:
    """They have a ledger of their own."""

    descriptors = (9,)

    def __init__(self) -> None:
        self.left: list[int] = []

    def admit(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        return {}

    async def gone(self, member: Member) -> None:
        self.left.append(member.process.pid)


class _Supervisor(Supervisor):
    """Starts processes that are none."""

    start: Callable[[Begin], Any]

    def started(self, begin: Begin) -> Any:
        return self.start(begin)


class SupervisorCase(SynchronousTestCase):
    burst = 77  # of the configuration that is taken over next

    def setUp(self) -> None:
        self.h = Harness()
        self.begun: list[Begin] = []
        self.processes: list[FakeProcess] = []
        self.heard: list[tuple[int, str, Any]] = []
        self.refusal: Exception | None = None
        self.begins: Callable[[], Any] = lambda: ((), 0, 0, {"a": "open"})
        self.lent = NothingLent()
        self.supervisor = _Supervisor(self.h.core, 2, self.lent, "json", self.heard.append)  # type: ignore[arg-type]
        self.supervisor.start = self.started
        self.supervisor.sockets = [[5], [6, 7]]
        self.addCleanup(set_level, current_level())
        opening = start(self.supervisor.open())
        self.pass_time()
        self.successResultOf(opening)

    def started(self, begin: Begin) -> FakeProcess:
        pid = 100 + len(self.processes)

        def hears(name: str) -> Callable[..., Any]:
            return lambda *args: self.hear(pid, name, *args)

        names = ("ready", "log_level", "take_over", "flush_usage", "stop_listening")
        more = {
            **{name: hears(name) for name in names},
            "prepare": lambda config: self.hear(pid, "prepare", unpacked(config)),
            "lines": lambda: [(float(pid), "info", "main", f'{{"msg": "of {pid}"}}')],
            "figures": lambda: [attrs.astuple(self.family(pid), recurse=False)],
        }
        self.begun.append(begin)
        self.processes.append(FakeProcess(pid, self.h.clock, self.begins, more))
        return self.processes[-1]

    def family(self, pid: int) -> Family:
        return Family("puts", "counter", "Of objects.", {("puts_total", ()): 1.0})

    def hear(self, pid: int, name: str, *args: Any) -> None:
        self.heard.append((pid, name, *args))  # type: ignore[arg-type]
        if self.refusal is not None and name in ("prepare", "flush_usage"):
            raise self.refusal

    def pass_time(self, seconds: float = 0.02) -> None:
        self.h.clock.pump([0.01] * round(seconds / 0.01))

    def told(self, name: str) -> list[int]:
        """Who was told or asked that since the last time."""
        found = [each[0] for each in self.heard if each[1] == name]
        self.heard.clear()
        return found

    def changed(self) -> Config:
        config = self.h.core.config
        return evolve(config, rate_limit=evolve(config.rate_limit, burst=self.burst))


class TellingTests(SupervisorCase):
    def test_begin(self) -> None:
        """Each is told what is in force, who it is, and what it has inherited."""
        first, second = self.begun
        self.assertEqual((first.number, first.of, second.number), (1, 2, 2))
        self.assertEqual((first.sockets, first.more), (((5,), (6, 7)), (9,)))
        self.assertEqual(unpacked(first.config), self.h.core.config)

    def test_ready(self) -> None:
        """Whether we are ready is told all, and those that come later."""
        self.assertEqual([each for each in self.heard if each[1] == "ready" and each[2]], [])
        self.heard.clear()
        self.supervisor.say_ready(True)
        self.pass_time()
        self.assertEqual(self.told("ready"), [100, 101])
        self.processes[0].die()
        self.pass_time()
        self.assertIn((102, "ready", True), self.heard)
        self.assertEqual(self.lent.left, [100])

    def test_level(self) -> None:
        """So is the level of the log."""
        self.heard.clear()
        self.supervisor.as_one.set_level("debug")
        self.pass_time()
        self.assertEqual((self.told("log_level"), current_level()), ([100, 101], "debug"))
        self.processes[1].die()
        self.pass_time()
        self.assertEqual(self.begun[-1].log_level, "debug")

    def test_shown(self) -> None:
        """Operators see each, with the worst that any says of a backend."""
        shown = [(one["worker"], one["pid"], one["serving"]) for one in self.supervisor.as_one.shown()]
        self.assertEqual(shown, [(1, 100, True), (2, 101, True)])
        self.assertEqual(list(self.supervisor.as_one.breakers("a")), ["open", "open"])
        self.assertEqual(list(self.supervisor.as_one.breakers("b")), [])

    def test_lines(self) -> None:
        """Lines of all are in the ring, in the order of their time."""
        bringing = start(self.supervisor.as_one.bring_lines())
        self.pass_time()
        self.successResultOf(bringing)
        texts = [kept[-1] for kept in RING._kept]
        self.assertEqual(texts[-2:], ['{"msg": "of 100"}', '{"msg": "of 101"}'])

    def test_many_lines(self) -> None:
        """A process that has more than a message may hold is asked again, so that the latest are there."""
        left = {100: ["1", "2", "3"], 101: ["4"]}

        def take(pid: int) -> list[tuple[float, str, str, str]]:
            return [(float(text), "info", "main", text) for text in (left[pid].pop(0),)] if left[pid] else []

        for process in self.processes:
            process.more["lines"] = lambda pid=process.pid: take(pid)
        bringing = start(self.supervisor.as_one.bring_lines())
        self.pass_time(0.1)
        self.successResultOf(bringing)
        self.assertEqual(sorted(kept[-1] for kept in RING._kept if kept[-1] in "1234"), ["1", "2", "3", "4"])

    def test_flush(self) -> None:
        """That one could not record what it has used is said."""
        self.refusal = StoreUnavailable("away")
        flushing = start(self.supervisor.as_one.flush_usage())
        self.pass_time()
        self.assertIn("worker 1: away", str(self.failureResultOf(flushing, StoreUnavailable).value))

    def test_flush_of_one_that_dies(self) -> None:
        """It is said who went away: the ledger is here, and is not."""
        self.processes[1].more["flush_usage"] = Deferred
        flushing = start(self.supervisor.as_one.flush_usage())
        self.pass_time()
        self.processes[1].die()
        self.pass_time()
        error = self.failureResultOf(flushing, StoreUnavailable).value
        self.assertEqual(str(error), "worker 2: the process at the other end went away")


class ReloadTests(SupervisorCase):
    def prepare(self) -> Deferred[Any]:
        self.heard.clear()
        preparing = start(self.supervisor.prepare(self.changed()))
        self.pass_time()
        return preparing

    def take_over(self, preparing: Deferred[Any]) -> None:
        """As the reloader does: here first, then elsewhere, in one step."""
        take_over = self.successResultOf(preparing)
        self.h.core.in_force.reload(self.changed(), 0.0)
        take_over()
        self.pass_time()

    def test_all(self) -> None:
        """All are asked whether they can, and only then told to."""
        preparing = self.prepare()
        self.assertEqual(self.heard[0][2].rate_limit.burst, 77)  # type: ignore[misc]
        self.assertEqual(self.told("prepare"), [100, 101])
        self.take_over(preparing)
        self.assertEqual(self.told("take_over"), [100, 101])

    def test_one_cannot(self) -> None:
        """If one cannot none does; it is said which, and why."""
        self.refusal = OrchestratorError("cert.pem: is cut off")
        error = self.failureResultOf(self.prepare(), OrchestratorError).value
        self.assertEqual(str(error), "worker 1: cert.pem: is cut off")
        self.assertEqual(self.told("take_over"), [])

    def test_one_dies(self) -> None:
        """One that dies meanwhile is no reason not to; the next one in its place has what is in force."""
        preparing = self.prepare()
        self.processes[0].die()
        self.pass_time()  # so its place is taken by one that knows the old configuration
        self.assertEqual(len(self.begun), 3)
        self.heard.clear()
        self.take_over(preparing)
        asked = [(each[0], each[1]) for each in self.heard]
        self.assertEqual(asked.count((101, "take_over")), 1)
        self.assertEqual([each for each in asked if each[0] == 102], [(102, "prepare"), (102, "take_over")])

    def test_while_one_begins(self) -> None:
        """One that began before, and serves only afterwards, takes it over before it says so."""
        begins: Deferred[Any] = Deferred()
        self.begins = lambda: begins
        self.processes[1].die()
        self.pass_time()
        self.take_over(self.prepare())
        self.heard.clear()
        begins.callback(((), 0, 0, {}))
        self.pass_time()
        heard = [each[1] for each in self.heard if each[0] == 102]
        self.assertEqual(heard, ["prepare", "take_over", "log_level", "ready"])

    def test_one_that_cannot_catch_up(self) -> None:
        """One that is behind, and cannot take over what the others have, is replaced."""
        preparing = self.prepare()
        self.processes[0].die()
        self.pass_time()
        self.refusal = OrchestratorError("no")
        with capturedLogs() as said:
            self.take_over(preparing)
        self.refusal = None
        self.pass_time(1.0)
        self.assertIn(
            "worker 1 cannot take over the configuration, and is replaced: no",
            [formatEvent(each) for each in said],
        )
        self.assertEqual(unpacked(self.begun[-1].config).rate_limit.burst, 77)

    def test_one_thaws(self) -> None:
        """
        One that stood still during a reload, and goes on during the next, comes to have what the others have.
        """
        asked: list[tuple[int, Deferred[Any]]] = []
        ready: list[int] = []
        taken: list[int] = []

        def prepare(config: bytes) -> Deferred[Any]:
            """As a process does: what is ready last is what it takes over, once."""
            burst = unpacked(config).rate_limit.burst
            asked.append((burst, Deferred(lambda _: None)))
            return asked[-1][1].addCallback(lambda _: ready.append(burst))

        self.processes[0].more["prepare"] = prepare
        self.processes[0].more["take_over"] = lambda: taken.extend(ready[-1:]) or ready.clear()
        first = self.prepare()
        self.pass_time(21)  # longer than anybody waits: it is asked again
        self.take_over(first)
        self.burst = 78
        second = self.prepare()
        newer = [prepared for burst, prepared in asked if burst == 78]
        for prepared in newer:
            prepared.callback(None)
        self.pass_time()
        self.take_over(second)
        while waiting := [prepared for _, prepared in asked if not prepared.called]:
            for prepared in waiting:
                prepared.callback(None)
            self.pass_time()
        self.assertEqual(taken[-1], 78)

    def test_broken_off(self) -> None:
        """Who is told to stop meanwhile takes that for no refusal."""
        self.processes[0].more["prepare"] = lambda config: Deferred()
        preparing = self.prepare()
        preparing.cancel()
        self.failureResultOf(preparing, CancelledError)


class FiguresTests(SupervisorCase):
    def puts(self) -> float:
        asking = start(self.supervisor.as_one.families())
        self.pass_time(0.1)
        for metric, samples in self.successResultOf(asking):
            if metric.name == "puts":
                return sum(sample.value for sample in samples)
        return 0.0

    def test_added_up(self) -> None:
        """What all have counted is added up, also when one has died."""
        self.assertEqual(self.puts(), 2)
        self.processes[0].die()
        self.pass_time()
        self.assertEqual(self.puts(), 3)

    def test_deaf(self) -> None:
        """One that does not answer is not waited for long: what it has said before counts."""
        self.assertEqual(self.puts(), 2)
        self.processes[0].more["figures"] = Deferred
        asking = start(self.supervisor.as_one.families())
        self.pass_time(2.5)
        self.successResultOf(asking)

    def test_farewell(self) -> None:
        """What a process says last is counted, although it has ended."""
        stopping = start(self.supervisor.stop(10.0))
        self.pass_time(1.0)
        self.successResultOf(stopping)
        self.assertEqual(self.lent.left, [100, 101])
