"""TLS on sockets: how it is read, written and left, by clients that do as they please."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from s3orchestrator.bodies.listening import listen_tcp
from s3orchestrator.bodies.outbox import OUTBOX
from s3orchestrator.bodies.secure_sockets import MOST_RECORDS, RECORD, SecureSocketFactory
from s3orchestrator.bodies.sockets import MOVED_AT_ONCE, connection_below, plain_connection
from s3orchestrator.web.tls import ServerTls
from tests.integration.tls_records import APPLICATION_DATA, Rekeying
from tests.unit.web.certificates import Authority

T = TypeVar("T")
MIB = 1 << 20
FULL = 6  # looks without a byte taken; the kernel moves what it can to the other side, at its leisure
BOTH = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Peer(Protocol):
    """Keeps what it is told, and by `hears` does something about it."""

    transport: Any
    hears: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.lost: Deferred[Any] = Deferred()  # why, when it is

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.hears is not None:
            self.hears()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.type)

    def abort(self) -> None:
        self.transport.abortConnection()

    def close(self) -> None:
        self.transport.loseConnection()

    def end(self) -> None:
        self.transport.end()

    def stay(self) -> None:
        """The client goes."""

    # As producer.

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class SecureSocketTests(TestCase):
    timeout = 20.0

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.ca_file = self.authority.write(self.directory / "ca.pem")
        self.context = ssl.create_default_context(cafile=self.ca_file)
        self.peers: list[Peer] = []
        self.serve()

    def serve(self, client_ca_file: str = "") -> None:
        tls = ServerTls(*self.authority.issue("server", self.directory), client_ca_file=client_ca_file)
        factory = SecureSocketFactory(tls, ServerFactory.forProtocol(self.peer))
        port = listen_tcp(self.reactor, "127.0.0.1", 0, factory)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def peer(self) -> Peer:
        peer = Peer()
        self.peers.append(peer)
        return peer

    async def thread(self, function: Callable[..., T], *arguments: Any) -> T:
        result: T = await deferToThread(function, *arguments)
        return result

    async def turn(self, seconds: float = 0.0) -> None:
        await deferLater(self.reactor, seconds, lambda: None)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self.turn(0.002)

    async def plain(self, receive_buffer: int = 0) -> socket.socket:
        """A client that has not said anything yet."""
        client = socket.socket()
        self.addCleanup(client.close)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(("127.0.0.1", self.port))
        expected = len(self.peers) + 1
        await self.until(lambda: len(self.peers) == expected)
        return client

    async def connect(self, receive_buffer: int = 0) -> tuple[ssl.SSLSocket, Peer]:
        """A client that has shaken hands, and who serves it."""
        plain = await self.plain(receive_buffer)
        client = await self.thread(self.shake_hands, plain)
        self.addCleanup(client.close)
        return client, self.peers[-1]

    def shake_hands(self, plain: socket.socket) -> ssl.SSLSocket:
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    async def fill(self, transport: Any) -> int:
        """Fill the socket with what is not TLS, as if earlier records were still there; return how much."""
        count, looks = 0, 0
        while looks < FULL:
            looks += 1
            with contextlib.suppress(BlockingIOError):
                while True:
                    count += transport.socket.send(bytes(1000))
                    looks = 0
            await self.turn(0.05)
        return count

    async def test_is_secure(self) -> None:
        """The transport says that it is secure, and whose certificate the client has shown, if any."""
        _, peer = await self.connect()
        self.assertTrue(ISSLTransport.providedBy(peer.transport))
        self.assertIsNone(plain_connection(peer.transport))
        self.assertIs(connection_below(peer.transport), peer.transport)
        self.assertIsNone(peer.transport.getPeerCertificate())
        self.serve(self.ca_file)
        self.context.load_cert_chain(*self.authority.issue("friend", self.directory))
        client, peer = await self.connect()
        peer.transport.write(b"x")
        await self.thread(client.recv, 1)  # with TLS 1.3 a client is ready before we have seen who it is
        shown = peer.transport.getPeerCertificate()
        self.assertEqual(shown.subject.rfc4514_string(), "CN=friend")

    async def test_large_pieces(self) -> None:
        """What has arrived is handed over in one piece, as large as is asked for and no larger."""
        content = os.urandom(2 * MIB)
        for version in BOTH:
            self.context.minimum_version = self.context.maximum_version = version
            for size in (4 * RECORD, MOVED_AT_ONCE):
                client, peer = await self.connect()
                peer.transport.read_size = size
                peer.transport.pauseProducing()
                sending = deferToThread(client.sendall, content)
                await self.until(lambda: waiting(peer.transport) > 5 * RECORD)  # noqa: B023
                peer.transport.resumeProducing()
                await sending
                await self.until(lambda: len(peer.data) == len(content))  # noqa: B023
                self.assertEqual(peer.data, content)
                self.assertLessEqual(max(map(len, peer.pieces)), size)
                self.assertGreaterEqual(max(map(len, peer.pieces)), 4 * RECORD)

    async def test_small_records(self) -> None:
        """Of records of a byte only so many are taken in a turn that others have theirs."""
        client, peer = await self.connect()
        peer.transport.pauseProducing()
        content = os.urandom(3 * MOST_RECORDS + 7)
        await self.thread(one_by_one, client, content)
        peer.transport.resumeProducing()
        await self.until(lambda: len(peer.data) == len(content))
        self.assertEqual(peer.data, content)
        self.assertEqual(max(map(len, peer.pieces)), MOST_RECORDS)

    async def test_records_larger_than_wanted(self) -> None:
        """A record is never left half read: nothing would wake us up for the rest of it."""
        for size in (1, 100, RECORD - 1):
            client, peer = await self.connect()
            peer.transport.read_size = size
            content = os.urandom(3 * RECORD + 5)
            await self.thread(client.sendall, content)
            await self.until(lambda: len(peer.data) == len(content))  # noqa: B023
            self.assertEqual(peer.data, content)

    async def test_pausing(self) -> None:
        """Nothing comes while paused, be it from within; all comes when resumed."""
        client, peer = await self.connect()
        peer.hears = lambda: peer.transport.pauseProducing()
        content = os.urandom(MIB)
        sending = deferToThread(client.sendall, content)
        while len(peer.data) < len(content):
            count = len(peer.pieces) + 1
            await self.until(lambda: len(peer.pieces) == count)  # noqa: B023
            for _ in range(5):
                await self.turn()
            self.assertEqual(len(peer.pieces), count)
            peer.transport.resumeProducing()
            self.assertEqual(len(peer.pieces), count)  # not from within
        await sending
        self.assertEqual(peer.data, content)

    async def test_before_the_handshake(self) -> None:
        """What is written too early is kept and comes first; whoever closes then need not wait for it."""
        plain = await self.plain()
        peer = self.peers[-1]
        peer.transport.write(b"early ")
        await self.turn(0.01)
        self.assertTrue(peer.transport.is_waiting)
        client = await self.thread(self.shake_hands, plain)
        peer.transport.write(b"late")
        self.assertEqual(await self.thread(exactly, client, 10), b"early late")
        await self.plain()
        self.peers[-1].transport.loseConnection()
        self.assertIs(await self.peers[-1].lost, ConnectionAborted)

    async def test_refused_writes(self) -> None:
        """What the kernel refuses is kept, the producer is paused, and all of it arrives, in order."""
        for version in BOTH:
            self.context.minimum_version = self.context.maximum_version = version
            client, peer = await self.connect(receive_buffer=4096)
            peer.transport.registerProducer(peer, True)
            contents = [os.urandom(size) for size in (100, 5 * MIB, 1, 3 * MOVED_AT_ONCE, 70_000)]
            for content in contents[:2]:
                peer.transport.write(content)
            self.assertTrue(peer.transport.is_waiting)
            self.assertEqual(peer.told, ["pause"])
            since = peer.transport.waiting_since()
            received = await self.thread(exactly, client, MIB)
            for content in contents[2:]:  # more than was refused, when that is repeated
                peer.transport.write(content)
            await self.until(lambda: peer.transport.waiting_since() > since)  # noqa: B023
            whole = b"".join(contents)
            received += await self.thread(exactly, client, len(whole) - MIB)
            self.assertEqual(received, whole)
            await self.until(lambda: not peer.transport.is_waiting)  # noqa: B023
            self.assertEqual(peer.told[-1], "resume")

    async def test_closing(self) -> None:
        """What was written leaves, then our good-bye; then the client's is awaited, and heard until then."""
        client, peer = await self.connect(receive_buffer=4096)
        content = os.urandom(5 * MIB)
        peer.transport.write(content)
        peer.transport.loseConnection()
        peer.transport.write(b"later")
        self.assertEqual(await self.thread(exactly, client, len(content)), content)
        self.assertEqual(await self.thread(client.recv, 100), b"")  # not a stream that was cut off
        await self.thread(client.sendall, b"still here")
        await self.until(lambda: peer.data == b"still here")
        peer.transport.loseConnection()
        for _ in range(5):
            await self.turn()
        self.assertFalse(peer.lost.called)
        await self.thread(client.unwrap)
        self.assertIs(await peer.lost, ConnectionDone)

    async def test_soon(self) -> None:
        """
        What may wait for the end of the turn leaves then, or before our good-bye.
        """
        OUTBOX.open(lambda call: self.reactor.callLater(0, call), lambda: None)
        self.addCleanup(OUTBOX.close)
        client, peer = await self.connect()
        peer.transport.write_soon(b"a")
        self.assertEqual(peer.transport.kept, 1)
        self.assertEqual(await self.thread(client.recv, 10), b"a")
        peer.transport.write_soon(b"b")
        peer.transport.loseConnection()
        self.assertEqual(await self.thread(client.recv, 10), b"b")
        self.assertEqual(await self.thread(client.recv, 10), b"")
        client.close()
        await peer.lost

    async def test_ending(self) -> None:
        """Whoever does not wait for the client's good-bye still says ours, behind all else."""
        for is_closing in (False, True):
            for content in (b"", os.urandom(5 * MIB)):
                client, peer = await self.connect(receive_buffer=4096)
                peer.transport.write(content)
                if is_closing:
                    peer.transport.loseConnection()
                    await self.turn(0.01)
                peer.transport.end()
                self.assertEqual(await self.thread(exactly, client, len(content)), content)
                self.assertIs(await peer.lost, ConnectionDone)
                self.assertEqual(await self.thread(client.recv, 1), b"")

    async def test_goodbye_without_room(self) -> None:
        """A good-bye that the kernel does not take is waited for like all else, also by `end`."""
        for end in (False, True):
            client, peer = await self.connect(receive_buffer=4096)
            filled = await self.fill(peer.transport)
            peer.transport.loseConnection()
            await self.turn(0.02)
            if end:
                peer.transport.end()
                await self.turn(0.02)
            self.assertTrue(peer.transport.is_waiting)
            self.assertFalse(peer.lost.called)
            await self.thread(drained, client, filled)
            self.assertTrue(await self.thread(socket.socket.recv, client, 100))
            if not end:
                self.assertFalse(peer.transport.is_waiting)
                client.close()
            await peer.lost

    async def test_goodbye_of_the_client(self) -> None:
        """A client that says good-bye gets what is kept, then ours, and no more; its producer is let go."""
        client, peer = await self.connect(receive_buffer=4096)
        content = os.urandom(5 * MIB)
        peer.transport.registerProducer(peer, True)
        peer.transport.write(content)
        await self.thread(client.sendall, b"bye")
        await self.thread(say_goodbye, client)
        await self.until(lambda: peer.data == b"bye")
        await self.turn(0.05)
        peer.transport.write(b"more")
        self.assertFalse(peer.lost.called)
        received = await self.thread(rest, client)
        self.assertIs(await peer.lost, ConnectionDone)
        self.assertGreater(received, len(content) - MIB)  # some was dropped when the client said it
        self.assertEqual(peer.told[-1], "stop")

    async def test_cut_off(self) -> None:
        """A client that goes without a word is lost, and what it sent before is delivered."""
        client, peer = await self.connect()
        await self.thread(client.sendall, b"last")
        client.close()
        self.assertIs(await peer.lost, ConnectionLost)
        self.assertEqual(peer.data, b"last")

    async def test_aborting(self) -> None:
        """Who is cut off can tell: there is no good-bye. From within `dataReceived` nothing more comes."""
        client, peer = await self.connect()
        peer.hears = lambda: peer.transport.abortConnection()
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):  # it may hear of that while it sends
            await self.thread(client.sendall, os.urandom(MIB // 4))
        self.assertIs(await peer.lost, ConnectionAborted)
        self.assertEqual(len(peer.pieces), 1)
        with self.assertRaises((ConnectionError, ssl.SSLEOFError)):
            await self.thread(client.recv, 1)
        for act in (peer.transport.loseConnection, peer.transport.end, peer.transport.abortConnection):
            act()  # late, but no harm
        peer.transport.write(b"nobody")
        self.assertIsNone(peer.transport.getPeerCertificate())

    async def test_nonsense(self) -> None:
        """Bytes that are no record end the connection, in its middle as well; the client is told."""
        client, peer = await self.connect()
        await self.thread(client.sendall, b"fine")
        await self.until(lambda: peer.data)
        await self.thread(socket.socket.sendall, client, b"no TLS at all, and then some more of it" * 100)
        self.assertIs(await peer.lost, ConnectionLost)
        with self.assertRaisesRegex(ssl.SSLError, "ALERT|WRONG_VERSION"):
            await self.thread(client.recv, 1)

    async def rekeying(self) -> tuple[socket.socket, Rekeying, Peer]:
        """A client that makes its records itself."""
        plain = await self.plain(receive_buffer=4096)
        client = await self.thread(Rekeying, plain, self.context, self.directory / "keys")
        return plain, client, self.peers[-1]

    async def test_new_keys_without_room(self) -> None:
        """New keys that a client demands while it reads nothing hold up neither side for good."""
        plain, client, peer = await self.rekeying()
        peer.transport.write(bytes(5 * MIB))
        peer.transport.write(b"!" * MIB)
        await self.thread(plain.sendall, client.again() + client.record(APPLICATION_DATA, b"one"))
        for _ in range(5):
            await self.turn(0.01)
        self.assertTrue(peer.transport.is_waiting)
        await self.thread(exactly, plain, 6 * MIB)
        await self.until(lambda: peer.data == b"one")
        await self.until(lambda: not peer.transport.is_waiting)
        await self.thread(plain.sendall, client.again() + client.record(APPLICATION_DATA, b" two"))
        await self.until(lambda: peer.data == b"one two")
        peer.transport.abortConnection()
        await peer.lost

    async def test_new_keys_in_a_full_socket(self) -> None:
        """New keys for which the answer has no room are used, and answered when there is."""
        plain, client, peer = await self.rekeying()
        filled = await self.fill(peer.transport)
        await self.thread(plain.sendall, client.again() + client.record(APPLICATION_DATA, b"one"))
        await self.until(lambda: peer.data == b"one")
        peer.transport.write(b"x")
        await self.thread(drained, plain, filled)
        await self.thread(exactly, plain, len(client.again()) + 5 + 1 + 1 + 16)  # the answer, and the rest
        await self.until(lambda: not peer.transport.is_waiting)
        peer.transport.abortConnection()
        await peer.lost

    async def greeted(self) -> tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, int]:
        """A client whose greeting cannot be answered, for so much lies in the way."""
        plain = await self.plain(receive_buffer=4096)
        filled = await self.fill(self.peers[-1].transport)
        heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context.wrap_bio(heard, said, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        await self.thread(plain.sendall, said.read())
        await self.until(lambda: self.peers[-1].transport.is_waiting)
        return plain, client, heard, said, filled

    async def test_handshake_without_room(self) -> None:
        """A handshake that has no room for its answers waits for it, and goes on then; so does reading."""
        for is_paused in (False, True):
            plain, client, heard, said, filled = await self.greeted()
            peer = self.peers[-1]
            since = peer.transport.waiting_since()
            await self.turn(0.02)
            self.assertEqual(peer.transport.waiting_since(), since)
            if is_paused:
                peer.transport.pauseProducing()
            await self.thread(drained, plain, filled)
            await self.until(lambda: not peer.transport.is_waiting)  # noqa: B023
            await self.thread(go_on, plain, client, heard, said)
            client.write(b"hello")
            await self.thread(plain.sendall, said.read())
            if is_paused:
                await self.turn(0.02)
                self.assertEqual(peer.pieces, [])
                peer.transport.resumeProducing()
            await self.until(lambda: peer.data == b"hello")  # noqa: B023
            peer.transport.abortConnection()
            await peer.lost

    async def test_leaving_without_room(self) -> None:
        """Who takes nothing of the handshake can be left, and can leave, at any time."""
        for leave in (Peer.abort, Peer.close, Peer.end, Peer.stay):
            plain, *_ = await self.greeted()
            peer = self.peers[-1]
            leave(peer)
            if leave is Peer.stay:
                plain.close()
            await peer.lost
            self.assertEqual(peer.pieces, [])

    async def test_new_keys_without_end(self) -> None:
        """Whoever changes keys for ever is cut off at once, whatever of it has arrived already."""
        plain, client, peer = await self.rekeying()
        peer.transport.pauseProducing()
        await self.thread(plain.sendall, b"".join(client.again() for _ in range(3000)))
        await self.until(lambda: waiting(peer.transport) > 3000 * 20)
        descriptor = os.dup(peer.transport.fileno())
        self.addCleanup(os.close, descriptor)
        peer.transport.resumeProducing()
        self.assertIs(await peer.lost, ConnectionAborted)
        (left,) = struct.unpack("i", ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))
        self.assertGreater(left, 2000 * 20)


def waiting(transport: Any) -> int:
    """How many bytes the kernel holds for us."""
    (count,) = struct.unpack("i", ioctl(transport.fileno(), termios.FIONREAD, b"\0\0\0\0"))
    return int(count)


def drained(client: socket.socket, count: int) -> None:
    """Read so much of the stream as it is, below TLS."""
    while count:
        count -= len(socket.socket.recv(client, count))


def go_on(plain: socket.socket, client: ssl.SSLObject, heard: ssl.MemoryBIO, said: ssl.MemoryBIO) -> None:
    """Go on with a handshake in memory to its end."""
    while True:
        heard.write(plain.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
            return


def one_by_one(client: ssl.SSLSocket, content: bytes) -> None:
    for byte in content:
        client.sendall(bytes([byte]))


def exactly(client: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        data = client.recv(count - len(received))
        assert data, "the end came too early"
        received += data
    return bytes(received)


def say_goodbye(client: ssl.SSLSocket) -> None:
    """Say it, and do not wait for the answer."""
    client.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
        client.unwrap()
    client.settimeout(20)


def rest(client: ssl.SSLSocket) -> int:
    """How many bytes come, encrypted, until the end."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := socket.socket.recv(client, MIB):
            count += len(data)
    return count
