"""Connections that send at once, on real sockets."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from s3orchestrator.bodies import sockets
from s3orchestrator.bodies.listening import listen_tcp


class Peer(Protocol):
    """Keeps what it hears, and tells when it is connected and when it is not."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


class Peers(ServerFactory):
    """Gives each connection the one protocol it has."""

    noisy = False

    def __init__(self) -> None:
        self.peer = Peer()

    def buildProtocol(self, addr: object) -> Peer:
        return self.peer


class Caller(ClientFactory):  # type: ignore[type-arg]
    noisy = False

    def __init__(self) -> None:
        self.peer = Peer()

    def buildProtocol(self, addr: object) -> Peer:
        return self.peer


@implementer(IPushProducer)
class Paced:
    """Notes when it was told to pause and to go on."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class SendingAtOnceTests(TestCase):
    timeout = 20.0

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    async def turn(self, seconds: float = 0.0) -> None:
        await deferLater(self.reactor, seconds, lambda: None)

    async def connect(self) -> tuple[Peer, socket.socket]:
        """A connection of ours, and the plain socket at its other end."""
        factory = Peers()
        port = listen_tcp(self.reactor, "127.0.0.1", 0, factory)
        self.addCleanup(port.stopListening)
        other = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(other.close)
        other.settimeout(5)
        await factory.peer.made
        self.addCleanup(lambda: factory.peer.lost)
        self.addCleanup(factory.peer.transport.abortConnection)
        return factory.peer, other

    async def test_sent_without_a_turn_of_the_reactor(self) -> None:
        """What is written has left when `write` returns."""
        peer, other = await self.connect()
        peer.transport.write(b"now")
        self.assertEqual(other.recv(10), b"now")
        peer.transport.writeSequence([b"one ", b"piece"])
        self.assertEqual(other.recv(20), b"one piece")

    async def test_nothing_is_waiting_when_the_kernel_took_it(self) -> None:
        """A small message leaves no trace in our buffers."""
        peer, _ = await self.connect()
        peer.transport.write(b"small")
        self.assertFalse(peer.transport.is_waiting)

    async def test_order_is_kept(self) -> None:
        """What does not fit into the kernel arrives complete and in order, small after large."""
        peer, other = await self.connect()
        sent = bytes(range(256)) * 4096 * 16
        peer.transport.write(sent)
        self.assertTrue(peer.transport.is_waiting)
        peer.transport.write(b"tail")
        peer.transport.loseConnection()
        received = bytearray()
        other.setblocking(False)
        while True:
            try:
                data = other.recv(1 << 20)
            except BlockingIOError:
                await self.turn()
                continue
            if not data:
                break
            received += data
        self.assertEqual(bytes(received), sent + b"tail")

    async def test_a_slow_peer_pauses_its_producer(self) -> None:
        """The producer pauses once the buffer is full, and goes on when it is empty."""
        peer, other = await self.connect()
        producer = Paced()
        peer.transport.registerProducer(producer, True)
        block = b"x" * sockets.MOVED_AT_ONCE
        written = 0
        while not producer.told:
            peer.transport.write(block)
            written += len(block)
        self.assertEqual(producer.told, ["pause"])
        other.setblocking(False)
        read = 0
        while read < written:
            try:
                read += len(other.recv(1 << 20))
            except BlockingIOError:
                await self.turn()
        self.assertEqual(producer.told, ["pause", "resume"])
        peer.transport.unregisterProducer()

    async def test_knows_since_when_it_waits(self) -> None:
        """What the peer takes is noticed, however little, and silence is not taken for taking."""
        peer, other = await self.connect()
        while not peer.transport.is_waiting:
            peer.transport.write(b"x" * (1 << 20))
        for _ in range(20):
            await self.turn()
        since = peer.transport.waiting_since()
        await self.turn(0.02)
        self.assertEqual(peer.transport.waiting_since(), since)
        other.recv(300_000)
        # Far from enough for the kernel to ask us for more.
        await self.turn(0.02)
        self.assertGreater(peer.transport.waiting_since(), since)

    async def test_nothing_leaves_after_an_abort(self) -> None:
        """An aborted connection sends no further byte, not even in the turn that aborted it."""
        peer, other = await self.connect()
        peer.transport.abortConnection()
        peer.transport.write(b"too late")
        await peer.lost
        self.assertRaises(ConnectionResetError, other.recv, 10)

    async def test_writing_to_a_lost_connection(self) -> None:
        """A peer that is gone is found out by the reactor; `write` does not raise."""
        peer, other = await self.connect()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        peer.transport.write(b"anybody there?")
        peer.transport.write(b"no")
        await peer.lost

    async def test_reads_no_more_than_it_is_told(self) -> None:
        """`read_size` bounds what one `dataReceived` brings."""
        peer, other = await self.connect()
        peer.transport.read_size = 1000
        other.sendall(b"x" * 2500)
        while sum(map(len, peer.received)) < 2500:
            await self.turn()
        self.assertLessEqual(max(map(len, peer.received)), 1000)

    async def test_client_sends_at_once(self) -> None:
        """Outgoing connections are of the same kind."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        caller = Caller()
        sockets.connect_tcp(self.reactor, "127.0.0.1", listening.getsockname()[1], caller)
        await caller.peer.made
        other, _ = listening.accept()
        self.addCleanup(other.close)
        caller.peer.transport.write(b"now")
        self.assertEqual(other.recv(10), b"now")
        caller.peer.transport.abortConnection()
        await caller.peer.lost

    async def test_ipv6(self) -> None:
        """An IPv6 address is listened on as such."""
        factory = Peers()
        port = listen_tcp(self.reactor, "::1", 0, factory)
        self.addCleanup(port.stopListening)
        other = socket.create_connection(("::1", port.getHost().port))
        await factory.peer.made
        self.assertEqual(factory.peer.transport.getPeer().host, "::1")
        other.close()
        await factory.peer.lost


class TwistedsOwnTests(SynchronousTestCase):
    """What we rely on although it is Twisted's own business."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()

    def test_buffers(self) -> None:
        """A connection keeps unsent bytes in these two, and these flags forbid sending."""
        here, there = socket.socketpair()
        self.addCleanup(there.close)
        self.addCleanup(here.close)
        connection = tcp.Connection(here, Protocol(), self.reactor)
        self.assertEqual(connection._tempDataBuffer, [])
        self.assertEqual(connection.dataBuffer, b"")
        self.assertFalse(connection.disconnecting)
        self.assertFalse(connection._writeDisconnected)
        self.assertFalse(connection._aborting)
        self.assertFalse(connection.TLS)

    def test_found_below_wrappers(self) -> None:
        """The connection is found through TLS and other wrappers; a foreign transport is not."""
        here, there = socket.socketpair()
        self.addCleanup(there.close)
        self.addCleanup(here.close)
        connection = sockets.Connection(here, Protocol(), self.reactor)
        wrapper = ProtocolWrapper(WrappingFactory(Peers()), Peer())  # type: ignore[no-untyped-call]
        wrapper.makeConnection(connection)  # type: ignore[no-untyped-call]
        self.assertIs(sockets.connection_below(wrapper), connection)
        self.assertIs(sockets.connection_below(connection), connection)
        self.assertIsNone(sockets.connection_below(tcp.Connection(here, Protocol(), self.reactor)))
