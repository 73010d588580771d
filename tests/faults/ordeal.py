"""Clients and mischief at once, for as long as wanted; then the comparison of everything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from attrs import define, field, frozen

from s3orchestrator.testing.faults.client import Client, uploads
from s3orchestrator.testing.faults.register import READ, Value
from s3orchestrator.testing.faults.relay import Relay
from tests.faults.database import Database
from tests.faults.keys import Key, Values
from tests.faults.mischief import Mischief, Step, schedule
from tests.faults.players import SOURCES, Player, players, source
from tests.faults.relayed import Relayed
from tests.faults.site import BUCKET, Place, Site, contents, disk, site
from tests.running import wait_until
from tests.servers import SERVERS

_PLAYERS = 8
_KEYS = 24
_STEPS_TOGETHER = 5  # steps between two moments of quiet, in which what is unclear is settled


@frozen
class Report:
    """What came of it."""

    operations: int
    failures: int
    happened: dict[str, int]
    losses: list[str]
    orphans: list[str]
    findings: list[str]

    @property
    def faults(self) -> int:
        """Crashes and faults, all together."""
        return sum(self.happened.values())

    @property
    def is_good(self) -> bool:
        """Whether nothing at all was wrong."""
        return not (self.losses or self.orphans or self.findings)


@define(eq=False)
class Ordeal:
    """
    A site with `backends` ("disk", or a server's name), in which `seed` decides what happens.

    Use: `start`; `run` and `compare`, as often as wanted; `stop`.
    """

    directory: Path
    backends: Sequence[str]
    seed: int
    database: Database | None = None
    instances: int = 1
    site: Site = field(init=False)
    mischief: Mischief = field(init=False)
    players: list[Player] = field(init=False, factory=list)
    _keys: dict[str, Key] = field(init=False, factory=dict)
    _relays: list[Relay] = field(init=False, factory=list)
    _steps: Iterator[Step] = field(init=False)
    _problems: list[str] = field(init=False, factory=list)

    def start(self) -> None:
        """Start everything, and store what will be copied."""
        places = {f"{kind}{number}": self._place(kind, number) for number, kind in enumerate(self.backends)}
        ledger = self.database.ledger() if self.database is not None else None
        self.site = site(
            self.directory,
            places,
            ledger=ledger,
            instances=self.instances,
            quiet_ms=2500,
            timeout="1s",
        )
        self.site.daemon.start()
        self._steps = schedule(
            self.seed, self.instances, len(self._relays), database=self.database is not None
        )
        self.mischief = Mischief(self.site.members, self._relays, self.database)
        self._keys = {f"k{number}": Key(f"k{number}") for number in range(_KEYS)}
        values = Values()
        clients = [self.site.client(member=number % self.instances) for number in range(_PLAYERS)]
        self.players = players(clients, self._keys, values, self.seed)
        for name, data in map(source, range(SOURCES)):
            values.add(data)
            assert self.client.put(name, data).succeeded

    @property
    def client(self) -> Client:
        """A client for what happens in between."""
        return self.site.client(patience=30.0)

    def run(self, until: Callable[[], bool], progress: Callable[[], None] = lambda: None) -> None:
        """Let it happen until `until` says so; afterwards all is quiet, and all is well."""
        while not until() and not self._has_failed():
            for player in self.players:
                player.start()
            for step in islice(self._steps, _STEPS_TOGETHER):
                self.mischief.do(step)
                progress()
            self._be_quiet()

    def compare(self) -> None:
        """Read everything, look behind everything, and go on serving."""
        client = self.client
        found = contents(client)
        for key in self._keys.values():
            key.read(key.begin(READ), self._found(key))
        for number in range(SOURCES):
            name, data = source(number)
            if found.get(name) != data:
                self._problems.append(f"{name} is missing or has other bytes")
        self._problems += self.site.whole({f"{BUCKET}/{key}": data for key, data in found.items()})
        self.site.daemon.start()

    def report(self) -> Report:
        """What came of it so far."""
        lost = [key.lost for key in self._keys.values() if key.lost]
        wrong = [line for player in self.players for line in player.wrong] + self.mischief.wrong
        orphans = [line for line in self._problems if "nobody's" in line or "upload is left" in line]
        findings = [line for line in self._problems if line.startswith("fsck")]
        others = [line for line in self._problems if line not in orphans and line not in findings]
        return Report(
            sum(player.operations for player in self.players),
            sum(player.failures for player in self.players),
            dict(self.mischief.happened),
            lost + others,
            orphans,
            findings + wrong,
        )

    def stop(self) -> None:
        """End everything."""
        for player in self.players:
            player.pause()
        self.site.daemon.kill()
        for player in self.players:
            player.wait()
        for relay in self._relays:
            relay.stop()

    def _place(self, kind: str, number: int) -> Place:
        if kind == "disk":
            return disk(self.directory / f"disk{number}")
        relayed = Relayed.on(SERVERS[kind]())
        self._relays.append(relayed.relay)
        return relayed.place

    def _has_failed(self) -> bool:
        report = self.report()
        return bool(report.losses or report.findings)

    def _be_quiet(self) -> None:
        """Let nothing be in progress any more, and settle what is unclear."""
        for player in self.players:
            player.pause()
        for player in self.players:
            player.wait()
        # What a departed client has asked for ends with its process; what was late has arrived before.
        self.site.daemon.kill()
        self.site.daemon.start()
        wait_until(self._writes, "it does not write again")
        for player in self.players:
            player.finish()
        for key in self._keys.values():
            key.settle()
            key.read(key.begin(READ), self._found(key))
        for name, upload in uploads(self.client.list_uploads()):
            self.client.abort(name, upload)

    def _found(self, key: Key) -> Value:
        """What is there, read by somebody who is alone."""
        reply = self.client.get(key.name)
        assert reply.status in (200, 404), reply
        return None if reply.status == 404 else self.players[0].values.of_bytes(reply.body)

    def _writes(self) -> bool:
        name, data = source(0)
        return self.client.put(name, data).succeeded


def scratch() -> str:
    """Where a long run keeps its ledger and directories: in memory, if there is room."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


def deadline(seconds: float) -> Callable[[], bool]:
    """Return what comes true then."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def either(*conditions: Callable[[], bool]) -> Callable[[], bool]:
    """Return what comes true with the first of them."""
    return lambda: any(condition() for condition in conditions)
