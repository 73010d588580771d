"""A site in memory: bytes in, bytes out, and a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from s3orchestrator.bodies.listening import Port, listen_tcp
from s3orchestrator.web.channel import StreamingChannel
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.listeners import secured
from s3orchestrator.web.request import Request
from s3orchestrator.web.site import StreamingSite

LIMITS = Limits(read_header_timeout=10, read_timeout=30, write_timeout=20, idle_timeout=60)


@implementer(IConsumer)
class Gathered:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class Answers(Resource):
    """Keeps every request; answers by `answer` if there is one."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], None] | None = None) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.lost: list[Failure] = []
        self._answer = answer

    def render(self, request: Request) -> int:
        self.requests.append(request)
        request.notifyFinish().addErrback(self.lost.append)
        if self._answer is not None:
            self._answer(request)
        return NOT_DONE_YET


def path_as_body(request: Request) -> None:
    """Answer with the path that was asked for."""
    request.respond(200, [], request.path)


class Wire(StringTransport):
    """Knows that a connection was aborted, and loses it when it is closed."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


class Served:
    """One connection to a site."""

    def __init__(self, resource: Resource, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.site = StreamingSite(resource, limits, self.clock)
        # Lenient as a socket is, which may be told to read while it is closing.
        self.wire = Wire(lenient=True)
        self.channel: StreamingChannel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.wire)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def received(self) -> bytes:
        """What the client has got since this was last asked."""
        data = self.wire.value()
        self.wire.clear()
        return data

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def is_reading(self) -> bool:
        return self.wire.producerState == "producing"


def gather(request: Request) -> tuple[Gathered, Deferred[None]]:
    """Read the body of `request`."""
    gathered = Gathered()
    return gathered, request.body.startProducing(gathered)


def listen(
    reactor: Any, host: str, port: int, site: StreamingSite, tls: Any = None, *, on_socket: bool = True
) -> Port:
    """Serve `site`, with what makes the TLS side of connections, if any; on any free port if it is 0."""
    factory = site if tls is None else secured(reactor, tls, site, on_socket=on_socket)
    return listen_tcp(reactor, host, port, factory)
