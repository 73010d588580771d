"""
One connection of a client: heads in, bodies in at our pace, responses out at the client's.

Twisted's own channel spools a whole upload before anybody sees the request, and costs five
times as much. This one dispatches at the end of the head and leaves the body on the wire
until somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from s3orchestrator.bodies.sockets import MOVED_AT_ONCE, Connection, connection_below
from s3orchestrator.bodies.splicing import outlet_of
from s3orchestrator.errors import BodyAborted, BodyStalled
from s3orchestrator.protocol.documents import error_document
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.http1 import find_head, parse_head
from s3orchestrator.protocol.transfer import ChunkedDecoder, LengthDecoder, MalformedChunks
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.context import on_behalf_of
from s3orchestrator.telemetry.http import OTHER
from s3orchestrator.web.client_address import peer_address
from s3orchestrator.web.limits import LINGER, RETIRING, Patience, Watch
from s3orchestrator.web.request import Request
from s3orchestrator.web.request_body import DISCARD_LIMIT, NO_BODY, READ_AHEAD, RequestBody
from s3orchestrator.web.request_ids import new_request_id

if TYPE_CHECKING:
    from s3orchestrator.web.site import StreamingSite

# Read at a time while no body moves, so that unread bodies stay small; in chunks, which cost per chunk; and
# of what is hashed, so that others have their turn: small requests beside three such uploads waited 6 ms in
# the median with reads of 256 KiB, 4 ms with these.
SMALL_READ = 64 * 1024
TURN = 32  # pipelined requests begun in one turn of the reactor

_NO_HEAD = (b"", b"\r", b"\r\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IHalfCloseableProtocol, IPushProducer)
class StreamingChannel(Protocol):
    """
    A connection's life: head → request (and its body) → response, and again; then closing.

    `_request` is the one being answered. `_body` is what has not completely arrived: it may
    outlive its request by a little, and what is left of it is never taken for a head.
    """

    transport: Any
    _socket: Connection | None = None  # below TLS; None in memory
    _is_secure = False

    def __init__(self, site: StreamingSite) -> None:
        self.site = site
        self.client_address = ""
        self._limits = site.limits
        self._clock = site.clock
        self._request: Request | None = None
        self._body: RequestBody | None = None
        self._framing: LengthDecoder | ChunkedDecoder | None = None
        self._buffer = b""  # a head that is not complete, or requests whose turn has not come
        self._producer: Any = None
        self._must_continue = False
        self._is_fresh = True  # no request yet
        self._is_persistent = True
        self._is_reading = True
        self._is_advancing = False
        self._is_choked = False  # the client does not take what we write
        self._is_closing = False
        self._has_ended = False  # the client will not send any more
        self._is_lost = False
        self._discarded = 0
        self._since = 0.0  # when the client last did what we are waiting for
        self._watch = Watch(site.clock, site.limits.shortest, self._patience)

    # From the transport.

    def connectionMade(self) -> None:
        self._socket = connection_below(self.transport)
        if self._socket is not None:
            self._socket.read_size = SMALL_READ
            self._socket.setTcpNoDelay(True)
        self._is_secure = ISSLTransport(self.transport, None) is not None
        self.client_address = peer_address(getattr(self.transport.getPeer(), "host", ""))
        self.transport.registerProducer(self, True)
        self._since = self._clock.seconds()
        if not self.site.admit(self):
            self._is_closing = True
            self.abort()
            return
        self._watch.start()

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            self._discarded += len(data)
            self._regulate()
            return
        if self._body is not None:
            data = self._feed(data)
            if not data:
                self._regulate()
                return
        may_begin = self._buffer in _NO_HEAD
        self._buffer += data
        if may_begin and self._request is None and self._begins_head():
            self._since = self._clock.seconds()
        self._advance()

    def _begins_head(self) -> bool:
        # Line breaks before a head are overlooked; whoever sends nothing else must not stay for it.
        return not self._buffer.startswith(b"\r") or self._buffer not in _NO_HEAD

    def readConnectionLost(self) -> None:
        """The client will send nothing more; it may still be listening."""
        self._has_ended = True
        body = self._body
        if self._is_closing:
            self.transport.loseConnection()
        elif self._request is None:
            self._close()
        elif body is not None and body.is_awaited:
            # Whoever reads it can still answer that it was too short.
            self._is_persistent = False
            body.failed(BodyAborted("the client ended the connection before its body"))
        else:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed; the timer closes the other if the client does not."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.forget(self)
        self._is_lost = self._is_closing = True
        self._buffer = b""
        self._watch.stop()
        request, self._request = self._request, None
        body, self._body = self._body, None
        if body is not None:
            body.failed(BodyAborted("the client left before its body was complete"))
        if request is not None:
            request.connectionLost(reason)

    # As producer of the transport: the client's pace.

    def pauseProducing(self) -> None:
        self._is_choked = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._is_choked = False
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._buffer and self._request is None:
            self._clock.callLater(0, self._advance)

    def stopProducing(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    # From the request.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Slow `producer` down to what the client takes."""
        if not streaming:
            # Sending at once, the transport would never ask a pull producer for more.
            producer = _PullToPush(producer, self._request)
            producer.startStreaming()
        self._producer = producer
        if self._is_choked:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        producer, self._producer = self._producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    def outlives_response(self) -> bool:
        """Decide whether another request may follow; asked when the head of a response is composed."""
        body, framing = self._body, self._framing
        if body is not None and framing is not None:
            left = framing.left
            # A client still waiting for `100 Continue` may send its body, or leave it out.
            if self._must_continue or left is None or left + body.discarded > DISCARD_LIMIT:
                self._is_persistent = False
        if self.site.is_retiring:
            self._is_persistent = False
        return self._is_persistent

    def request_done(self) -> None:
        """The response is complete: go on with the next request, or close."""
        self._request = None
        self._since = self._clock.seconds()
        self._must_continue = False
        if self.site.is_retiring:  # it may not have been when the head of the response was sent
            self._is_persistent = False
        if self._body is not None:
            self._body.stopProducing()
            if self._is_persistent:
                self._watch.look_often(LINGER)
            else:
                self._close(is_sending=True)
        elif not self._is_persistent:
            self._close(is_sending=bool(self._buffer))
        elif self._buffer and not self._is_advancing:
            self._clock.callLater(0, self._advance)
        self._regulate()

    def abort(self) -> None:
        """End the connection without ceremony: the client sees that something is missing."""
        self.transport.abortConnection()

    def loseConnection(self) -> None:
        """Close when everything written has left."""
        self._close()

    def retire(self) -> None:
        """
        Close after the next response, and soon if there is nothing to answer.

        Not at once: whoever has just connected, or asks without pause, may have sent a request
        that has not arrived yet, and could not tell whether it was carried out.
        """
        if self._request is None and self._body is None and not (self._is_closing or self._buffer):
            left = self._since + RETIRING - self._clock.seconds()
            if left <= 0:
                self._close_if_silent()
            if not self._is_closing:
                self._watch.look_often(left if left > 0 else RETIRING)

    def spare(self) -> tuple[bool, float] | None:
        """
        Return how much this connection would be missed, None if it is being answered.

        The least are those without any request yet, then those that have been idle for longest.
        """
        is_answering = self._request is not None or self._body is not None or self._is_closing
        if is_answering or (self._socket is not None and self._socket.is_waiting):
            return None
        return not self._is_fresh, self._since

    def make_room(self) -> None:
        """Close at once, without an answer; only if `spare`."""
        self._is_closing = True
        self._buffer = b""
        self.transport.unregisterProducer()
        self._end()

    def isSecure(self) -> bool:
        return self._is_secure

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self.transport.getHost()  # type: ignore[no-any-return]

    # From the body.

    def body_started(self, *, is_looked_at: bool) -> None:
        """Somebody wants the body: let the client go ahead, and read larger pieces of what is not hashed."""
        self._since = self._clock.seconds()
        if self._must_continue:
            self._must_continue = False
            if self._request is not None and not self._request.startedWriting:
                self.transport.write(_CONTINUE)
        if self._socket is not None and isinstance(self._framing, LengthDecoder) and not is_looked_at:
            self._socket.read_size = MOVED_AT_ONCE
            if self.site.splicer is not None:
                self.site.splicer.offer(self.transport, self, "upload")
        self._regulate()

    def body_moved(self) -> None:
        """More of the body is wanted, or none for now."""
        self._since = self._clock.seconds()
        self._regulate()

    # From the splice that takes the body off the wire.

    def still_to_come(self) -> int:
        """See `Reader`."""
        return self._framing.left or 0 if self._framing is not None else 0

    def outlet(self) -> Connection | None:
        """See `Reader`."""
        return outlet_of(self._body)

    def passed(self, count: int) -> None:
        """See `Reader`."""
        body, framing = self._body, self._framing
        assert body is not None
        assert isinstance(framing, LengthDecoder)
        self._since = self._clock.seconds()
        framing.passed(count)
        if framing.is_finished:
            self._end_body()
        body.passed(count)
        if framing.is_finished:
            body.completed()
        self._regulate()

    # Requests.

    def _advance(self) -> None:
        """Begin what requests there are, one at a time."""
        if self._is_advancing:
            return
        self._is_advancing = True
        begun = 0
        while self._may_begin() and self._begin():
            begun += 1
            if begun == TURN and self._may_begin():
                self._clock.callLater(0, self._advance)
                break
        self._is_advancing = False
        self._regulate()

    def _may_begin(self) -> bool:
        return bool(self._buffer) and not (
            self._request is not None or self._body is not None or self._is_closing or self._is_choked
        )

    def _begin(self) -> bool:
        """Take a head off the buffer and dispatch it; False if it is not complete, or no good."""
        if self._buffer.startswith(b"\r\n"):  # some clients put one behind a body (RFC 9112, 2.2)
            self._buffer = self._buffer[2:]
        try:
            end = find_head(self._buffer)
            if end < 0:
                return False
            head = parse_head(self._buffer[:end])
        except S3Error as error:
            self._refuse(error)
            return False
        rest = self._buffer[end + 4 :]
        self._is_fresh = False
        self._is_persistent = head.is_persistent
        if head.length == 0:
            self._buffer = rest
            self._request = Request(self, head, NO_BODY)
        else:
            self._framing = ChunkedDecoder() if head.length is None else LengthDecoder(head.length)
            self._body = RequestBody(self, head.length)
            self._request = Request(self, head, self._body)
            self._buffer = self._feed(rest) if rest else b""
            self._must_continue = head.expects_continue and self._body is not None
        self._request.process()
        return True

    def _refuse(self, error: S3Error) -> None:
        """Answer a head that is no request, and hear nothing more from this client."""
        self.site.traffic.of(OTHER).refused(error.status)
        identity = new_request_id()
        document = error_document(error, request_id=identity, host_id=identity)
        fields = (
            b"Content-Type: application/xml\r\nx-amz-request-id: %b\r\nx-amz-id-2: %b\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
            % (identity.encode(), identity.encode(), len(document))
        )
        self.transport.write(self.site.status_line(error.status) + fields + document)
        with on_behalf_of(identity):
            audit("s3.Refused", remote=self.client_address, status=error.status, error=error.code)
        self._close(is_sending=True)

    def _feed(self, data: bytes) -> bytes:
        """Give the body what is its own; return what is not."""
        body, framing = self._body, self._framing
        assert body is not None
        assert framing is not None
        if self._request is not None:
            self._since = self._clock.seconds()
        if body.is_broken:
            return b""
        try:
            mine = framing.update(data)
        except MalformedChunks as error:
            self._is_persistent = False
            body.failed(BodyAborted(f"malformed chunks: {error}"))
            return b""
        if framing.is_finished:
            self._end_body()
            body.received(mine)
            body.completed()
            return framing.rest
        body.received(mine)
        return b""

    def _end_body(self) -> None:
        """Forget a body that is complete: before its reader hears of it, who may answer at once."""
        self._body = self._framing = None
        self._must_continue = False
        if self._socket is not None:
            self._socket.read_size = SMALL_READ
            self._socket.splice = None

    # Reading, closing, and time.

    def _regulate(self) -> None:
        """Read from the client if, and only if, there is a place to put it."""
        if self._is_lost or self._has_ended:
            return
        if self._is_closing:
            wanted = self._discarded < DISCARD_LIMIT
        elif self._body is not None:
            wanted = self._body.wants_more
        else:
            wanted = len(self._buffer) < READ_AHEAD
        if wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _close(self, *, is_sending: bool = False) -> None:
        """
        Close when everything written has left.

        For a client that is still sending only our half is closed, and what comes is dropped
        for a while: otherwise the connection would be reset, and the answer lost with it.
        """
        if not self._is_closing:
            self._is_closing = True
            self._buffer = b""
            self.transport.unregisterProducer()
            if is_sending and not (self._has_ended or self._is_secure or self._socket is None):
                self.transport.loseWriteConnection()
            else:
                self.transport.loseConnection()
            self._watch.look_often(LINGER)

    def _close_if_silent(self) -> None:
        """Close, unless a request has arrived that is still to be read: it will be, in this turn."""
        if self._socket is None or not self._socket.has_more():
            self._close()

    def _patience(self) -> Patience | None:
        """Return what the client is taking its time for, if it is the client."""
        limits, body = self._limits, self._body
        if self._socket is not None and self._socket.is_waiting:
            return Patience(
                limits.write_timeout, self._socket.waiting_since(), self.transport.abortConnection
            )
        if self._is_closing:
            return Patience(0.0, self._since, self._end)
        if self._request is None:
            if body is not None:
                return Patience(LINGER, self._since, self._close)
            if self.site.is_retiring and not self._buffer:
                return Patience(RETIRING, self._since, self._close_if_silent)
            if self._buffer or self._is_fresh:
                return Patience(limits.read_header_timeout, self._since, self._give_up_head)
            return Patience(limits.idle_timeout, self._since, self._close_if_silent)
        if body is not None and body.is_read:
            return Patience(limits.read_timeout, self._since, self._give_up_body)
        return None

    def _give_up_head(self) -> None:
        if self._buffer:
            self._refuse(S3Error("RequestTimeout"))
        else:
            self._close_if_silent()

    def _give_up_body(self) -> None:
        assert self._body is not None
        self._is_persistent = False
        self._body.failed(BodyStalled("the client has been silent for too long"))
        self._regulate()

    def _end(self) -> None:
        # The connection below, for TLS would go on waiting for the client's good-bye.
        if self._socket is None:
            self.transport.loseConnection()
        else:
            self._socket.end()
