"""One listening socket of several processes; here they are several ports on one reactor."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from s3orchestrator.bodies.listening import Port, SharedPort, SharedUnixPort, UnixPort, adopt


class Counting(ServerFactory):
    """Counts connections, and lets go of them when the test is over."""

    noisy = False

    def __init__(self) -> None:
        self.accepted: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        self.accepted.append(Protocol())
        return self.accepted[-1]


class TurnsTests(TestCase):
    """A crowd that has arrived before anybody looked."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.addCleanup(self.listening.close)
        self.factories = [Counting(), Counting()]

    def crowd(self, number: int) -> None:
        for _ in range(number):
            client = socket.create_connection(self.listening.getsockname())
            self.addCleanup(client.close)

    def listen(self, *, is_shared: bool) -> list[Port | UnixPort]:
        ports = [
            adopt(self.reactor, self.listening.fileno(), factory, is_shared=is_shared)
            for factory in self.factories
        ]
        for port in ports:
            self.addCleanup(port.stopListening)  # type: ignore[no-untyped-call]
        return ports

    async def all_accepted(self, number: int) -> list[int]:
        while sum(len(factory.accepted) for factory in self.factories) < number:
            await deferLater(self.reactor, 0, lambda: None)  # type: ignore[arg-type]
        found = [len(factory.accepted) for factory in self.factories]
        for factory in self.factories:
            for protocol in factory.accepted:
                assert protocol.transport is not None
                protocol.transport.abortConnection()  # type: ignore[attr-defined]
        return found

    async def _both(self) -> None:
        self.crowd(20)
        self.assertIsInstance(self.listen(is_shared=True)[0], SharedPort)
        self.assertEqual(await self.all_accepted(20), [10, 10])

    def test_both(self) -> Deferred[None]:
        """Whoever wakes up takes one, and lets the others have their turn."""
        return Deferred.fromCoroutine(self._both())

    async def _first(self) -> None:
        self.crowd(20)
        self.listen(is_shared=False)
        self.assertEqual(sorted(await self.all_accepted(20)), [0, 20])

    def test_first(self) -> Deferred[None]:
        """Otherwise the first takes all: that is what a process that is alone should do."""
        return Deferred.fromCoroutine(self._first())

    def test_unix(self) -> None:
        """Unix sockets take turns as well."""
        path = Path(mkdtemp()) / "s"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            port = adopt(self.reactor, listening.fileno(), Counting(), is_shared=True)
            self.addCleanup(port.stopListening)  # type: ignore[no-untyped-call]
            self.assertIsInstance(port, SharedUnixPort)
            self.assertEqual(port.numberAccepts, 1)
