"""The client for backends, against a server that misbehaves as told. Time is a clock's, sockets are real."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer

from s3orchestrator.backends.dialling import Address, dial_with
from s3orchestrator.backends.exchange import Reply, Timeouts
from s3orchestrator.backends.transport import FRESH, KEPT, UNANSWERED, HttpClient
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.errors import BackendUnavailable, BodyAborted, IntegrityError
from tests.unit.backends.bodies import Endless, HandFed, Kept
from tests.unit.backends.scripted import Peer, Script, ScriptedServer, pause, the_reactor

MIB = 1024 * 1024


class ClientTestCase(TestCase):
    """Starts a scripted server and a client for it."""

    timeout = 20

    def setUp(self) -> None:
        self.reactor = the_reactor()

    def serve(self, *scripts: Script, **options: Any) -> None:
        self.server = ScriptedServer(self.reactor, scripts)
        self.clock = Clock()
        self.clock.advance(1000)
        address = Address.of(f"http://127.0.0.1:{self.server.port}")
        endpoint = dial_with(self.reactor, address, 5)
        self.client = HttpClient(
            "oci", self.clock, address.header, endpoint, Timeouts(answer=10, silence=20), **options
        )
        self.addCleanup(self._stop, self.client, self.server)

    async def _stop(self, client: HttpClient, server: ScriptedServer) -> None:
        await client.close()
        await server.stop()
        self.assertEqual(server.failures, [])

    def get(self, target: bytes = b"/x") -> Deferred[Reply]:
        return self.client.request(b"GET", target, [])

    def put(self, body: IBodyProducer, **options: Any) -> Deferred[Reply]:
        return self.client.request(b"PUT", b"/x", [], body, **options)

    async def until(self, condition: Any) -> None:
        """Let the reactor run until something is true."""
        while not condition():
            await pause(0.001)

    async def turns(self, count: int = 20) -> None:
        for _ in range(count):
            await pause(0.001)

    async def fails(self, waited: Any, error: type[Exception] = BackendUnavailable) -> Any:
        with self.assertRaises(error) as caught:
            await waited
        return caught.exception


class ReplyTests(ClientTestCase):
    """What comes back."""

    async def test_small_body_complete(self) -> None:
        """
        A reply that came whole needs no more of the connection, which serves again.
        """

        async def script(peer: Peer) -> None:
            for number in range(3):
                await peer.head()
                peer.reply(200, b"hello %d" % number, ETag='"e"')

        self.serve(script)
        for number in range(3):
            reply = await self.get()
            self.assertEqual((reply.status, reply.headers[b"etag"]), (200, b'"e"'))
            self.assertEqual(await collect(reply.body, 100), b"hello %d" % number)
        self.assertEqual(self.server.accepted, 1)

    async def test_head_has_no_body(self) -> None:
        """
        The length in the answer to a HEAD is not waited for.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
            await peer.head()
            peer.reply(200, b"next")

        self.serve(script)
        reply = await self.client.request(b"HEAD", b"/x", [])
        self.assertEqual(reply.headers[b"content-length"], b"12345")
        self.assertEqual(await collect(reply.body, 10), b"")
        self.assertEqual(await collect((await self.get()).body, 10), b"next")

    async def test_interim_replies_skipped(self) -> None:
        """
        A server may say 100 and 103 as often as it likes before it answers.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            await pause(0.01)
            peer.send(b"HTTP/1.1 100 ")
            await pause(0.01)
            peer.send(b"Continue\r\n\r\n")
            peer.reply(200, b"at last")

        self.serve(script)
        reply = await self.put(BytesBody(b"abc"))
        self.assertEqual(await collect(reply.body, 10), b"at last")

    async def test_chunked(self) -> None:
        """
        A chunked reply is read to its end, wherever the network cuts it.
        """

        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.head()
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab")
                await pause(0.01)
                peer.send(b"cd\r\nA;x=y\r\n012345")
                await pause(0.01)
                peer.send(b"6789\r\n0\r\nTrailer: x\r\n\r\n")

        self.serve(script)
        for _ in range(2):
            reply = await self.get()
            self.assertEqual(reply.body.length, UNKNOWN_LENGTH)
            self.assertEqual(await collect(reply.body, 100), b"abcd0123456789")
        self.assertEqual(self.server.accepted, 1)

    async def test_until_closed(self) -> None:
        """
        A reply without a length lasts until the server closes.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
            peer.close()

        self.serve(script)
        self.assertEqual(await collect((await self.get()).body, 10), b"abc")

    async def test_waits_for_a_reader(self) -> None:
        """
        While nobody has asked for a body the connection stands still; the server is not to blame for that.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, bytes(16 * MIB))

        self.serve(script)
        reply = await self.get()
        await self.turns()
        for _ in range(100):
            self.clock.advance(10)
        self.assertEqual(len(await collect(reply.body, 16 * MIB)), 16 * MIB)

    async def test_slow_reader(self) -> None:
        """
        A consumer that pauses gets no more than one buffer, for however long; then the rest.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, bytes(32 * MIB))

        self.serve(script)
        reply = await self.get()
        kept = Kept()
        done = reply.body.startProducing(kept)
        reply.body.pauseProducing()
        await self.turns()
        held = len(kept.data)
        for _ in range(100):
            self.clock.advance(10)
        await self.turns()
        self.assertEqual(len(kept.data), held)
        self.assertLess(held, 2 * MIB)
        reply.body.resumeProducing()
        await done
        self.assertEqual(len(kept.data), 32 * MIB)

    async def test_paused_at_the_end(self) -> None:
        """
        A consumer that pauses on the last bytes does not keep the connection from its next reply.
        """

        async def script(peer: Peer) -> None:
            for body in (b"first", b"second"):
                await peer.head()
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                await pause(0.02)
                peer.send(body)

        class Pausing(Kept):
            def write(self, data: bytes) -> None:
                super().write(data)
                reply.body.pauseProducing()

        self.serve(script)
        reply = await self.get()
        kept = Pausing()
        await reply.body.startProducing(kept)
        reply.body.resumeProducing()
        self.assertEqual(kept.data, b"first")
        self.assertEqual(await collect((await self.get()).body, 10), b"second")
        self.assertEqual(self.server.accepted, 1)

    async def test_dropped_when_stopped(self) -> None:
        """
        A body nobody wants to the end costs its connection; stopping twice is harmless.
        """

        async def first(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, bytes(8 * MIB))
            await peer.closed

        async def second(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"fresh")

        self.serve(first, second)
        reply = await self.get()
        reply.body.stopProducing()
        reply.body.stopProducing()
        await self.fails(reply.body.startProducing(Kept()), BodyAborted)
        self.assertEqual(await collect((await self.get()).body, 10), b"fresh")

    async def test_cancelled_body(self) -> None:
        """
        Cancelling the Deferred of a body stops it.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            await peer.closed

        self.serve(script)
        done = (await self.get()).body.startProducing(Kept())
        done.cancel()
        await self.fails(done, CancelledError)
        await self.until(lambda: not self.server.peers)

    async def test_leftover_bytes(self) -> None:
        """
        After more bytes than were announced the connection is not used again.
        """

        async def first(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef")
            await peer.closed

        async def second(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"second")

        self.serve(first, second)
        self.assertEqual(await collect((await self.get()).body, 10), b"abc")
        self.assertEqual(await collect((await self.get()).body, 10), b"second")

    async def test_unasked_bytes(self) -> None:
        """
        A server that speaks without being asked loses its connection.
        """

        async def first(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"abc")
            await pause(0.01)
            peer.reply(200, b"poison")
            await peer.closed

        async def second(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"second")

        self.serve(first, second)
        self.assertEqual(await collect((await self.get()).body, 10), b"abc")
        await self.until(lambda: not self.server.peers)
        self.assertEqual(await collect((await self.get()).body, 10), b"second")

    async def test_connection_close(self) -> None:
        """
        `Connection: close` is believed.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"abc", Connection="close")
            await peer.closed

        self.serve(script, script)
        for _ in range(2):
            self.assertEqual(await collect((await self.get()).body, 10), b"abc")
        self.assertEqual(self.server.accepted, 2)


class TroubleTests(ClientTestCase):
    """Servers that fail; the failure says so, and whether the request may have got through."""

    async def _body_fails(self, *sent: bytes, reset: bool = False) -> BackendUnavailable:
        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(*sent)
            await pause(0.01)
            (peer.reset if reset else peer.close)()

        self.serve(script)
        reply = await self.get()
        error: BackendUnavailable = await self.fails(collect(reply.body, 100))
        self.assertIn("oci: ", str(error))
        return error

    async def test_truncated(self) -> None:
        """
        A body that ends before its length is a failure, never a short object.
        """
        await self._body_fails(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async def test_truncated_chunks(self) -> None:
        """
        So is one that ends before its last chunk.
        """
        await self._body_fails(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")

    async def test_reset_in_body(self) -> None:
        """
        So is a reset connection, also where only closing would end the body.
        """
        await self._body_fails(b"HTTP/1.1 200 OK\r\n\r\nabc", reset=True)

    async def test_bad_chunk(self) -> None:
        """
        Framing that makes no sense ends the body.
        """
        await self._body_fails(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabcde\r\n")

    async def test_closed_before_head(self) -> None:
        """
        A new connection that closes without an answer is not tried again.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.close()

        self.serve(script)
        error = await self.fails(self.get())
        self.assertTrue(error.sent)
        self.assertEqual(self.server.accepted, 1)

    async def test_closed_at_once(self) -> None:
        """
        Nor is one that closes before it has read anything.
        """

        async def script(peer: Peer) -> None:
            peer.reset()

        self.serve(script)
        self.assertTrue((await self.fails(self.get())).sent)

    async def test_closed_in_head(self) -> None:
        """
        Half a head is no answer.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            peer.close()

        self.serve(script)
        await self.fails(self.get())

    async def test_not_http(self) -> None:
        """
        What is not HTTP is not an answer.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"220 mail.example.org ESMTP\r\n\r\n")
            await peer.closed

        self.serve(script)
        self.assertIn("not an HTTP reply", str(await self.fails(self.get())))

    async def test_endless_head(self) -> None:
        """
        A head that does not end is cut off.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\n", b"X-Filler: yes\r\n" * 10000)
            await peer.closed

        self.serve(script)
        self.assertIn("too long", str(await self.fails(self.get())))

    async def test_silent_before_head(self) -> None:
        """
        A server that takes the request and says nothing is given up after `answer`.
        """

        async def script(peer: Peer) -> None:
            await peer.closed

        self.serve(script)
        asked = self.get()
        await self.until(lambda: self.server.peers and next(iter(self.server.peers)).received)
        self.clock.pump([1] * 9)
        self.assertNoResult(asked)
        self.clock.pump([1] * 2)
        self.assertTrue((await self.fails(asked)).sent)
        await self.until(lambda: not self.server.peers)

    async def test_silent_in_body(self) -> None:
        """
        A body that stops coming is given up after `silence`, counted from the last byte.
        """
        more: Deferred[None] = Deferred()

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            await more
            peer.send(b"def")
            await peer.closed

        self.serve(script)
        kept = Kept()
        done = (await self.get()).body.startProducing(kept)
        self.clock.pump([1] * 15)
        more.callback(None)
        await self.until(lambda: kept.data == b"abcdef")
        self.clock.pump([1] * 18)
        self.assertNoResult(done)
        self.clock.pump([1] * 4)
        await self.fails(done)

    async def test_refused(self) -> None:
        """
        Where nobody listens nothing was sent.
        """
        self.serve()
        await self.server.refuse()
        self.assertFalse((await self.fails(self.get())).sent)

    async def test_close(self) -> None:
        """
        Closing fails what is under way, and what comes later.
        """

        async def script(peer: Peer) -> None:
            await peer.closed

        self.serve(script)
        asked = self.get()
        await self.until(lambda: self.server.peers)
        await self.client.close()
        await self.fails(asked)
        self.assertFalse((await self.fails(self.get())).sent)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_line_end_in_header(self) -> None:
        """
        A header can not smuggle another one in.
        """
        self.serve()
        for name, value in [(b"x", b"1\r\ny: 2"), (b"x\n", b"1"), (b"x", b"1\r2")]:
            with self.assertRaises(ValueError):
                self.client.request(b"GET", b"/x", [(name, value)])
        with self.assertRaises(ValueError):
            self.client.request(b"GET", b"/x HTTP/1.1\r\nX: y", [])


class KeptConnectionTests(ClientTestCase):
    """Connections that were fine the last time."""

    def dying(self, **reply: str) -> Script:
        """Serve once; close when asked again."""

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"first", **reply)
            await peer.head()
            peer.close()

        return script

    async def second(self, peer: Peer) -> None:
        if b"Content-Length: 3" in await peer.head():
            await peer.take(3)
        peer.reply(200, b"second")

    async def _first(self) -> None:
        self.assertEqual(await collect((await self.get()).body, 10), b"first")

    async def test_retried_on_fresh(self) -> None:
        """
        A kept connection that dies under a request is no failure: a new one serves it.
        """
        self.serve(self.dying(), self.second)
        await self._first()
        reply = await self.get()
        self.assertTrue(reply.resent)
        self.assertEqual(await collect(reply.body, 10), b"second")

    async def test_retried_with_body(self) -> None:
        """
        Also with a body that is still in memory.
        """
        self.serve(self.dying(), self.second)
        await self._first()
        reply = await self.put(BytesBody(b"abc"))
        self.assertEqual(await collect(reply.body, 10), b"second")

    async def test_retried_once(self) -> None:
        """
        Once is enough.
        """

        async def rude(peer: Peer) -> None:
            await peer.head()
            peer.close()

        self.serve(self.dying(), rude, self.second)
        await self._first()
        self.assertTrue((await self.fails(self.get())).sent)

    async def test_retry_that_cannot_connect(self) -> None:
        """
        What was sent once stays sent.
        """
        ended: Deferred[None] = Deferred()

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"first")
            await peer.head()
            await ended
            peer.close()

        self.serve(script)
        await self._first()
        asked = self.get()
        await self.turns()
        await self.server.refuse()
        ended.callback(None)
        self.assertTrue((await self.fails(asked)).sent)

    async def test_not_repeatable(self) -> None:
        """
        What must not be done twice is not.
        """
        self.serve(self.dying(), self.second)
        await self._first()
        await self.fails(self.client.request(b"POST", b"/x", [], repeatable=False))

    async def test_streamed_body(self) -> None:
        """
        A body that has begun cannot be sent again.
        """
        self.serve(self.dying(), self.second)
        await self._first()
        body = HandFed(3)
        await self.fails(self.put(body))
        self.assertTrue(body.stops)

    async def test_old_for_streams(self) -> None:
        """
        So it does not take a connection that was idle for long.
        """
        self.serve(self.dying(), self.second)
        await self._first()
        self.clock.advance(FRESH)
        body = HandFed(3)
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        body.finish()
        self.assertFalse((await asked).resent)

    async def test_idle_closed(self) -> None:
        """
        A connection nobody used for a minute is closed.
        """
        self.serve(self.dying())
        await self._first()
        self.clock.pump([1] * int(KEPT + 2))
        await self.until(lambda: not self.server.peers)
        self.clock.pump([1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_closed_by_server(self) -> None:
        """
        One that the server closed meanwhile is forgotten.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, b"first")
            await pause(0.01)
            peer.close()

        self.serve(script, self.second)
        await self._first()
        await self.until(lambda: not self.server.peers)
        await self.turns()
        self.assertFalse((await self.get()).resent)


class QueueTests(ClientTestCase):
    """More requests than connections."""

    async def slow(self, peer: Peer) -> None:
        while True:
            await peer.head()
            await self.turns(2)
            peer.reply(200, b"done")

    async def test_queue(self) -> None:
        """
        At most so many connections are opened; everybody is served.
        """
        self.serve(self.slow, self.slow, max_connections=2)
        asked = [self.get() for _ in range(20)]
        for each in asked:
            self.assertEqual((await each).status, 200)
        self.assertEqual(self.server.accepted, 2)

    async def test_waiting_too_long(self) -> None:
        """
        Who gets no connection in time has sent nothing.
        """

        async def stuck(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            await peer.closed

        self.serve(stuck, max_connections=1)
        busy = await self.get()
        asked = self.get()
        await self.turns()
        self.clock.pump([1] * 11)
        self.assertFalse((await self.fails(asked)).sent)
        busy.body.stopProducing()

    async def test_cancelled_in_queue(self) -> None:
        """
        Who leaves the queue is not served.
        """
        self.serve(self.slow, max_connections=1)
        first, second, third = self.get(), self.get(), self.get()
        second.cancel()
        await self.fails(second, CancelledError)
        await first
        await third

    async def test_cancelled_while_waiting(self) -> None:
        """
        Who leaves before the answer costs a connection.
        """

        async def silent(peer: Peer) -> None:
            await peer.closed

        self.serve(silent, self.slow)
        asked = self.get()
        await self.until(lambda: self.server.peers and next(iter(self.server.peers)).received)
        asked.cancel()
        await self.fails(asked, CancelledError)
        await self.until(lambda: not self.server.peers)
        self.assertEqual((await self.get()).status, 200)

    async def test_cancelled_while_connecting(self) -> None:
        """
        Who leaves before there is a connection leaves it to the next.
        """
        self.serve(self.slow)
        asked = self.get()
        asked.cancel()
        await self.fails(asked, CancelledError)
        self.assertEqual((await self.get()).status, 200)
        self.assertEqual(self.server.accepted, 1)


class UploadTests(ClientTestCase):
    """What goes up."""

    async def taking(self, peer: Peer) -> None:
        head = await peer.head()
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        peer.reply(200, await peer.take(length))

    async def test_small_in_one_piece(self) -> None:
        """
        Head and body of a small request arrive together.
        """
        pieces: list[bytes] = []

        async def script(peer: Peer) -> None:
            await peer.until(bool)
            pieces.append(peer.received)
            await self.taking(peer)

        self.serve(script)
        reply = await self.put(BytesBody(b"abc"))
        self.assertEqual(await collect(reply.body, 10), b"abc")
        self.assertTrue(pieces[0].endswith(b"Content-Length: 3\r\n\r\nabc"))

    async def test_streamed(self) -> None:
        """
        A longer one streams.
        """
        self.serve(self.taking)
        body = Endless(self.reactor, 3 * MIB + 5)
        reply = await self.put(body)
        self.assertEqual(len(await collect(reply.body, 4 * MIB)), 3 * MIB + 5)

    async def test_slow_server(self) -> None:
        """
        A server that does not read pauses the body; memory stays bounded.
        """
        go: Deferred[None] = Deferred()

        async def script(peer: Peer) -> None:
            peer.transport.pauseProducing()
            await go
            peer.transport.resumeProducing()
            await peer.head()
            peer.keeping = False
            await peer.until(lambda _: peer.total >= 64 * MIB)
            peer.reply(200)

        self.serve(script)
        body = Endless(self.reactor, 64 * MIB)
        asked = self.put(body)
        await self.until(lambda: body.paused)
        await self.turns()
        self.assertLess(body.written, 20 * MIB)  # most of it in the kernel
        go.callback(None)
        self.assertEqual((await asked).status, 200)

    async def test_server_takes_nothing(self) -> None:
        """
        A server that stops taking bytes is given up after `silence`, although it was never due to answer.
        """

        async def script(peer: Peer) -> None:
            peer.transport.pauseProducing()
            await peer.closed

        self.serve(script)
        body = Endless(self.reactor, 64 * MIB)
        asked = self.put(body)
        await self.until(lambda: body.paused)
        await self.turns()
        self.clock.pump([1] * 19)
        self.assertNoResult(asked)
        self.clock.pump([1] * 3)
        await self.fails(asked)
        self.assertTrue(body.stopped)

    async def test_resting_after_a_body(self) -> None:
        """
        A connection that has taken a streamed body and rests since is not late with anything.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(3)
            peer.reply(200)
            await peer.head()
            peer.reply(200)

        self.serve(script)
        body = HandFed(3)
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        body.finish()
        self.assertEqual((await asked).status, 200)
        for _ in range(30):
            self.clock.advance(1)
            await pause(0)
        self.assertEqual((await self.get()).status, 200)
        self.assertEqual(self.server.accepted, 1)

    async def test_slow_sender(self) -> None:
        """
        A body that comes slowly is not held against the server (T17); then its time to answer begins.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(6)
            await peer.closed

        self.serve(script)
        body = HandFed(6)
        asked = self.put(body)
        await self.until(lambda: body.started)
        for _ in range(5):
            await self.turns()
            self.clock.pump([1] * 30)
            body.feed(b"a")
        await self.turns()
        body.feed(b"a")
        body.finish()
        await self.turns()
        self.clock.pump([1] * 9)
        self.assertNoResult(asked)
        self.clock.pump([1] * 3)
        await self.fails(asked)

    async def test_early_refusal(self) -> None:
        """
        A refusal before the end of the body is the answer: the body is stopped, the connection dropped.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(3)
            peer.reply(403, b"<Error/>")
            await peer.closed

        self.serve(script)
        body = HandFed(10)
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        reply = await asked
        self.assertEqual((reply.status, await collect(reply.body, 100)), (403, b"<Error/>"))
        self.assertTrue(body.stops)
        body.feed(b"def")
        await self.until(lambda: not self.server.peers)

    async def test_early_refusal_from_a_deaf_server(self) -> None:
        """
        Also if the server reads nothing, and the refusal's body comes late.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.transport.pauseProducing()
            peer.send(b"HTTP/1.1 412 No\r\nContent-Length: 8\r\n\r\n<Err")
            await pause(0.02)
            peer.send(b"or/>")

        self.serve(script)
        body = Endless(self.reactor, 64 * MIB)
        reply = await self.put(body)
        self.assertEqual((reply.status, await collect(reply.body, 100)), (412, b"<Error/>"))
        self.assertTrue(body.stopped)

    async def test_early_success(self) -> None:
        """
        Success before the end of the body cannot be true.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200)
            await peer.closed

        self.serve(script)
        body = HandFed(10)
        self.assertTrue((await self.fails(self.put(body))).sent)
        self.assertTrue(body.stops)

    async def test_success_before_it_has_all(self) -> None:
        """
        Nor can it while bytes of the body are still here, or on their way.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.transport.pauseProducing()
            await written
            peer.reply(200)
            await peer.closed

        written: Deferred[None] = Deferred()
        self.serve(script)
        body = HandFed(64 * MIB)  # more than both kernels take
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(bytes(64 * MIB))
        body.finish()
        written.callback(None)
        self.assertTrue((await self.fails(asked)).sent)

    async def test_answer_before_verdict(self) -> None:
        """
        A server that has all bytes may answer before the body says that they were right.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(3)
            peer.reply(200, b"ok")

        self.serve(script, script)
        for failure in (None, Failure(IntegrityError("wrong digest"))):
            body = HandFed(3)
            asked = self.put(body)
            await self.until(lambda body=body: body.started)
            body.feed(b"abc")
            await self.turns()
            self.assertNoResult(asked)
            body.finish(failure)
            if failure is None:
                self.assertEqual(await collect((await asked).body, 10), b"ok")
            else:
                await self.fails(asked, IntegrityError)

    async def test_body_fails(self) -> None:
        """
        A body that fails is passed on as it is, and the server never gets the rest.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.closed

        self.serve(script)
        body = HandFed(10)
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        body.finish(Failure(BodyAborted("the client left")))
        await self.fails(asked, BodyAborted)
        await self.until(lambda: not self.server.peers)

    async def test_wrong_length(self) -> None:
        """
        A body shorter or longer than its length is never sent as if it were whole.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.closed

        for data in (b"ab", b"abcd"):
            self.serve(script)
            body = HandFed(3)
            asked = self.put(body)
            await self.until(lambda body=body: body.started)
            body.feed(data)
            body.finish()
            await self.fails(asked, IntegrityError)

    async def test_unknown_length(self) -> None:
        """
        A body of unknown length is refused at once.
        """
        self.serve()
        with self.assertRaises(ValueError):
            self.put(HandFed(UNKNOWN_LENGTH))

    async def test_connection_lost(self) -> None:
        """
        A server that goes away in the middle stops the body.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(3)
            peer.reset()

        self.serve(script)
        body = HandFed(10)
        asked = self.put(body)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        self.assertTrue((await self.fails(asked)).sent)
        self.assertTrue(body.stops)

    async def test_cancelled(self) -> None:
        """
        Cancelling stops the body and closes the connection.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.closed

        self.serve(script)
        body = HandFed(10)
        asked = self.put(body)
        await self.until(lambda: body.started)
        asked.cancel()
        await self.fails(asked, CancelledError)
        self.assertTrue(body.stops)
        await self.until(lambda: not self.server.peers)


class AskingTests(ClientTestCase):
    """Uploads that wait for `100 Continue`."""

    async def test_leave_given(self) -> None:
        """
        The body is started when the server wants it.
        """
        want: Deferred[None] = Deferred()

        async def script(peer: Peer) -> None:
            head = await peer.head()
            assert b"Expect: 100-continue" in head
            await want
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.reply(200, await peer.take(3))

        self.serve(script)
        body = HandFed(3)
        asked = self.put(body, asks=True)
        await self.turns()
        self.assertFalse(body.started)
        want.callback(None)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        body.finish()
        self.assertEqual(await collect((await asked).body, 10), b"abc")

    async def test_no_word(self) -> None:
        """
        A server that has never heard of it gets the body after a second, and at once after some uploads.
        """
        heads: list[bytes] = []

        async def script(peer: Peer) -> None:
            while True:
                heads.append(await peer.head())
                peer.reply(200, await peer.take(3))

        self.serve(script)
        for number in range(UNANSWERED + 1):
            body = HandFed(3)
            asked = self.put(body, asks=True)
            await self.until(lambda number=number: len(heads) > number)
            self.assertEqual(body.started, number == UNANSWERED)
            self.clock.pump([0.5] * 5)
            self.assertTrue(body.started)
            body.feed(b"abc")
            body.finish()
            self.assertEqual((await asked).status, 200)
        self.assertEqual([b"Expect" in head for head in heads], [True, True, True, False])

    async def test_refused(self) -> None:
        """
        A refused body was never started, so that it can go elsewhere.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(507)
            await peer.closed

        self.serve(script)
        body = HandFed(3)
        self.assertEqual((await self.put(body, asks=True)).status, 507)
        self.assertEqual((body.started, body.stops), (False, 0))
        await self.until(lambda: not self.server.peers)

    async def test_lost(self) -> None:
        """
        A dead connection costs a streamed body nothing while it waits.
        """

        async def first(peer: Peer) -> None:
            await peer.head()
            peer.reply(200)
            await peer.head()
            peer.close()

        async def second(peer: Peer) -> None:
            await peer.head()
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.reply(200, await peer.take(3))

        self.serve(first, second)
        await self.get()
        body = HandFed(3)
        asked = self.put(body, asks=True)
        await self.until(lambda: body.started)
        body.feed(b"abc")
        body.finish()
        self.assertTrue((await asked).resent)
