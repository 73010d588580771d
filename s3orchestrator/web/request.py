"""
A request, and the writing of its response.

It is Twisted's `Request` for every resource that wants one, without what S3 never needs:
spooling the body to a file, forms, cookies and headers parsed in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.bodies.sockets import Connection, plain_connection, send_soon
from s3orchestrator.protocol.documents import error_document
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.http1 import Head
from s3orchestrator.telemetry.context import on_behalf_of
from s3orchestrator.telemetry.http import LEFT
from s3orchestrator.web.request_body import NoBody, RequestBody
from s3orchestrator.web.request_ids import request_id

if TYPE_CHECKING:
    from s3orchestrator.web.channel import StreamingChannel
    from s3orchestrator.web.site import StreamingSite

NO_BODY_STATUS = frozenset({204, 304})

# In a dictionary they are text, in latin-1, and the length is not among them.
HeaderList = Sequence[tuple[bytes, bytes]] | dict[str, str]


class Request(server.Request):
    """
    One request, dispatched when its head is complete.

    `path` and `query` are undecoded, `query` is empty if there is none. `header_map` has
    lower-case names. `body` is an `IBodyProducer`, of which nothing has been asked yet.

    Answer with `respond`; or with `start`, `write` and `finish` (and `registerProducer`,
    since it is an `IConsumer`); or as any other Twisted resource does. `notifyFinish` fails
    when the client leaves. Once it has, answering does nothing.

    It is counted once, when it is answered or the client has left, unless `is_counted` is taken back.
    """

    channel: StreamingChannel  # type: ignore[assignment]
    site: StreamingSite
    body: RequestBody | NoBody
    is_counted = True
    _log = Logger()

    def __init__(self, channel: StreamingChannel, head: Head, body: RequestBody | NoBody) -> None:
        # Not Twisted's own __init__: it builds a dozen things that are seldom asked for.
        self.channel = channel
        self.site = channel.site
        self.transport = channel.transport
        self.client_address = channel.client_address
        self.method = head.method
        self.uri = head.target
        self.path, _, self.query = head.target.partition(b"?")
        self.header_map = head.headers
        self.body = body
        self.notifications = []
        self.cookies = []
        self._adapterCache: dict[str, Any] = {}  # Componentized's
        self._may_chunk = head.is_current
        self._head = b""  # composed, not sent
        self._declared: int | None = None
        self._is_bodiless = False
        self._left: Callable[[], object] | None = None
        self._series = series = self.site.traffic.of(head.method)
        self._began = self.site.clock.seconds()
        series.in_flight += 1

    clientproto = b"HTTP/1.1"

    def __repr__(self) -> str:
        # Without the query, which may be signed.
        return f"<{self.method.decode('latin-1')} {self.path.decode('latin-1')}>"

    @property
    def client(self) -> Any:
        return self.channel.getPeer()

    def isSecure(self) -> bool:
        """Tell whether the client speaks TLS."""
        return self.channel.isSecure()

    @property
    def host(self) -> Any:
        return self.channel.getHost()

    @cached_property
    def requestHeaders(self) -> Headers:  # type: ignore[override]
        return Headers(self.header_map)

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        return Headers()

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        return http.parse_qs(self.query, True) if self.query else {}

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        pairs = (
            pair.strip().partition(b"=")
            for line in self.header_map.get(b"cookie", ())
            for pair in line.split(b";")
        )
        return {name: value for name, equals, value in pairs if equals}

    # From the channel.

    def process(self) -> None:
        """Find the resource and let it answer."""
        try:
            self.render(self.site.getResourceFor(self))
        except Exception:
            self.processingFailed(Failure())

    def render(self, resrc: IResource) -> None:
        """Let `resrc` answer, now or later."""
        try:
            body = resrc.render(self)
        except UnsupportedMethod as error:
            self.respond(405, [(b"Allow", b", ".join(error.allowedMethods))])
            return
        if body != NOT_DONE_YET:
            self.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
            self.write(body)
            self.finish()

    def processingFailed(self, reason: Failure) -> None:
        """Log what a resource let escape; the client learns no more than that it happened."""
        identity = request_id(self.header_map)
        with on_behalf_of(identity):
            self._log.failure("{request} failed", failure=reason, request=repr(self))
        if self.startedWriting and not self._head:
            self.abort()
            return
        self.startedWriting = self.chunked = 0
        self.unregisterProducer()
        error = S3Error("InternalError")
        self.respond(
            error.status,
            [(b"Content-Type", b"application/xml"), (b"x-amz-request-id", identity.encode())],
            error_document(error, request_id=identity),
        )

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone: tell whoever asked to be told, unless the answer has been given."""
        if self.finished:  # by whoever read the body, and heard of it first
            return
        self._disconnected = True
        self._count(self.code if self.startedWriting else LEFT)
        self.producer = None
        if self._left is not None:
            self._left()
        notified, self.notifications = self.notifications, []
        for waiting in notified:
            waiting.errback(reason)

    def on_left(self, tell: Callable[[], object]) -> None:
        """Call `tell` if the client leaves before it is answered: a `notifyFinish` for one, at less cost."""
        self._left = tell

    # Answering.

    def respond(self, status: int, headers: HeaderList, body: bytes = b"", length: int | None = None) -> None:
        """
        Send a whole response in one piece, and finish.

        `Content-Length` is added unless it is among `headers`. For HEAD, `body` is what would
        have been sent, and is not, or `length` is how long it is; with none of them no length is told.
        """
        if self._is_over:
            return
        if length is None and (body or self.method != b"HEAD"):
            length = len(body)
        self._compose(status, headers, length)
        self.write(body)
        self.finish()

    def start(self, status: int, headers: HeaderList, length: int | None = None) -> None:
        """
        Begin a response whose body follows by `write`; the head leaves with its first bytes.

        Without `length`, or `Content-Length` among `headers`, the body goes out in chunks.
        """
        if not self._is_over:
            self._compose(status, headers, length)

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if self._is_over:
            return
        if not self.startedWriting:
            self._compose_as_told()
        if self._is_bodiless:
            data = b""
        elif data:
            self.sentLength += len(data)
            if self.chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            elif self._declared is not None and self.sentLength > self._declared:
                self._cut("longer")
                return
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            send_soon(self.channel.transport, data)

    def outlet(self) -> Connection | None:
        """See `Passage`: once the head has left, a body whose length was announced goes out as it is."""
        if self._is_over or self._is_bodiless or self._head or self._declared is None:
            return None
        if self.sentLength >= self._declared:  # what is too much must be seen
            return None
        return plain_connection(self.channel.transport)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        self.sentLength += count
        if self._declared is not None and self.sentLength > self._declared:
            self._cut("longer")

    def finish(self) -> None:
        """End the response; one that is shorter than announced ends the connection, and so looks cut off."""
        if self._is_over:
            return
        if not self.startedWriting:
            self._compose_as_told()
        if self._declared is not None and self.sentLength != self._declared and not self._is_bodiless:
            self._cut("shorter")
            return
        ending = self._head + (b"0\r\n\r\n" if self.chunked else b"")
        if ending:
            send_soon(self.channel.transport, ending)
        self._head = b""
        self.finished = 1
        self._count(self.code)
        if self.producer is not None:
            self.unregisterProducer()
        self.channel.request_done()
        notified, self.notifications = self.notifications, []
        for waiting in notified:
            waiting.callback(None)

    def abort(self) -> None:
        """End the connection at once unless the response is complete: half must not pass for a whole."""
        if not self._is_over:
            self.channel.abort()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Let the client's pace be that of `producer`."""
        if self._is_over:
            producer.stopProducing()
            return
        super().registerProducer(producer, streaming)  # type: ignore[no-untyped-call]

    def unregisterProducer(self) -> None:
        """The producer has nothing more to give, or is not wanted any more."""
        if self.producer is not None:
            self.producer = None
            self.channel.unregisterProducer()

    @property
    def _is_over(self) -> bool:
        return bool(self.finished or self._disconnected)

    def _compose(self, status: int, headers: HeaderList, length: int | None) -> None:
        if self.startedWriting:
            raise RuntimeError("a response begins only once")
        fields = _lines(headers)
        self.startedWriting = 1
        self.code = status
        self._is_bodiless = self.method == b"HEAD" or status in NO_BODY_STATUS
        self._declared = None if isinstance(headers, dict) else _declared_length(headers)
        if self._declared is None and length is not None:
            self._declared = length
            if status not in NO_BODY_STATUS:
                fields += b"Content-Length: %d\r\n" % length
        if self._declared is None and self._may_chunk and not self._is_bodiless:
            self.chunked = 1
            fields += b"Transfer-Encoding: chunked\r\n"
        if not self.channel.outlives_response():
            fields += b"Connection: close\r\n"
        self._head = self.site.status_line(status) + fields + b"\r\n"

    def _count(self, status: int) -> None:
        self._series.in_flight -= 1
        if self.is_counted:
            seconds = self.site.clock.seconds() - self._began
            self._series.answered(status, seconds, self.body.arrived, self.sentLength)

    def _compose_as_told(self) -> None:
        """Begin a response that was described Twisted's way: `setResponseCode`, `setHeader`."""
        headers = [
            (name, value) for name, values in self.responseHeaders.getAllRawHeaders() for value in values
        ]
        headers += [(b"Set-Cookie", cookie) for cookie in self.cookies]
        self._compose(self.code, headers, None)

    def _cut(self, difference: str) -> None:
        self._log.error(
            "{request}: the response is {difference} than announced",
            request=repr(self),
            difference=difference,
        )
        self.abort()


def _lines(headers: HeaderList) -> bytes:
    if isinstance(headers, dict):
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
    else:
        fields = b"".join([b"%s: %s\r\n" % header for header in headers])
    if fields.count(b"\n") != len(headers) or fields.count(b"\r") != len(headers):
        # Somebody repeats what a client said: it must not become headers of its own.
        return _lines([(_one_line(name), _one_line(value)) for name, value in _pairs(headers)])
    return fields


def _pairs(headers: HeaderList) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(headers, dict):
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return headers


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if len(name) == 14 and name.lower() == b"content-length":
            return int(value)
    return None


def _one_line(text: bytes) -> bytes:
    return text.replace(b"\r", b" ").replace(b"\n", b" ")
