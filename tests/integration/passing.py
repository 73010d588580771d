"""
A client, a site, and one or two services behind it, all on real sockets and one reactor.

What lies between is what lies between in earnest, from the channel to the connection of the backend;
only what decides about S3 is missing. Time passes when a test says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.backends.dialling import Address, dial_with
from s3orchestrator.backends.exchange import Reply, Timeouts
from s3orchestrator.backends.flows import unsent
from s3orchestrator.backends.metered import MeteredBody
from s3orchestrator.backends.transport import HttpClient
from s3orchestrator.bodies.filtered import pump
from s3orchestrator.bodies.sources import collect
from s3orchestrator.bodies.splicing import SPLICED, Direction, Pipes, Splicer
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, BlobState
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.objects.resuming import ResumedBody
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.request import Request
from s3orchestrator.web.site import StreamingSite
from tests.unit.backends.scripted import Peer, Script, ScriptedServer, pause, the_reactor
from tests.unit.web.serving import listen

MIB = 1024 * 1024
SIZE = 8 * MIB
CONTENT = Random(1).randbytes(SIZE)

LIMITS = Limits(read_header_timeout=600, read_timeout=30, write_timeout=20, idle_timeout=600)
TIMEOUTS = Timeouts(answer=10, silence=15)

_BLOB = Blob(1, "first", "k", BlobState.LIVE, SIZE, 0, 1, "k", False)


def spliced(direction: Direction) -> float:
    """How many bytes have been spliced so far."""
    return SPLICED.labels(direction)._value.get()  # type: ignore[no-any-return]


def descriptors() -> set[str]:
    """
    The sockets and pipes that this process has open, each as `kind:[inode] number`.

    By name and not by count: what a test before left to the collector may close in the middle of this one.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{os.readlink(f'/proc/self/fd/{number}')} {number}")
        except OSError:  # the listing's own
            continue
    return {name for name in found if name.startswith(("socket:", "pipe:"))}


class Time(Clock):
    """Passes when a test says so, but for what is only put off until the reactor's next turn."""

    def callLater(self, when: float, what: Any, *arguments: Any, **more: Any) -> Any:
        clock: Any = super() if when else the_reactor()
        return clock.callLater(when, what, *arguments, **more)


class Client(Protocol):
    """Somebody at the other end of a connection, who reads unless paused, and keeps what came."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.total = 0
        self.lost: Deferred[None] = Deferred()
        self.is_lost = False
        self._wanted = 0
        self._come: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.total += len(data)
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True
        self.lost.callback(None)
        self._look()

    def _look(self) -> None:
        if self._come is not None and (len(self.received) >= self._wanted or self.is_lost):
            come, self._come = self._come, None
            come.callback(None)

    async def take(self, count: int) -> bytes:
        """Wait for `count` bytes, or for the end, and take what has come of them."""
        self._wanted, self._come = count, Deferred()
        come = self._come
        self._look()
        await come
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def head(self) -> bytes:
        """Take the head of an answer."""
        while b"\r\n\r\n" not in self.received and not self.is_lost:
            before = len(self.received)
            self._wanted, self._come = before + 1, Deferred()
            await self._come
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        self.received = bytearray(rest)
        return head

    def get(self, target: bytes = b"/k") -> None:
        self.transport.write(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)

    def put(self, size: int = SIZE, target: bytes = b"/k") -> None:
        self.transport.write(b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (target, size))


class Store(Resource):
    """Passes downloads and uploads on, as the engine does: counted, and resumed where they broke off."""

    isLeaf = True

    def __init__(self, client: HttpClient, other: HttpClient | None) -> None:
        super().__init__()
        self._client = client
        self._other = other
        self.concealed = 0  # bytes that clients are not told of
        self.moved = 0  # bytes, as they are counted of the backend
        self.ended: list[BaseException | None] = []
        self.requests: list[Request] = []
        self.failures: list[Exception] = []
        self.over: Deferred[None] = Deferred()  # when the latest request is over, however
        self.serving: Deferred[None] = Deferred()

    def render(self, request: Request) -> int:
        self.requests.append(request)
        over = self.over = Deferred()
        self.serving = serving = start(self._serve(request, over))
        request.notifyFinish().addErrback(lambda _: serving.cancel())
        return NOT_DONE_YET

    async def _serve(self, request: Request, over: Deferred[None]) -> None:
        try:
            await (self._get(request) if request.method == b"GET" else self._put(request))
        except Exception as error:
            self.failures.append(error)
            request.abort()
        over.callback(None)

    def _metered(self, body: IBodyProducer) -> MeteredBody:
        return MeteredBody(body, self._client.clock, self._count, self.ended.append)

    def _count(self, size: int) -> None:
        self.moved += size

    async def _get(self, request: Request) -> None:
        reply = await self._ask(self._client, request, ())
        size = reply.body.length
        body = ResumedBody(self._metered(reply.body), ByteRange(0, size - 1), (), _BLOB, self._refetch)
        request.start(200, [(b"Content-Length", b"%d" % (size - self.concealed))])
        await pump(body, request)
        request.finish()

    async def _ask(self, client: HttpClient, request: Request, headers: Any) -> Reply:
        return await client.request(request.method, request.path, headers)

    async def _refetch(
        self, failed: Blob, blobs: tuple[Blob, ...], wanted: ByteRange
    ) -> tuple[Blob, IBodyProducer]:
        if self._other is None:
            raise BackendUnavailable("no other copy")
        headers = [(b"Range", wanted.header.encode())]
        reply = await self._ask(self._other, self.requests[-1], headers)
        return failed, self._metered(reply.body)

    async def _put(self, request: Request) -> None:
        reply = await self._client.request(b"PUT", request.path, [], self._metered(request.body))
        await collect(reply.body, MIB)
        request.respond(reply.status, [])


class PassingTestCase(TestCase):
    """Leaves no descriptor behind."""

    timeout = 30
    least = 256 * 1024
    most_connections = 2  # to each service

    async def setUp(self) -> None:
        await pause(0.0)  # the reactor has pipes of its own once it runs
        self.open_before = descriptors()
        self.clock = Time()
        self.clock.advance(time.time())  # noqa: TID251 - as that of the sockets, which have the reactor's
        self.pipes = Pipes()
        self.splicer: Splicer | None = Splicer(self.pipes, self.least)
        self._stops: list[Callable[[], Any]] = []

    async def tearDown(self) -> None:
        for stop in reversed(self._stops):
            await stop()
        if self.splicer is not None:
            self.splicer.close()
        await pause(0.0)
        self.assertEqual(descriptors() - self.open_before, set())

    async def serve(self, *scripts: Script, others: tuple[Script, ...] = (), tls: Any = None) -> None:
        """Let the service follow `scripts`, one per connection, and another one `others`."""
        self.service = self._service(*scripts)
        self.client = self._client_of(self.service)
        other = self._client_of(self._service(*others)) if others else None
        self.store = Store(self.client, other)
        site = StreamingSite(self.store, LIMITS, self.clock, splicer=self.splicer)
        # The site's clock is ours, its sockets are the reactor's.
        self._port = port = listen(the_reactor(), "127.0.0.1", 0, site, tls)
        self.site = site
        self._stops.append(lambda: self._stop_site(site, port))

    def _service(self, *scripts: Script) -> ScriptedServer:
        service = ScriptedServer(the_reactor(), scripts)
        self._stops.append(service.stop)
        return service

    def _client_of(self, service: ScriptedServer) -> HttpClient:
        address = Address.of(f"http://127.0.0.1:{service.port}")
        client = HttpClient(
            "first",
            self.clock,
            b"h",
            dial_with(the_reactor(), address, 10),
            TIMEOUTS,
            max_connections=self.most_connections,
            splicer=self.splicer,
        )
        self._stops.append(client.close)
        return client

    async def _stop_site(self, site: StreamingSite, port: Any) -> None:
        await maybeDeferred(port.stopListening)
        for channel in list(site.connections):
            channel.abort()
        await self.until(lambda: not site.connections)

    async def connect(self) -> Client:
        """Connect a client."""
        endpoint = TCP4ClientEndpoint(the_reactor(), "127.0.0.1", self._port.getHost().port)
        client = await connectProtocol(endpoint, Client())
        self._stops.append(lambda: self._leave(client))
        return client

    async def _leave(self, client: Client) -> None:
        if not client.is_lost:
            client.transport.abortConnection()
            await client.lost

    async def arrived(self, size: int) -> None:
        """Wait until so much of an upload has come, and the service has it."""
        await self.until(lambda: self.store.requests and self.store.requests[-1].body.arrived == size)
        connections = self.client._connections
        await self.until(lambda: not any(unsent(connection.transport) for connection in connections))

    async def over(self) -> None:
        """Wait until the latest request is over, however it ends."""
        await self.until(lambda: self.store.requests)
        await self.store.over

    async def passes(self, seconds: int) -> None:
        """Let time pass, and everybody act on it."""
        for _ in range(seconds):
            self.clock.advance(1)
            await pause(0.0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor turn until something is the case; the test's time limit ends it otherwise."""
        while not condition():
            await pause(0.001)


def announce(peer: Peer, size: int = SIZE, *bodies: bytes) -> None:
    """Begin a reply with a body of `size` bytes."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, *bodies)
