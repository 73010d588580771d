"""Bodies that go past us, and everything that can happen to them on the way."""

from __future__ import annotations

import errno
import os
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred

from s3orchestrator.bodies.splicing import Pipes, Splicer
from s3orchestrator.errors import BackendUnavailable, BodyAborted, BodyStalled
from tests.integration.passing import (
    CONTENT,
    LIMITS,
    MIB,
    SIZE,
    TIMEOUTS,
    PassingTestCase,
    announce,
    spliced,
)
from tests.unit.backends.scripted import Peer

LARGE = 3 * CONTENT  # more than two sockets and a pipe hold
REST = 2 * MIB  # what of a body may have been read along with its head, or held up by a slow peer


async def serving(peer: Peer) -> None:
    """Send the whole of everything, again and again."""
    while True:
        head = await peer.head()
        if head.startswith(b"PUT"):
            await peer.take(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            peer.reply(200)
        else:
            announce(peer, SIZE, CONTENT)


class DownloadTests(PassingTestCase):
    """From a service to a client."""

    async def test_spliced(self) -> None:
        """All but the beginning goes past us, is counted as ever, and both connections are used again."""
        await self.serve(serving)
        client = await self.connect()
        before = spliced("download")
        for number in (1, 2):
            client.get()
            self.assertIn(b" 200 ", await client.head())
            self.assertEqual(await client.take(SIZE), CONTENT)
            await self.over()
            self.assertEqual(self.store.moved, number * SIZE)
            self.assertEqual(self.store.requests[-1].sentLength, SIZE)
        self.assertGreater(spliced("download") - before, 2 * (SIZE - REST))
        self.assertEqual(self.service.accepted, 1)
        self.assertEqual(self.store.ended, [None, None])

    async def test_small(self) -> None:
        """What is small is copied."""
        size = self.least - 1

        async def small(peer: Peer) -> None:
            await peer.head()
            announce(peer, size)  # and the rest later, lest it come along with the head
            await begun
            peer.send(CONTENT[:size])

        begun: Deferred[None] = Deferred()
        await self.serve(small)
        client = await self.connect()
        before = spliced("download")
        client.get()
        await self.until(lambda: self.store.requests and self.store.requests[0].startedWriting)
        begun.callback(None)
        await client.head()
        self.assertEqual(await client.take(size), CONTENT[:size])
        self.assertEqual(spliced("download"), before)

    async def test_slow_service(self) -> None:
        """However few bytes come at a time, each comes in its place."""
        pieces = [CONTENT[at : at + 7001] for at in range(0, 64 * 7001, 7001)]

        async def slow(peer: Peer) -> None:
            await peer.head()
            announce(peer, 64 * 7001)
            for number, piece in enumerate(pieces):
                peer.send(piece)
                await self.until(lambda number=number: client.total >= number * 7001)  # type: ignore[misc]

        await self.serve(slow)
        client = await self.connect()
        client.get()
        await client.head()
        self.assertEqual(await client.take(64 * 7001), b"".join(pieces))

    async def test_client_leaves(self) -> None:
        """The service's connection is closed: nobody wants the rest."""
        left: Deferred[None] = Deferred()

        async def long(peer: Peer) -> None:
            await peer.head()
            announce(peer, len(LARGE), LARGE)
            await peer.closed
            left.callback(None)

        await self.serve(long)
        client = await self.connect()
        client.get()
        await client.take(MIB)
        client.transport.abortConnection()
        await left
        await self.over()
        self.assertIsInstance(self.store.failures[0], CancelledError)
        self.assertLess(self.store.moved, len(LARGE))

    async def test_client_half_closes(self) -> None:
        """Who will not send any more is taken to have left, as ever."""

        async def long(peer: Peer) -> None:
            await peer.head()
            announce(peer, len(LARGE), LARGE)
            await peer.closed

        await self.serve(long)
        client = await self.connect()
        client.get()
        await client.take(MIB)
        client.transport.loseWriteConnection()
        await self.over()
        await client.lost

    async def test_service_closes_short(self) -> None:
        """Half a body does not look like a whole one, and what was delivered is known to the byte."""

        async def short(peer: Peer) -> None:
            await peer.head()
            announce(peer, SIZE, CONTENT[: 5 * MIB])
            peer.close()

        await self.serve(short, serving)
        client = await self.connect()
        client.get()
        await client.head()
        self.assertTrue(CONTENT.startswith(await client.take(SIZE)))
        self.assertTrue(client.is_lost)
        self.assertEqual(self.store.moved, 5 * MIB)
        self.assertIsInstance(self.store.failures[0], BackendUnavailable)
        await self._again()
        self.assertEqual(self.service.accepted, 2)

    async def _again(self) -> None:
        """The next one is served as if nothing had happened."""
        client = await self.connect()
        client.get()
        await client.head()
        self.assertEqual(await client.take(SIZE), CONTENT)

    async def test_resumed(self) -> None:
        """When the service dies the body goes on from another copy, to the same bytes."""
        for way in ("close", "reset"):
            asked: list[bytes] = []

            async def dying(peer: Peer, way: str = way) -> None:
                await peer.head()
                announce(peer, SIZE, CONTENT[: 3 * MIB + 17])
                await self.until(lambda: self.store.moved + MIB >= 3 * MIB)
                getattr(peer, way)()

            async def other(peer: Peer, asked: list[bytes] = asked) -> None:
                head = await peer.head()
                asked.append(head.split(b"Range: bytes=")[1].split(b"\r\n")[0])
                start = int(asked[0].split(b"-")[0])
                announce(peer, SIZE - start, CONTENT[start:])
                await peer.closed

            await self.serve(dying, others=(other,))
            client = await self.connect()
            before = spliced("download")
            client.get()
            await client.head()
            self.assertEqual(await client.take(SIZE), CONTENT, way)
            self.assertEqual(len(asked), 1)
            self.assertFalse(self.store.failures)
            self.assertEqual(self.store.moved, SIZE)
            self.assertGreater(spliced("download") - before, SIZE - 2 * REST)

    async def test_resumed_for_a_slow_client(self) -> None:
        """What the dead service sent and the client has not taken yet is neither lost nor sent twice."""
        died: Deferred[None] = Deferred()

        async def dying(peer: Peer) -> None:
            await peer.head()
            announce(peer, len(LARGE), LARGE)
            await died
            peer.reset()

        async def other(peer: Peer) -> None:
            head = await peer.head()
            start = int(head.split(b"Range: bytes=")[1].split(b"-")[0])
            announce(peer, len(LARGE) - start, LARGE[start:])
            await peer.closed

        await self.serve(dying, others=(other,))
        client = await self.connect()
        client.get()
        await client.head()
        client.transport.pauseProducing()
        await self.until(lambda: self._is_waiting())
        died.callback(None)
        await self.until(lambda: not self.service.peers)
        client.transport.resumeProducing()
        self.assertEqual(await client.take(len(LARGE)), LARGE)
        self.assertEqual(self.store.moved, len(LARGE))

    def _is_waiting(self) -> bool:
        """Whether the client takes no more."""
        return any(channel._socket.is_waiting for channel in self.site.connections)  # type: ignore[union-attr]

    async def test_longer_than_announced(self) -> None:
        """An answer that turns out to be longer than it said is cut off, also by bytes that nobody sees."""
        await self.serve(serving)
        self.store.concealed = MIB
        client = await self.connect()
        client.get()
        client.get()
        await client.lost
        await self.over()
        self.assertEqual(len(self.store.requests), 1)

    async def test_service_sends_too_much(self) -> None:
        """The client gets what was announced, and what is too much is not taken for the next answer."""

        async def much(peer: Peer) -> None:
            await peer.head()
            announce(peer, SIZE, CONTENT, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
            await peer.closed

        await self.serve(much, serving)
        client = await self.connect()
        client.get()
        await client.head()
        self.assertEqual(await client.take(SIZE), CONTENT)
        await self._again()
        self.assertEqual(self.service.accepted, 2)

    async def test_service_sends_too_much_to_a_queue(self) -> None:
        """Nor is it by somebody who has been waiting for just that connection."""

        async def much(peer: Peer) -> None:
            await peer.head()
            await queued
            announce(peer, SIZE, CONTENT, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
            await peer.closed

        queued: Deferred[None] = Deferred()
        self.most_connections = 1
        await self.serve(much, serving)
        clients = [await self.connect(), await self.connect()]
        for client in clients:
            client.get()
        await self.until(lambda: len(self.store.requests) == 2)
        queued.callback(None)
        for client in clients:
            await client.head()
            self.assertEqual(await client.take(SIZE), CONTENT)
        self.assertEqual(self.service.accepted, 2)

    async def test_slow_client(self) -> None:
        """A client's slowness is not the service's: it may be silent for longer than a service may."""

        async def large(peer: Peer) -> None:
            await peer.head()
            announce(peer, len(LARGE), LARGE)
            await peer.closed

        await self.serve(large)
        client = await self.connect()
        client.get()
        await client.head()
        client.transport.pauseProducing()
        await self.until(self._is_waiting)
        await self.passes(int(TIMEOUTS.silence) + 2)
        client.transport.resumeProducing()
        self.assertEqual(await client.take(len(LARGE)), LARGE)

    async def test_write_timeout(self) -> None:
        """A client that takes nothing for too long is left."""

        async def large(peer: Peer) -> None:
            await peer.head()
            announce(peer, len(LARGE), LARGE)
            await peer.closed

        await self.serve(large)
        client = await self.connect()
        client.get()
        await client.head()
        client.transport.pauseProducing()
        await self.until(self._is_waiting)
        await self.passes(int(LIMITS.write_timeout) * 3)
        await self.over()
        self.assertIsInstance(self.store.failures[0], CancelledError)
        client.transport.resumeProducing()
        await client.lost

    async def test_service_falls_silent(self) -> None:
        """A service that stops in the middle is given up."""

        async def silent(peer: Peer) -> None:
            await peer.head()
            announce(peer, SIZE, CONTENT[: 3 * MIB])
            await peer.closed

        await self.serve(silent)
        client = await self.connect()
        client.get()
        await client.head()
        await client.take(3 * MIB)
        await self.passes(20)
        await self.over()
        self.assertIn("stopped in the middle", str(self.store.ended[0]))
        await client.lost

    async def test_drained(self) -> None:
        """Being told to stop we finish what has begun, and close then."""
        asked: Deferred[None] = Deferred()

        async def half(peer: Peer) -> None:
            await peer.head()
            announce(peer, SIZE, CONTENT[: SIZE // 2])
            await asked
            peer.send(CONTENT[SIZE // 2 :])
            await peer.closed

        await self.serve(half)
        client = await self.connect()
        client.get()
        await client.head()
        begun = await client.take(SIZE // 2)
        drained = Deferred.fromCoroutine(self.site.drain(30))
        asked.callback(None)
        self.assertEqual(begun + await client.take(SIZE), CONTENT)
        await client.lost
        await drained

    async def test_next_request_is_waiting(self) -> None:
        """An answer that follows comes behind all of the body, however slow the client is."""

        async def twice(peer: Peer) -> None:
            for data in (LARGE, CONTENT):
                await peer.head()
                announce(peer, len(data), data)
            await peer.closed

        await self.serve(twice)
        client = await self.connect()
        client.get()
        client.get()
        await client.head()
        client.transport.pauseProducing()
        await self.until(self._is_waiting)
        client.transport.resumeProducing()
        self.assertEqual(await client.take(len(LARGE)), LARGE)
        self.assertIn(b" 200 ", await client.head())
        self.assertEqual(await client.take(SIZE), CONTENT)


class UploadTests(PassingTestCase):
    """From a client to a service."""

    async def _put(self, *scripts: Any) -> Any:
        await self.serve(*scripts)
        client = await self.connect()
        return client

    async def test_spliced(self) -> None:
        """All but the beginning goes past us, is counted as ever, and both connections are used again."""
        got: list[bytes] = []

        async def taking(peer: Peer) -> None:
            for _ in range(2):
                await peer.head()
                got.append(await peer.take(SIZE))
                peer.reply(200)
            await peer.closed

        client = await self._put(taking)
        before = spliced("upload")
        for number in (1, 2):
            client.put()
            client.transport.write(CONTENT)
            self.assertIn(b" 200 ", await client.head())
            self.assertEqual(self.store.moved, number * SIZE)
            self.assertEqual(self.store.requests[-1].body.arrived, SIZE)
        self.assertEqual(got, [CONTENT, CONTENT])
        self.assertGreater(spliced("upload") - before, 2 * (SIZE - REST))
        self.assertEqual(self.service.accepted, 1)

    async def test_next_request_follows(self) -> None:
        """What a client sends behind a body is none of it."""
        client = await self._put(serving)
        client.put()
        client.transport.write(CONTENT)
        client.get()
        self.assertIn(b" 200 ", await client.head())
        self.assertIn(b" 200 ", await client.head())
        self.assertEqual(await client.take(SIZE), CONTENT)

    async def test_client_leaves(self) -> None:
        """The service does not get half a body for a whole one."""
        ended: list[int] = []

        async def taking(peer: Peer) -> None:
            await peer.head()
            await peer.closed
            ended.append(peer.total)

        for way in ("abortConnection", "loseConnection", "loseWriteConnection"):
            client = await self._put(taking)
            client.put()
            client.transport.write(CONTENT[: 3 * MIB])
            await self.arrived(3 * MIB)
            getattr(client.transport, way)()
            await self.over()
            await self.until(lambda: not self.service.peers)
            self.assertIsInstance(self.store.failures[0], (BodyAborted, CancelledError), way)
        self.assertEqual(len(ended), 3)

    async def test_client_falls_silent(self) -> None:
        """A client that sends nothing for too long is given up, and not the service."""

        async def taking(peer: Peer) -> None:
            await peer.head()
            await peer.closed

        client = await self._put(taking)
        client.put()
        client.transport.write(CONTENT[: 3 * MIB])
        await self.arrived(3 * MIB)
        await self.passes(40)
        await self.over()
        self.assertIsInstance(self.store.failures[0], BodyStalled)

    async def test_slow_service(self) -> None:
        """A service that takes nothing for a while makes the client wait, whose time does not pass."""
        peers: list[Peer] = []

        async def slow(peer: Peer) -> None:
            await peer.head()
            peer.transport.pauseProducing()
            peers.append(peer)
            await peer.until(lambda data: len(data) >= len(LARGE))
            self.assertEqual(peer.received, LARGE)
            peer.reply(200)
            await peer.closed

        client = await self._put(slow)
        client.put(len(LARGE))
        client.transport.write(LARGE)
        await self.until(lambda: self._is_paused())
        await self.passes(int(TIMEOUTS.silence) - 2)
        peers[0].transport.resumeProducing()
        self.assertIn(b" 200 ", await client.head())

    def _is_paused(self) -> bool:
        return bool(self.store.requests) and not self.store.requests[0].body.wants_more  # type: ignore[union-attr]

    async def test_service_takes_nothing(self) -> None:
        """A service that takes nothing for too long is given up."""

        async def stuck(peer: Peer) -> None:
            await peer.head()
            peer.transport.pauseProducing()
            await self.over()
            peer.transport.resumeProducing()

        client = await self._put(stuck)
        client.put(len(LARGE))
        client.transport.write(LARGE)
        await self.until(lambda: self._is_paused())
        await self.passes(40)
        await self.over()
        self.assertIn("takes no more bytes", str(self.store.failures[0]))

    async def test_service_refuses(self) -> None:
        """A refusal in the middle of the body reaches the client, and the rest is not read on."""

        async def refusing(peer: Peer) -> None:
            await peer.head()
            await peer.take(3 * MIB)
            peer.reply(503)
            await peer.closed

        client = await self._put(refusing)
        client.put(len(LARGE))
        client.transport.write(LARGE)
        self.assertIn(b" 503 ", await client.head())
        self.assertLess(self.store.moved, len(LARGE))

    async def test_service_leaves(self) -> None:
        """A service that dies in the middle is one that failed, and its connection is not used again."""
        for way in ("close", "reset"):

            async def dying(peer: Peer, way: str = way) -> None:
                await peer.head()
                await peer.take(3 * MIB)
                getattr(peer, way)()

            client = await self._put(dying, serving)
            client.put(len(LARGE))
            client.transport.write(LARGE)
            await self.over()
            self.assertIsInstance(self.store.failures[0], BackendUnavailable)
            await client.lost
            client = await self.connect()
            client.put()
            client.transport.write(CONTENT)
            self.assertIn(b" 200 ", await client.head())
            self.assertEqual(self.service.accepted, 2)

    async def test_cancelled(self) -> None:
        """Who asked may think better of it."""

        async def taking(peer: Peer) -> None:
            await peer.head()
            await peer.closed

        client = await self._put(taking)
        client.put()
        client.transport.write(CONTENT[: 3 * MIB])
        await self.arrived(3 * MIB)
        self.store.serving.cancel()
        await self.over()
        await self.until(lambda: not self.service.peers)
        await client.lost


class CopiedTests(PassingTestCase):
    """When splice is not to be had bodies are copied, and nobody notices."""

    async def _both_ways(self) -> None:
        await self.serve(serving)
        client = await self.connect()
        client.get()
        await client.head()
        self.assertEqual(await client.take(SIZE), CONTENT)
        client.put()
        client.transport.write(CONTENT)
        self.assertIn(b" 200 ", await client.head())
        client.get()
        await client.head()
        self.assertEqual(await client.take(SIZE), CONTENT)

    async def _copied(self) -> None:
        before = spliced("download"), spliced("upload")
        await self._both_ways()
        self.assertEqual((spliced("download"), spliced("upload")), before)

    async def test_switched_off(self) -> None:
        """Not wanted."""
        self.splicer = None
        await self._copied()

    async def test_no_pipes(self) -> None:
        """All are in use."""
        self.splicer = Splicer(Pipes(0), self.least)
        await self._copied()

    async def test_no_descriptors(self) -> None:
        """There are no descriptors left for pipes."""
        with patch("os.pipe2", side_effect=OSError(errno.EMFILE, "too many")):
            await self._copied()

    async def test_small_pipes(self) -> None:
        """We have as many pages in pipes as we may; what we still get is too small to be of use."""
        real = os.pipe2

        def small(flags: int) -> tuple[int, int]:
            ends = real(flags)
            sizes.append(fcntl(ends[1], F_SETPIPE_SZ, 4096))
            return ends

        from fcntl import F_SETPIPE_SZ, fcntl

        sizes: list[int] = []
        with (
            patch("os.pipe2", small),
            patch("s3orchestrator.bodies.splicing.F_SETPIPE_SZ", F_SETPIPE_SZ + 1000),
        ):
            await self._copied()
        self.assertTrue(sizes)

    async def test_refused(self) -> None:
        """The kernel, or who confines us, will not have it."""
        for number in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            self.splicer = Splicer(Pipes(), self.least)
            with patch("os.splice", side_effect=OSError(number, "no")):
                await self._copied()

    async def test_refused_half_way(self) -> None:
        """It is taken from one socket, and cannot be given to the other: it is in the pipe, and not lost."""
        real = os.splice
        sinks: list[int] = []

        def half(source: int, sink: int, *arguments: Any, **more: Any) -> int:
            is_pipe = os.readlink(f"/proc/self/fd/{source}").startswith("pipe")
            if is_pipe:
                sinks.append(sink)
                raise OSError(errno.EINVAL, "no")
            return real(source, sink, *arguments, **more)

        with patch("os.splice", half):
            await self._both_ways()
        self.assertEqual(len(sinks), 1)
