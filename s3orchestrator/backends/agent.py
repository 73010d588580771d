"""Our client behind Twisted's `IAgent`, so that treq and everything else that takes an agent can use it."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from s3orchestrator.backends.exchange import Reply
from s3orchestrator.backends.transport import HttpClient

# Doing them twice is as good as doing them once (RFC 9110 section 9.2.2).
_IDEMPOTENT = frozenset([b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"])


@implementer(IAgent)
@define(eq=False)
class ClientAgent:
    """Sends what it is asked to the one host of its client, whatever host the URI names."""

    _client: HttpClient

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request; the Deferred fires when the head of the reply is in."""
        _, _, rest = uri.partition(b"://")
        _, _, path = rest.partition(b"/")
        named = [
            (name, value)
            for name, values in (headers or Headers()).getAllRawHeaders()
            for value in values
            if name.lower() not in (b"host", b"content-length")
        ]
        try:
            answered = self._client.request(
                method, b"/" + path, named, bodyProducer, repeatable=method in _IDEMPOTENT
            )
        except ValueError:
            return fail(Failure())
        return answered.addCallback(AgentResponse)


@implementer(IResponse)
@define(eq=False)
class AgentResponse:
    """A reply as Twisted's clients see it."""

    _reply: Reply
    length: Any = field(init=False)  # decoders set it to what they know, which is nothing
    version: tuple[bytes, int, int] = field(init=False, default=(b"HTTP", 1, 1))
    request: Any = field(init=False, default=None)
    previousResponse: Any = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.length = self._reply.body.length

    @property
    def code(self) -> int:
        return self._reply.status

    @property
    def phrase(self) -> bytes:
        return self._reply.phrase

    @property
    def headers(self) -> Headers:
        return Headers({name: [value] for name, value in self._reply.headers.items()})

    def setPreviousResponse(self, response: Any) -> None:
        """Remember what redirected here."""
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver the body; the protocol's transport can be paused, resumed and stopped."""
        body = self._reply.body
        transport: Any = _BodyTransport(body)
        protocol.makeConnection(transport)
        delivered: Deferred[None] = body.startProducing(_Receiver(protocol))
        delivered.addCallbacks(
            lambda _: protocol.connectionLost(Failure(ResponseDone())),
            protocol.connectionLost,
        )


@implementer(IConsumer)
@define(eq=False)
class _Receiver:
    _protocol: IProtocol

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """The protocol has a transport to pause."""

    def unregisterProducer(self) -> None:
        """See `registerProducer`."""

    def write(self, data: bytes) -> None:
        self._protocol.dataReceived(data)


@define(eq=False)
class _BodyTransport:
    """What a protocol that receives a body may do to it."""

    _body: IBodyProducer
    disconnecting: bool = field(init=False, default=False)

    def pauseProducing(self) -> None:
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        self._body.resumeProducing()

    def stopProducing(self) -> None:
        self._body.stopProducing()

    loseConnection = abortConnection = stopProducing
