"""A server on a real socket, and clients that do as they please."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from s3orchestrator.bodies.filtered import pump
from s3orchestrator.errors import BodyAborted
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.request import Request
from s3orchestrator.web.site import StreamingSite
from tests.unit.web.serving import listen

T = TypeVar("T")
BLOCK = bytes(range(256)) * 1024


def pattern(length: int) -> bytes:
    """The bytes that `/bytes/LENGTH` serves."""
    return (BLOCK * (length // len(BLOCK) + 1))[:length]


@implementer(IConsumer)
class Digest:
    """Counts and hashes."""

    def __init__(self) -> None:
        self.length = 0
        self._hash = sha256()

    def write(self, data: bytes) -> None:
        self.length += len(data)
        self._hash.update(data)

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def __str__(self) -> str:
        return f"{self.length} {self._hash.hexdigest()}"


@implementer(IPushProducer)
class Bytes:
    """A body of `pattern`, produced as fast as it is taken."""

    def __init__(self, reactor: Any, length: int) -> None:
        self._reactor = reactor
        self.length = length
        self.produced = 0
        self._paused = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._done: Deferred[None] | None = Deferred()
        done = self._done
        self._run()
        return done

    def _run(self) -> None:
        while not self._paused and self._done is not None and self.produced < self.length:
            block = BLOCK[: self.length - self.produced]
            self.produced += len(block)
            self._consumer.write(block)
        if self._done is not None and self.produced == self.length:
            done, self._done = self._done, None
            done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._reactor.callLater(0, self._run)

    def stopProducing(self) -> None:
        self._done = None


class Site(Resource):
    """
    `/digest` reads a body and tells its length and hash; `/refuse` does not read it; `/ignore`
    neither reads nor answers; `/bytes/N` serves N bytes, `/half/N` half of N, `/pull/N` N by
    a pull producer; `/path/...` repeats its path.
    """

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.requests: list[Request] = []
        self.bodies: list[Bytes] = []
        self.done: list[Request] = []
        self.lost: list[Request] = []
        self.broken: list[BodyAborted] = []

    @property
    def paths(self) -> list[bytes]:
        return [request.path for request in self.requests]

    def render(self, request: Request) -> int:
        self.requests.append(request)
        told = request.notifyFinish()
        told.addCallbacks(lambda _: self.done.append(request), lambda _: self.lost.append(request))
        kind, _, rest = request.path[1:].partition(b"/")
        serving = Deferred.fromCoroutine(getattr(self, f"serve_{kind.decode()}")(request, rest))
        serving.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Request) -> None:
        failure.trap(CancelledError)

    async def serve_digest(self, request: Request, rest: bytes) -> None:
        digest = Digest()
        try:
            await request.body.startProducing(digest)
        except BodyAborted as error:
            self.broken.append(error)
            request.respond(400, [], b"broken")
        else:
            request.respond(200, [], str(digest).encode())

    async def serve_refuse(self, request: Request, rest: bytes) -> None:
        request.respond(403, [], b"refused")

    async def serve_ignore(self, request: Request, rest: bytes) -> None:
        pass

    async def serve_path(self, request: Request, rest: bytes) -> None:
        request.respond(200, [], request.path)

    async def serve_bytes(self, request: Request, rest: bytes) -> None:
        body = Bytes(self.reactor, int(rest))
        self.bodies.append(body)
        request.start(200, [(b"Content-Length", rest)])
        await pump(body, request)
        request.finish()

    async def serve_half(self, request: Request, rest: bytes) -> None:
        request.start(200, [(b"Content-Length", rest)] if request.query else [])
        await pump(Bytes(self.reactor, int(rest) // 2), request)
        request.abort()

    async def serve_pull(self, request: Request, rest: bytes) -> None:
        request.start(200, [(b"Content-Length", rest)])
        request.registerProducer(_Pulled(request, int(rest)), False)


class _Pulled:
    def __init__(self, request: Request, length: int) -> None:
        self._request = request
        self._left = pattern(length)

    def resumeProducing(self) -> None:
        block, self._left = self._left[:65536], self._left[65536:]
        self._request.write(block)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None: ...


class ServerTests(TestCase):
    """Serves `Site` while a test runs; at its end no connection may be left."""

    timeout = 60.0
    limits = Limits()
    on_socket = True

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.resource = Site(reactor)
        self.site = StreamingSite(self.resource, self.limits, reactor)
        self.port = self.listen()

    def listen(self, host: str = "127.0.0.1", tls: Any = None) -> int:
        port = listen(self.reactor, host, 0, self.site, tls, on_socket=self.on_socket)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.drain(1)))
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        assert isinstance(number, int)
        return number

    def client(self) -> socket.socket:
        """A connected, blocking socket: to be used in threads."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.addCleanup(client.close)
        return client

    async def thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Let a client do something while the server runs."""
        result: T = await deferToThread(function, *arguments)
        return result

    async def exchange(self, request: bytes) -> bytes:
        """All that a client gets that sends `request` and then waits for the end."""
        return await self.thread(exchange, self.client(), request)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        while not condition():
            await self.turn(0.002)

    async def turn(self, seconds: float = 0.0) -> None:
        await deferLater(self.reactor, seconds, lambda: None)


def exchange(client: socket.socket, request: bytes) -> bytes:
    """Send, and read to the end; a reset is an end too."""
    with suppress(ConnectionError):
        client.sendall(request)
    return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """Read to the end."""
    received = bytearray()
    with suppress(ConnectionError):
        while data := client.recv(1 << 20):
            received += data
    return bytes(received)


def read_response(client: socket.socket) -> tuple[bytes, bytes]:
    """Read one response with a `Content-Length`: its head, and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = client.recv(65536)
        if not data:
            raise ConnectionError(f"ended after {received!r}")
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
    rest = bytearray(body)
    while len(rest) < length:
        data = client.recv(1 << 20)
        if not data:
            raise ConnectionError(f"{len(rest)} of {length} bytes")
        rest += data
    return head, bytes(rest)
