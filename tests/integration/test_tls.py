"""TLS on real sockets: who stops in mid-handshake, who speaks something else, and who is slow."""

from __future__ import annotations

import contextlib  # as a whole: trial takes `suppress` in a module for its own
import os
import socket
import ssl
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from s3orchestrator.web.limits import Limits
from s3orchestrator.web.site import StreamingSite
from s3orchestrator.web.tls import ServerTls
from tests.integration.http_server import ServerTests, pattern, read_all, read_response
from tests.unit.web.certificates import Authority
from tests.unit.web.serving import listen

MIB = 1 << 20
GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
HELLO = b"\x16\x03\x01"  # how a record of a handshake begins
RECORD = 16384  # bytes at most in one


class TlsTests(ServerTests):
    """Serves `Site` with TLS; whatever clients do, nothing of it is worth a line in the log."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority()
        self.tls = ServerTls(*authority.issue("server", directory))
        self.context = ssl.create_default_context(cafile=authority.write(directory / "ca.pem"))
        super().setUp()
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn or "log_failure" in event:
            self.logged.append(event)

    def listen(self, host: str = "127.0.0.1", tls: ServerTls | None = None) -> int:
        return super().listen(host, tls or self.tls)

    def hello(self) -> bytes:
        """What a client says first."""
        said = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="127.0.0.1").do_handshake()
        return said.read()

    def secure(self, receive_buffer: int | None = None) -> ssl.SSLSocket:
        """Connect and shake hands: for use in threads."""
        plain = socket.socket()
        self.addCleanup(plain.close)
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", self.port))
        connection = self.context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(connection.close)
        return connection


class HandshakeTests(TlsTests):
    limits = Limits(read_header_timeout=0.5)

    async def test_stops(self) -> None:
        """Who falls silent anywhere in the handshake, or after it, counts as a connection and is cut off."""
        hello = self.hello()
        for said in (b"", hello[:3], hello[:-1], hello):
            client = self.client()
            await self.thread(client.sendall, said)
            await self.until(lambda: self.site.connections)
            await self.thread(read_all, client)
            await self.until(lambda: not self.site.connections)
        connection = await self.thread(self.secure)
        await self.thread(read_all, connection)
        await self.until(lambda: not self.site.connections)
        self.assertEqual((self.resource.requests, self.logged), ([], []))

    async def test_drips(self) -> None:
        """Who says a byte now and then gains no time by it."""
        client, hello = self.client(), self.hello()
        client.settimeout(0.05)

        def drip() -> int:
            """Return how many bytes went before the end."""
            for sent in range(len(hello)):
                try:
                    client.sendall(hello[sent : sent + 1])
                    if client.recv(100) == b"":
                        return sent
                except TimeoutError:
                    pass
                except ConnectionError:
                    return sent
            return len(hello)

        self.assertLess(await self.thread(drip), 60)
        await self.until(lambda: not self.site.connections)
        self.assertEqual(self.logged, [])

    async def test_leaves_at_each_byte(self) -> None:
        """A client may leave at any byte of its greeting, in order or not."""
        hello = self.hello()
        for cut in range(0, len(hello), 7):
            client = self.client()
            client.send(hello[:cut])
            if cut % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        await self.until(lambda: not self.site.connections)
        self.assertEqual(self.logged, [])

    async def test_untrusting(self) -> None:
        """A client that does not know our authority says so and goes; that is not our failure."""
        self.context = ssl.create_default_context()
        with self.assertRaises(ssl.SSLCertVerificationError):
            await self.thread(self.secure)
        await self.until(lambda: not self.site.connections)
        self.assertEqual(self.logged, [])


class ForeignTests(TlsTests):
    """No timeout ends these."""

    async def test_plain_http(self) -> None:
        """Who speaks plain HTTP to it is not answered, and not left waiting."""
        before = time.monotonic()
        answer = await self.exchange(GET % b"/path/plain")
        self.assertLess(time.monotonic() - before, self.limits.read_header_timeout)
        self.assertNotIn(b"HTTP", answer)
        await self.until(lambda: not self.site.connections)
        self.assertEqual((self.resource.requests, self.logged), ([], []))

    async def test_nonsense(self) -> None:
        """Whatever is no handshake ends it at once, and so does a greeting that is longer than any."""
        endless = b"\x01\xff\xff\xff\x03\x03" + bytes(RECORD - 6)
        record = HELLO + RECORD.to_bytes(2, "big")
        for said in (os.urandom(MIB), (record + endless) + (record + bytes(RECORD)) * 100):
            before = time.monotonic()
            await self.exchange(said)
            self.assertLess(time.monotonic() - before, self.limits.read_header_timeout)
        await self.until(lambda: not self.site.connections)
        self.assertEqual((self.resource.requests, self.logged), ([], []))


class CrowdingTests(TlsTests):
    async def test_handshakes_make_room(self) -> None:
        """Those that have not even shaken hands are the first to make room for others."""
        self.site = StreamingSite(self.resource, self.limits, self.reactor, 3)
        port = listen(self.reactor, "127.0.0.1", 0, self.site, self.tls)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.drain(1)))
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        known = await self.thread(self.secure)
        self.assertTrue((await self.thread(self._ask, known)).endswith(b"/path/known"))
        silent = [self.client() for _ in range(4)]
        for client in silent[:2]:
            await self.thread(read_all, client)
        self.assertTrue((await self.thread(self._ask, known)).endswith(b"/path/known"))
        self.assertLessEqual(len(self.site.connections), 3)

    def _ask(self, connection: socket.socket) -> bytes:
        connection.sendall(GET % b"/path/known")
        return read_response(connection)[1]


class BackPressureTests(TlsTests):
    limits = Limits(write_timeout=1.0, read_timeout=1.0)

    async def test_slow_reader(self) -> None:
        """For a client that does not read, no more is produced than fits on the way; then it is cut off."""
        client = await self.thread(self.secure, 65536)
        await self.thread(client.sendall, GET % b"/bytes/1000000000")
        await self.until(lambda: self.resource.bodies and self.resource.bodies[0]._paused)
        produced = self.resource.bodies[0].produced
        self.assertLess(produced, 32 * MIB)
        await self.until(lambda: self.resource.lost)
        self.assertEqual(self.resource.bodies[0].produced, produced)
        await self.until(lambda: not self.site.connections)

    async def test_reader_that_is_slow_but_moves(self) -> None:
        """A client that takes a little now and then is not cut off, until it stops."""
        client = await self.thread(self.secure, 4096)
        await self.thread(client.sendall, GET % b"/bytes/1000000000")
        for _ in range(12):
            await self.turn(0.25)
            self.assertTrue(await self.thread(client.recv, 10_000))
        self.assertEqual(self.resource.lost, [])
        await self.until(lambda: self.resource.lost)

    async def test_unread_upload(self) -> None:
        """A client whose upload nobody reads is stopped by TCP, for as long as it takes."""
        client = await self.thread(self.secure)
        client.settimeout(0.5)

        def fill() -> int:
            """Send until nothing goes any more; return how much went."""
            client.sendall(PUT % (b"/ignore", 1 << 30))
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 1 << 30:
                    sent += client.send(pattern(MIB))
            return sent

        self.assertLess(await self.thread(fill), 32 * MIB)
        await self.turn(1.5)
        self.assertEqual(self.resource.lost, [])

    async def test_many_clients(self) -> None:
        """Many MiB go both ways, of several clients at once, and each gets its own."""
        data = pattern(3 * MIB + 1)

        def talk(number: int) -> None:
            with self.secure() as client:
                for _ in range(3):
                    client.sendall(GET % (b"/bytes/%d" % (len(data) - number)))
                    self.assertEqual(read_response(client)[1], data[: len(data) - number])
                    client.sendall(PUT % (b"/digest", len(data) - number) + data[number:])
                    self.assertTrue(read_response(client)[1].startswith(b"%d " % (len(data) - number)))

        talks = [self.thread(talk, number) for number in range(4)]
        for each in talks:
            await each


class InMemoryHandshakeTests(HandshakeTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


class InMemoryForeignTests(ForeignTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


class InMemoryCrowdingTests(CrowdingTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


class InMemoryBackPressureTests(BackPressureTests):
    """The same, where TLS is not on the socket."""

    on_socket = False
