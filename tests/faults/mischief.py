"""What befalls a site: a schedule that a seed decides, and the doing of it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from attrs import define, evolve, field, frozen

from s3orchestrator.testing.faults.relay import Act, Fault, Relay, Way, lost_answer
from tests.faults.database import Database
from tests.faults.site import FaultyDaemon

_DYING = 2.0  # seconds in which a crash point is awaited; after that it is killed wherever it is

# Nothing is cut in the midst of a request: some of the servers take half of one for a whole.
_NETWORK: Mapping[str, Fault] = {
    "request lost": Fault(Act.CUT),
    "answer cut": Fault(Act.CUT, Way.TO_CLIENT, 60),
    "answer lost": lost_answer(),
    "body cut on its way back": Fault(Act.CUT, Way.TO_CLIENT, 1000),
    "request late": Fault(Act.STALL),
    "answer stalled": Fault(Act.STALL, Way.TO_CLIENT, 500),
    "slow": Fault(Act.DELAY, Way.TO_CLIENT, seconds=0.3),
}
_VERBS = (b"PUT /", b"GET /", b"DELETE /", b"POST /", b"HEAD /")


@frozen
class Step:
    """One thing to happen, to the daemon or relay of that number, after `pause` seconds of peace."""

    what: str
    pause: float
    whom: int
    seconds: float = 0.0
    point: int = 0
    when: str = "before"
    faults: tuple[Fault, ...] = ()


def schedule(seed: int, daemons: int, relays: int, *, database: bool = False) -> Iterator[Step]:
    """All that happens, for ever; the same for the same arguments."""
    random = Random(seed)
    kinds = {"killed": 30, "killed at a point": 40, "stopped": 5, "frozen": 5}
    if relays:
        kinds |= {"network": 30, "backend away": 10}
    if database:
        kinds |= dict.fromkeys(
            ("database network", "database away", "database killed", "database frozen", "sessions ended"), 6
        )
    while True:
        what = random.choices(list(kinds), list(kinds.values()))[0]
        pause, seconds = random.uniform(0.1, 1.5), random.uniform(0.2, 1.0)
        point, when = random.randrange(1, 400), random.choice(["before", "after"])
        count = random.randrange(1, 5)
        faults = tuple(
            evolve(random.choice(list(_NETWORK.values())), on=random.choice(_VERBS)) for _ in range(count)
        )
        whom = random.randrange(relays if what in ("network", "backend away") else daemons)
        yield Step(what, pause, whom, seconds, point, when, faults)


@define(eq=False)
class Mischief:
    """Does the steps of a schedule, and counts what happened."""

    daemons: Sequence[FaultyDaemon]
    relays: Sequence[Relay]
    database: Database | None = None
    happened: Counter[str] = field(init=False, factory=Counter)
    wrong: list[str] = field(init=False, factory=list)

    def do(self, step: Step) -> None:
        """Let one step happen; afterwards every daemon runs, and every relay behaves."""
        time.sleep(step.pause)
        _DOING[step.what](self, step)

    def _killed(self, step: Step) -> None:
        daemon = self.daemons[step.whom]
        daemon.kill()
        self.happened["killed"] += 1
        daemon.start()

    def _killed_at_a_point(self, step: Step) -> None:
        """It starts, and dies of its own accord: at start, or soon."""
        daemon = self.daemons[step.whom]
        daemon.kill()
        daemon.points = daemon.log.with_suffix(".points")
        daemon.kill_at, daemon.when, daemon.waits = step.point, step.when, False
        daemon.start_or_die()
        deadline = time.monotonic() + _DYING
        while not daemon.has_died() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.happened["died at a point" if daemon.has_died() else "killed"] += 1
        if daemon.has_died() and (status := daemon.bury()) != -signal.SIGKILL:
            self.wrong.append(f"it ended with {status} before {step}")
        daemon.kill()
        daemon.points = None
        daemon.start()

    def _stopped(self, step: Step) -> None:
        daemon = self.daemons[step.whom]
        daemon.stop()
        self.happened["stopped"] += 1
        daemon.start()

    def _frozen(self, step: Step) -> None:
        pid = self.daemons[step.whom].pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(step.seconds)
        os.kill(pid, signal.SIGCONT)
        self.happened["frozen"] += 1

    def _network(self, step: Step) -> None:
        relay = self.relays[step.whom]
        before = relay.met
        relay.inject(*step.faults)
        time.sleep(step.seconds)
        relay.heal()
        self.happened["network"] += relay.met - before

    def _away(self, step: Step) -> None:
        relay = self.relays[step.whom]
        relay.refuse()
        time.sleep(step.seconds)
        relay.heal()
        self.happened["backend away"] += 1

    def _database(self) -> Database:
        assert self.database is not None
        return self.database

    def _database_network(self, step: Step) -> None:
        relay = self._database().relay
        before = relay.met
        relay.inject(*[evolve(fault, on=b"") for fault in step.faults])
        time.sleep(step.seconds)
        relay.heal()
        self.happened["database network"] += relay.met - before

    def _database_away(self, step: Step) -> None:
        relay = self._database().relay
        relay.refuse()
        time.sleep(step.seconds)
        relay.heal()
        self.happened["database away"] += 1

    def _database_killed(self, step: Step) -> None:
        self._database().kill()
        self._database().start()
        self.happened["database killed"] += 1

    def _database_frozen(self, step: Step) -> None:
        self._database().freeze()
        time.sleep(step.seconds)
        self._database().thaw()
        self.happened["database frozen"] += 1

    def _sessions_ended(self, step: Step) -> None:
        self._database().hang_up()
        self.happened["sessions ended"] += 1


_DOING: Mapping[str, Callable[[Mischief, Step], None]] = {
    "killed": Mischief._killed,
    "killed at a point": Mischief._killed_at_a_point,
    "stopped": Mischief._stopped,
    "frozen": Mischief._frozen,
    "network": Mischief._network,
    "backend away": Mischief._away,
    "database network": Mischief._database_network,
    "database away": Mischief._database_away,
    "database killed": Mischief._database_killed,
    "database frozen": Mischief._database_frozen,
    "sessions ended": Mischief._sessions_ended,
}
