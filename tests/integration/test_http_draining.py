"""What is on its way when a connection is about to be closed, on real sockets."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from s3orchestrator.web.limits import RETIRING
from s3orchestrator.web.request import Request
from s3orchestrator.web.site import StreamingSite
from tests.integration.http_server import read_all
from tests.unit.web.serving import LIMITS, Answers, listen

LARGE = 128 * 1024
GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"


class ClosingTests(TestCase):
    """The clock is ours, so that a test says when a time is over; connections are real."""

    timeout = 60.0

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = Clock()
        self.answers = Answers(self.answer)
        self.site = StreamingSite(self.answers, LIMITS, self.clock)
        self.addCleanup(self.end)
        port = listen(reactor, "127.0.0.1", 0, self.site)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.body = b"short"

    async def end(self) -> None:
        for channel in list(self.site.connections):
            channel.abort()
        while self.site.connections:
            await self.turn()

    def answer(self, request: Request) -> None:
        request.respond(200, [], self.body)

    async def turn(self) -> None:
        await deferLater(self.reactor, 0.002, lambda: None)

    async def client(self) -> socket.socket:
        """One that has had an answer."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(20)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # most of a large answer waits here
        client.connect(("127.0.0.1", self.port))
        client.sendall(GET % 1)
        while not await deferToThread(client.recv, 4096):
            pass
        return client

    async def test_drained(self) -> None:
        """
        A request that has arrived when we are told to stop is answered, however long its client was silent.
        """
        client = await self.client()
        self.clock.advance(RETIRING)
        client.sendall(GET % 2)
        drained = Deferred.fromCoroutine(self.site.drain(5))
        answer = await deferToThread(read_all, client)
        self.assertTrue(answer.endswith(b"short"), answer)
        self.assertIn(b"Connection: close", answer)
        await drained

    async def test_drained_idle(self) -> None:
        """
        Who has sent nothing, or has left, is not waited for.
        """
        silent, left = await self.client(), await self.client()
        self.clock.advance(RETIRING)
        left.close()
        await Deferred.fromCoroutine(self.site.drain(5))
        self.assertEqual(silent.recv(1), b"")

    async def test_idle(self) -> None:
        """
        So is one that has arrived when its client has been silent for too long.
        """
        client = await self.client()
        client.sendall(GET % 2)
        self.clock.advance(LIMITS.idle_timeout)
        self.assertTrue((await deferToThread(client.recv, 4096)).endswith(b"short"))
        self.clock.advance(LIMITS.idle_timeout)
        self.assertEqual(await deferToThread(client.recv, 1), b"")

    async def test_last_answer(self) -> None:
        """
        A client that has sent many requests ahead gets the last answer whole.
        """
        client = await self.client()
        self.body = bytes(LARGE)
        self.site.is_retiring = True
        await deferToThread(client.sendall, GET % 2 * 8000)  # more than is read ahead
        while not self.answers.requests[-1].finished:
            await self.turn()
        answer = await deferToThread(read_all, client)
        self.assertEqual(len(answer.partition(b"\r\n\r\n")[2]), LARGE)
