"""Ledgers in databases of a PostgreSQL server that all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.protocols import portforward
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.store.dialing import Server
from s3orchestrator.store.pool import Limits
from s3orchestrator.store.postgres import PostgresDatabase
from tests.servers import postgres

FEW = Limits(at_least=1, at_most=8)


def server_of(database: str) -> Server:
    """Where a database of the tests' server is."""
    server = postgres()
    return Server(server.host, server.port, database, server.user, "", "disable")


def ledger(
    clock: IReactorTime | None = None, locale: str = "c", *, database: str | None = None, **how: Any
) -> PostgresDatabase:
    """Return a ledger to be opened: in a fresh database, unless one is named."""
    from twisted.internet import reactor

    how.setdefault("limits", FEW)
    return PostgresDatabase(server_of(database or postgres().database(locale)), reactor, clock=clock, **how)


class PostgresCase(TestCase):
    """A fresh database, of which everything is closed and nothing is left at the end."""

    timeout = 30
    locale = "c"

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self._frozen: list[int] = []
        self.server = postgres()
        self.database = self.server.database(self.locale)
        self.addCleanup(self.server.drop, self.database)

    async def open(self, **how: Any) -> PostgresDatabase:
        """Open the database as one more instance."""
        return await self.opened(ledger(database=self.database, **how))

    async def open_at(
        self, port: int, *, host: str | None = None, user: str | None = None, **how: Any
    ) -> PostgresDatabase:
        """Open the database at another address, or as somebody else."""
        there = server_of(self.database)
        server = evolve(there, host=host or there.host, port=port, user=user or there.user)
        return await self.opened(PostgresDatabase(server, self.reactor, limits=FEW, **how))

    async def opened(self, database: PostgresDatabase) -> PostgresDatabase:
        """Open, and close at the end."""
        await database.open()
        self.addCleanup(lambda: start(database.close()))
        return database

    def freeze(self, *processes: int) -> None:
        """Stop whatever serves our database, or these processes; at the end of the test they go on."""
        self.addCleanup(self.thaw)
        for pid in processes or self.server.backends(self.database):
            self._frozen.append(pid)
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let everything go on."""
        while self._frozen:
            os.kill(self._frozen.pop(), signal.SIGCONT)

    def kill(self) -> None:
        """End all connections to our database."""
        self.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database}'"
        )

    async def took(self, work: Awaitable[Any], error: type[Exception]) -> tuple[float, float]:
        """How long it took `work` to fail with `error`, and how long the reactor stood still meanwhile."""
        pulse = Pulse(self.reactor)
        began = self.reactor.seconds()
        with pulse:
            try:
                await work
            except error:
                return self.reactor.seconds() - began, pulse.longest
        raise AssertionError(f"{error.__name__} was not raised")


@define(eq=False)
class Pulse:
    """Notices when the reactor stands still."""

    _clock: IReactorTime
    longest: float = field(init=False, default=0.0)
    _last: float = field(init=False)
    _beating: LoopingCall = field(init=False)

    def __enter__(self) -> None:
        self._last = self._clock.seconds()
        self._beating = LoopingCall(self._beat)
        self._beating.start(0.005)

    def __exit__(self, *_: object) -> None:
        self._beat()
        self._beating.stop()

    def _beat(self) -> None:
        now = self._clock.seconds()
        self.longest, self._last = max(self.longest, now - self._last), now


@define(eq=False)
class Heard:
    """What was said, and a way to wait for it."""

    payloads: list[str] = field(factory=list)
    _wanted: dict[str, Deferred[None]] = field(factory=dict)

    def hear(self, payload: str) -> None:
        """Take note."""
        self.payloads.append(payload)
        if payload in self._wanted:
            self._wanted.pop(payload).callback(None)

    def wait_for(self, payload: str) -> Deferred[None]:
        """Wait until somebody says so, from now on."""
        return self._wanted.setdefault(payload, Deferred())


class _Far(portforward.ProxyClient):
    """The end towards the server."""

    is_deaf = False

    def dataReceived(self, data: bytes) -> None:
        if self.is_deaf:
            self.transport.loseConnection()
        else:
            super().dataReceived(data)


class _FarFactory(portforward.ProxyClientFactory):
    protocol = _Far
    noisy = False


class _Near(portforward.ProxyServer):
    """The end towards the client."""

    clientProtocolFactory = _FarFactory

    def dataReceived(self, data: bytes) -> None:
        if self.factory.word is not None and self.factory.word in data:
            self.peer.is_deaf = True
        super().dataReceived(data)


class LosesAnswer(portforward.ProxyFactory):
    """A relay to the tests' server that ends the connection instead of passing the answer to `word` on."""

    protocol = _Near
    noisy = False

    def __init__(self) -> None:
        server = postgres()
        super().__init__(server.host, server.port)
        self.word: bytes | None = None


class _Late(portforward.ProxyServer):
    """The end towards the client, of a relay that is slow to pass on what it was told."""

    clientProtocolFactory = _FarFactory
    _kept: bytes = b""

    def dataReceived(self, data: bytes) -> None:
        if self._kept:
            self._kept += data
        elif self.factory.word is not None and self.factory.word in data:
            self._kept = data
            self.factory.late.append(self)
            for transport in (self.transport, self.peer.transport):
                transport.unregisterProducer()  # the end of one of them is not that of the other
        else:
            super().dataReceived(data)

    def connectionLost(self, reason: Any) -> None:
        if not self._kept:
            super().connectionLost(reason)

    def pass_on(self) -> None:
        """Tell the server, and that nobody is there any more."""
        self.peer.transport.write(self._kept)
        self.peer.transport.loseConnection()


class ComesLate(portforward.ProxyFactory):
    """A relay to the tests' server that keeps what `word` is in to itself until told to `pass_on`."""

    protocol = _Late
    noisy = False

    def __init__(self) -> None:
        server = postgres()
        super().__init__(server.host, server.port)
        self.word: bytes | None = None
        self.late: list[_Late] = []

    def pass_on(self) -> None:
        """Pass on what was kept; who said it has hung up."""
        self.word = None
        while self.late:
            self.late.pop().pass_on()
