"""The HTTP server on real sockets: honest clients, slow ones, and hostile ones."""

from __future__ import annotations

import socket
import ssl
from hashlib import sha256
from pathlib import Path

from s3orchestrator.bodies.sockets import MOVED_AT_ONCE
from s3orchestrator.protocol.http1 import MAX_HEAD
from s3orchestrator.web.limits import LINGER, Limits
from s3orchestrator.web.tls import ServerTls
from tests.integration.http_server import (
    ServerTests,
    exchange,
    pattern,
    read_all,
    read_response,
)
from tests.unit.web.certificates import Authority

MIB = 1024 * 1024
GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
PUT = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
EXPECTING = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
CHUNKED = b"PUT %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def digest(data: bytes) -> bytes:
    return f"{len(data)} {sha256(data).hexdigest()}".encode()


class ExchangeTests(ServerTests):
    async def test_upload_and_download(self) -> None:
        """Many MiB go both ways on one connection and arrive as they were sent."""
        client = self.client()
        data = pattern(20 * MIB + 7)

        def talk() -> None:
            for _ in range(2):
                client.sendall(PUT % (b"/digest", len(data)) + data)
                self.assertEqual(read_response(client)[1], digest(data))
                client.sendall(GET % (b"/bytes/%d" % len(data)))
                self.assertEqual(read_response(client)[1], data)

        await self.thread(talk)
        self.assertEqual(len(self.site.connections), 1)

    async def test_upload_in_chunks(self) -> None:
        """A body in chunks of any size arrives whole."""
        data = pattern(3 * MIB)
        pieces = [data[:1], data[1:70_000], data[70_000:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        answer = await self.exchange(CHUNKED % b"/digest" + body + LAST % b"/path/next")
        self.assertIn(digest(data), answer)
        self.assertTrue(answer.endswith(b"/path/next"))

    async def test_pull_producer(self) -> None:
        """A producer that waits to be asked does not starve."""
        answer = await self.exchange(LAST % b"/pull/3000000")
        self.assertTrue(answer.endswith(pattern(3_000_000)))

    async def test_many_clients(self) -> None:
        """Clients do not get each other's bytes."""

        def talk(number: int) -> None:
            client = self.client()
            for turn in range(20):
                path = b"/path/%d/%d" % (number, turn)
                client.sendall(GET % path)
                self.assertEqual(read_response(client)[1], path)

        talks = [self.thread(talk, number) for number in range(8)]
        for each in talks:
            await each

    async def test_ipv6(self) -> None:
        """It listens on IPv6 as well."""
        port = self.listen("::1")
        client = socket.create_connection(("::1", port), timeout=5)
        self.addCleanup(client.close)
        self.assertIn(b"/path/6", await self.thread(exchange, client, LAST % b"/path/6"))
        self.assertEqual(self.resource.requests[0].client_address, "::1")

    async def test_tls(self) -> None:
        """Through TLS too, many MiB arrive as they were sent, and a refused upload ends in an answer."""
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority()
        port = self.listen(tls=ServerTls(*authority.issue("server", directory)))
        context = ssl.create_default_context(cafile=authority.write(directory / "ca.pem"))
        data = pattern(5 * MIB + 1)

        def talk() -> None:
            with context.wrap_socket(
                socket.create_connection(("127.0.0.1", port), timeout=20), server_hostname="127.0.0.1"
            ) as client:
                client.sendall(PUT % (b"/digest", len(data)) + data)
                self.assertEqual(read_response(client)[1], digest(data))
                client.sendall(GET % (b"/bytes/%d" % len(data)))
                self.assertEqual(read_response(client)[1], data)
                client.sendall(PUT % (b"/refuse", 1 << 30) + b"x" * 10)
                self.assertEqual(read_response(client)[1], b"refused")

        await self.thread(talk)
        # The client never said good-bye; it is not waited for.
        await self.until(lambda: not self.site.connections)

    async def test_listens_again_at_once(self) -> None:
        """A restarted server gets its port back although old connections linger."""
        from tests.unit.web.serving import listen

        await self.exchange(LAST % b"/path/1")
        port = listen(self.reactor, "127.0.0.1", 0, self.site)
        number = port.getHost().port
        client = socket.create_connection(("127.0.0.1", number), timeout=5)
        self.addCleanup(client.close)
        await self.thread(exchange, client, LAST % b"/path/2")
        await port.stopListening()
        again = listen(self.reactor, "127.0.0.1", number, self.site)
        await again.stopListening()


class ContinueTests(ServerTests):
    async def test_read(self) -> None:
        """A client that asks first is told to go on, once, and then answered."""
        client = self.client()

        def talk() -> tuple[bytes, bytes]:
            client.sendall(EXPECTING % (b"/digest", 3))
            told = client.recv(1000)
            client.sendall(b"abc")
            return told, read_response(client)[1]

        told, answer = await self.thread(talk)
        self.assertEqual((told, answer), (b"HTTP/1.1 100 Continue\r\n\r\n", digest(b"abc")))

    async def test_refused(self) -> None:
        """A refused client is not told to go on, and the connection ends."""
        answer = await self.exchange(EXPECTING % (b"/refuse", 3))
        self.assertTrue(answer.startswith(b"HTTP/1.1 403 "))
        self.assertIn(b"Connection: close", answer)


class RefusedUploadTests(ServerTests):
    async def test_large(self) -> None:
        """A client that sends a large upload hears that it was refused, although nobody reads it."""
        answer = await self.exchange(PUT % (b"/refuse", 50 * MIB) + pattern(50 * MIB))
        self.assertTrue(answer.endswith(b"refused"), answer[-200:])
        self.assertEqual(self.resource.paths, [b"/refuse"])
        await self.until(lambda: not self.site.connections)

    async def test_small(self) -> None:
        """After a small one the connection goes on, and no byte of it is a request."""
        smuggled = (GET % b"/path/smuggled") * 100
        answer = await self.exchange(PUT % (b"/refuse", len(smuggled)) + smuggled + LAST % b"/path/next")
        self.assertEqual(self.resource.paths, [b"/refuse", b"/path/next"])
        self.assertTrue(answer.endswith(b"/path/next"))

    async def test_never_sent(self) -> None:
        """A rest that does not come is not waited for."""
        before = self.reactor.seconds()
        await self.exchange(PUT % (b"/refuse", 100) + b"x")
        self.assertLess(self.reactor.seconds() - before, LINGER + 2)


class BackPressureTests(ServerTests):
    limits = Limits(write_timeout=1.0, read_timeout=1.0)

    async def test_slow_reader(self) -> None:
        """For a client that does not read, no more is produced than fits on the way; then it is cut off."""
        client = self.client()
        await self.thread(client.sendall, GET % b"/bytes/1000000000")
        await self.until(lambda: self.resource.bodies and self.resource.bodies[0]._paused)
        produced = self.resource.bodies[0].produced
        self.assertLess(produced, 32 * MIB)
        await self.until(lambda: self.resource.lost)
        self.assertEqual(self.resource.bodies[0].produced, produced)
        self.assertLess(len(await self.thread(read_all, client)), 1000000000)

    async def test_reader_that_is_slow_but_moves(self) -> None:
        """A client that takes a few bytes now and then is not cut off, until it stops."""
        client = self.client()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await self.thread(client.sendall, GET % b"/bytes/1000000000")
        for _ in range(12):
            await self.turn(0.25)
            self.assertTrue(await self.thread(client.recv, 10_000))
        self.assertEqual(self.resource.lost, [])
        await self.until(lambda: self.resource.lost)

    async def test_unread_upload(self) -> None:
        """A client whose upload nobody reads is stopped by TCP, for as long as it takes."""
        client = self.client()
        client.setblocking(False)
        client.send(PUT % (b"/ignore", 1 << 30))
        sent, idle = 0, 0
        while idle < 50:
            try:
                sent += client.send(pattern(MIB))
                idle = 0
            except BlockingIOError:
                idle += 1
                await self.turn(0.01)
        self.assertLess(sent, 32 * MIB)
        await self.turn(1.5)
        self.assertEqual(self.resource.lost, [])

    async def test_silent_upload(self) -> None:
        """A client that falls silent in mid-body hears so, and the connection ends."""
        answer = await self.exchange(PUT % (b"/digest", 100) + b"abc")
        self.assertTrue(answer.endswith(b"broken"))
        self.assertIn("silent", str(self.resource.broken[0]))


class LeavingTests(ServerTests):
    async def test_at_each_byte(self) -> None:
        """A client may leave at any byte of a request: nothing is left behind, and no half is whole."""
        for request in (
            PUT % (b"/digest", 5) + b"hello",
            CHUNKED % b"/digest" + b"3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: 1\r\n\r\n",
            EXPECTING % (b"/digest", 5) + b"hello",
            GET % b"/bytes/100000",
        ):
            for cut in range(len(request)):
                client = self.client()
                client.send(request[:cut])
                if cut % 2:
                    # A reset, rather than a polite end.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            await self.until(lambda: not self.site.connections)
        wholes = [request for request in self.resource.done if request.code == 200]
        self.assertEqual(wholes, [])
        self.assertEqual(len(self.resource.done) + len(self.resource.lost), len(self.resource.requests))

    async def test_while_nobody_reads(self) -> None:
        """A client that leaves is noticed although nobody reads its body."""
        client = self.client()
        client.send(PUT % (b"/ignore", 1000) + b"x" * 10)
        await self.until(lambda: self.resource.requests)
        client.close()
        await self.until(lambda: self.resource.lost)

    async def test_while_it_waits(self) -> None:
        """A client that leaves while its answer is worked on is noticed."""
        client = self.client()
        client.send(GET % b"/ignore")
        await self.until(lambda: self.resource.requests)
        client.close()
        await self.until(lambda: self.resource.lost)

    async def test_truncated_upload(self) -> None:
        """A client that ends its upload too early, but listens, hears what was wrong."""
        client = self.client()

        def talk() -> bytes:
            client.sendall(PUT % (b"/digest", 100) + b"abc")
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

        self.assertTrue((await self.thread(talk)).endswith(b"broken"))

    async def test_half_an_answer(self) -> None:
        """An answer that fails half-way is seen to be incomplete, whether its length was told or not."""
        told = await self.exchange(GET % b"/half/1000000?told")
        self.assertIn(b"Content-Length: 1000000\r\n", told)
        self.assertLess(len(told), 600_000)
        chunks = await self.exchange(GET % b"/half/1000000")
        self.assertIn(b"Transfer-Encoding: chunked\r\n", chunks)
        self.assertFalse(chunks.endswith(b"0\r\n\r\n"))


class SlowHeadTests(ServerTests):
    limits = Limits(read_header_timeout=0.5)

    async def test_dripping_heads(self) -> None:
        """Many clients that never finish their heads are let go in time, and hinder nobody meanwhile."""
        dripping = [self.client() for _ in range(50)]
        begun = self.reactor.seconds()
        while self.reactor.seconds() - begun < 0.45:
            for client in dripping:
                client.send(b"G")
            self.assertTrue((await self.exchange(LAST % b"/path/1")).endswith(b"/path/1"))
            await self.turn(0.1)
        await self.until(lambda: not self.site.connections)
        self.assertLess(self.reactor.seconds() - begun, 0.5 + LINGER + 2)
        self.assertIn(b"RequestTimeout", await self.thread(read_all, dripping[0]))


class HostileTests(ServerTests):
    async def refused(self, request: bytes, code: bytes = b"BadRequest") -> None:
        """`request` is answered with an error of S3, the connection ends, and no resource sees anything."""
        self.resource.requests.clear()
        answer = await self.exchange(request + GET % b"/path/smuggled")
        self.assertEqual(self.resource.paths, [], request)
        self.assertEqual(answer.count(b"\r\nServer: "), 1)
        self.assertIn(b"<Code>" + code + b"</Code>", answer)
        self.assertIn(b"\r\nConnection: close\r\n", answer)

    async def test_smuggling(self) -> None:
        """What two servers could read differently is not read at all."""
        put = b"PUT /digest HTTP/1.1\r\nHost: h\r\n"
        for fields in (
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length : 5\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"X: 1\r\n folded\r\n",
            b"X: 1\nContent-Length: 5\r\n",
            b"X: 1\rContent-Length: 5\r\n",
            b"X: a\0b\r\n",
            b"Host: other\r\n",
        ):
            await self.refused(put + fields + b"\r\nhello")
        for coding in (b"\x0bchunked", b"xchunked", b"chunked, identity", b"gzip, chunked"):
            code = b"BadRequest" if b"\x0b" in coding else b"NotImplemented"
            await self.refused(put + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n", code)

    async def test_request_lines(self) -> None:
        """What is no request is refused at once."""
        for line in (
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/2.0",
            b"\x16\x03\x01\x02\r",
            b"PRI * HTTP/2.0",
        ):
            await self.refused(line + b"\r\nHost: h\r\n\r\n")
        await self.refused(b"GET / HTTP/1.1\nHost: h\n\n")
        await self.refused(b"GET / HTTP/1.1\r\n\r\n")

    async def test_huge_head(self) -> None:
        """A head over the limit is refused, and the client hears it although it goes on sending."""
        head = b"GET / HTTP/1.1\r\nHost: h\r\n"
        await self.refused(head + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n", b"RequestHeaderSectionTooLarge")
        await self.refused(head + b"X: 1\r\n" * 500_000, b"RequestHeaderSectionTooLarge")

    async def test_malformed_chunks(self) -> None:
        """Garbage between chunks ends the upload and the connection."""
        for garbage in (
            b"XYZ\r\n",
            b"-1\r\n",
            b"5\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5;" + b"x" * 5000,
            b"0\r\nbad\r\n",
        ):
            self.resource.requests.clear()
            answer = await self.exchange(
                CHUNKED % b"/digest" + b"2\r\nab\r\n" + garbage + GET % b"/path/smuggled"
            )
            self.assertEqual(self.resource.paths, [b"/digest"])
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), garbage)
            self.assertTrue(answer.endswith(b"broken"))

    async def test_endless_line_breaks(self) -> None:
        """Empty lines are no requests, however many there are."""
        answer = await self.exchange(b"\r\n" * 20_000 + GET % b"/path/1")
        self.assertNotIn(b"HTTP/1.1 200", answer)

    async def test_pipelining_without_reading(self) -> None:
        """A client that asks and asks, and never reads, is not answered without end."""
        client = self.client()
        client.setblocking(False)
        requests = (GET % b"/bytes/100000") * 1000
        idle = 0
        while idle < 50:
            try:
                client.send(requests)
                idle = 0
            except BlockingIOError:
                idle += 1
                await self.turn(0.01)
        connection = next(iter(self.site.connections))
        below = connection.transport
        waiting = len(below.dataBuffer) + below._tempDataLen
        self.assertLess(waiting, 2 * MOVED_AT_ONCE + 200_000)

    async def test_one_byte_chunks_at_length(self) -> None:
        """A body of tiny chunks is understood, however it is cut."""
        body = b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n"
        answer = await self.exchange(CHUNKED % b"/digest" + body + LAST % b"/path/1")
        self.assertIn(digest(b"a" * 30_000), answer)
