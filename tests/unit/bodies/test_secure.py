"""TLS by real handshakes, in memory: what is written, and when it leaves."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path

from attrs import define, field
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.bodies.secure import ENCRYPTED_AT_ONCE, SecureFactory
from s3orchestrator.web.tls import ServerTls
from tests.unit.web.certificates import Authority


class Sent(StringTransport):
    """Keeps what is sent, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def take(self) -> bytes:
        pieces, self.pieces = self.pieces, []
        return b"".join(pieces)

    def abortConnection(self) -> None:
        self.disconnecting = True


@define
class Source:
    """A producer that notes what it is told."""

    told: list[str] = field(factory=list)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Client:
    """The other side."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")

    def hello(self) -> bytes:
        """Begin the handshake, or go on with it; return what the server must hear."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    def hear(self, data: bytes) -> None:
        self._in.write(data)

    def read(self) -> bytes:
        """Decrypt all that was heard."""
        pieces = []
        while True:
            try:
                pieces.append(self.tls.read(1 << 20))
            except ssl.SSLWantReadError:
                return b"".join(pieces)


class SecureTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority()
        self.context = ssl.create_default_context(cafile=authority.write(directory / "ca.pem"))
        self.tls = ServerTls(*authority.issue("server", directory))
        self.clock = Clock()

    def connect(self) -> Client:
        """Have somebody come who has not said anything yet."""
        self.peer = peer = Protocol()
        factory = SecureFactory(self.tls, False, ServerFactory.forProtocol(lambda: peer), clock=self.clock)
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        self.protocol, self.sent = protocol, Sent()
        protocol.makeConnection(self.sent)
        return Client(self.context)

    def shake_hands(self, client: Client) -> None:
        while said := client.hello():
            self.protocol.dataReceived(said)
            client.hear(self.sent.take())

    def test_pieces(self) -> None:
        """What is written leaves at once, encrypted in pieces of the largest size."""
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            self.context.minimum_version = self.context.maximum_version = version
            for size in (1, 1 << 14, ENCRYPTED_AT_ONCE, ENCRYPTED_AT_ONCE + 1, 1 << 18):
                client = self.connect()
                self.shake_hands(client)
                content = os.urandom(size)
                self.peer.transport.write(content)
                self.assertEqual(len(self.sent.pieces), -(-size // ENCRYPTED_AT_ONCE))
                client.hear(self.sent.take())
                self.assertEqual(client.read(), content)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_the_handshake(self) -> None:
        """What is written too early is kept, in order, and its producer waits for it."""
        client = self.connect()
        source = Source()
        self.peer.transport.registerProducer(source, True)
        contents = [os.urandom(size) for size in (1 << 18, 10, 1 << 15)]
        for content in contents:
            self.peer.transport.write(content)
        self.assertEqual((source.told[0], "resume" in source.told), ("pause", False))
        self.shake_hands(client)
        self.assertEqual(client.read(), b"".join(contents))
        self.assertEqual(source.told[-1], "resume")

    def test_pace(self) -> None:
        """The producer is told what the connection says."""
        self.shake_hands(self.connect())
        source = Source()
        self.peer.transport.registerProducer(source, True)
        self.sent.producer.pauseProducing()
        self.sent.producer.resumeProducing()
        self.assertEqual(source.told, ["pause", "resume"])

    def test_closing(self) -> None:
        """What was written before closing arrives before the good-bye; what comes after is dropped."""
        client = self.connect()
        self.shake_hands(client)
        self.peer.transport.write(b"last")
        self.peer.transport.loseConnection()
        self.peer.transport.write(b"later")
        client.hear(self.sent.take())
        self.assertEqual(client.tls.read(100), b"last")
        self.assertEqual(client.tls.read(100), b"")  # its good-bye

    def test_nonsense(self) -> None:
        """A peer that does not speak TLS is told so and left; writing to it does nothing."""
        self.connect()
        self.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(self.sent.disconnecting)
        self.sent.take()
        self.peer.transport.write(b"anything")
        self.assertEqual(self.sent.pieces, [])
