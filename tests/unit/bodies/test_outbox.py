"""Small messages that leave together: after what is said before, and before whatever comes next."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from s3orchestrator.bodies import sockets
from s3orchestrator.bodies.listening import listen_tcp
from s3orchestrator.bodies.outbox import OUTBOX, Outbox
from tests.unit.bodies.test_sockets import Peer, Peers


class Sender:
    def __init__(self, done: list[str], name: str) -> None:
        self.done, self.name = done, name

    def release(self) -> None:
        self.done.append(self.name)


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: list[Callable[[], None]] = []
        self.done: list[str] = []
        self.outbox = Outbox()
        self.outbox.open(self.turns.append, lambda: self.done.append("said"))

    def test_once_a_turn(self) -> None:
        """
        However many there are, one call at the end of the turn releases them in order.
        """
        for name in "ab":
            self.outbox.add(Sender(self.done, name))
        self.assertEqual((len(self.turns), self.done), (1, []))
        self.turns.pop()()
        self.assertEqual(self.done, ["a", "b"])
        self.outbox.add(Sender(self.done, "c"))
        self.assertEqual(len(self.turns), 1)

    def test_closed(self) -> None:
        """
        Who still waits when it is closed is released; the call that comes later finds nobody.
        """
        self.outbox.add(Sender(self.done, "a"))
        self.outbox.close()
        self.assertEqual((self.outbox.is_open, self.done), (False, ["a"]))
        self.turns.pop()()
        self.assertEqual(self.done, ["a"])

    def test_one_fails(self) -> None:
        """
        What goes wrong for one is no reason to keep back what others have to send.
        """

        class Failing(Sender):
            def release(self) -> None:
                raise ZeroDivisionError

        for sender in (Failing(self.done, "a"), Sender(self.done, "b")):
            self.outbox.add(sender)
        self.turns.pop()()
        self.assertEqual(self.done, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_said_in_vain(self) -> None:
        """
        What cannot be said before is no reason to answer nobody.
        """

        def fail() -> None:
            raise OSError("the log is full")

        self.outbox.open(self.turns.append, fail)
        self.outbox.say()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class SendingTogetherTests(TestCase):
    """On real sockets."""

    timeout = 20.0

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.said: list[bytes] = []
        OUTBOX.open(lambda call: self.reactor.callLater(0, call), lambda: self.said.append(self.arrived()))
        self.addCleanup(OUTBOX.close)
        peers = Peers()
        port = listen_tcp(self.reactor, "127.0.0.1", 0, peers)
        self.addCleanup(port.stopListening)
        self.client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(self.client.close)
        await peers.peer.made
        self.client.setblocking(False)
        self.peer: Peer = peers.peer
        self.connection: sockets.Connection = peers.peer.transport  # type: ignore[assignment]

    async def tearDown(self) -> None:
        if self.connection.connected:
            self.connection.abortConnection()
        await self.peer.lost

    async def turn(self) -> None:
        await deferLater(self.reactor, 0.01, lambda: None)

    def arrived(self) -> bytes:
        """What is there to be read, or that there is nothing; empty is the end."""
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b"nothing"

    async def test_waits(self) -> None:
        """
        A small message leaves at the end of the turn, after what is said before.
        """
        self.connection.write_soon(b"answer")
        self.assertEqual(self.arrived(), b"nothing")
        self.assertEqual((self.connection.kept, self.connection.sends_at_once), (6, False))
        await self.turn()
        self.assertEqual((self.said, self.arrived()), ([b"nothing"], b"answer"))
        self.assertEqual((self.connection.kept, self.connection.sends_at_once), (0, True))

    async def test_order(self) -> None:
        """
        What is written next does not overtake it, be it soon or at once.
        """
        self.connection.write_soon(b"a")
        self.connection.write_soon(b"b")
        self.connection.write(b"c")
        self.assertEqual(self.arrived(), b"abc")
        await self.turn()
        self.assertEqual(self.arrived(), b"nothing")

    async def test_large(self) -> None:
        """
        Nobody keeps back what is large.
        """
        self.connection.write_soon(bytes(sockets.SMALL + 1))
        self.assertEqual(len(self.arrived()), sockets.SMALL + 1)
        await self.turn()

    async def test_ended(self) -> None:
        """
        A connection that is closed in the same turn sends it before.
        """
        for end in ("loseConnection", "loseWriteConnection", "end"):
            with self.subTest(end=end):
                self.connection.write_soon(b"last words")
                getattr(self.connection, end)()
                await self.turn()
                self.assertEqual((self.arrived(), self.arrived()), (b"last words", b""))
            await self._anew()

    async def test_aborted(self) -> None:
        """
        One that is aborted sends nothing.
        """
        self.connection.write_soon(b"half")
        self.connection.abortConnection()
        await self.turn()
        with self.assertRaises(ConnectionResetError):
            self.arrived()

    async def test_client_has_left(self) -> None:
        """
        For a client that has left meanwhile there is nothing to do.
        """
        self.connection.write_soon(b"answer")
        self.connection.connectionLost(Failure(ConnectionLost()))
        await self.turn()
        self.assertEqual(self.connection.kept, 0)

    async def test_no_room(self) -> None:
        """
        While the client takes nothing a message waits in line, and for nothing else.
        """
        flood = bytes(8 << 20)
        self.connection.write(flood)
        self.connection.write_soon(b"answer")
        self.assertTrue(self.connection.is_waiting)
        received = bytearray()
        while len(received) < len(flood) + 6:
            await self.turn()
            got = self.arrived()
            received += got if got != b"nothing" else b""
        self.assertEqual(bytes(received[-6:]), b"answer")

    async def _anew(self) -> None:
        await self.tearDown()
        await self.setUp()
