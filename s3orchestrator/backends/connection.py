"""
One connection to a backend, and the one exchange it is busy with.

The states of a connection: *idle* (no exchange), *sending* (an upload is under way; a reply
may come early), *waiting* (all is sent, no whole head yet), *reading* (a reply's body is
under way), *lost*. It goes back to idle only when request and reply came out even; in every
doubt it is closed.

Time is watched by whoever owns the connection, who calls `watch` now and then: setting and
cancelling a timer for every exchange would cost more than the exchange.
"""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.exchange import Exchange, Owner, Reply
from s3orchestrator.backends.flows import ReplyBody, Upload, unsent
from s3orchestrator.backends.replies import MAX_HEAD, BadReply, Chunks, Head, parse_head
from s3orchestrator.bodies.sockets import Connection as Socket
from s3orchestrator.bodies.sockets import send_soon
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.bodies.splicing import Splicer, outlet_of
from s3orchestrator.errors import BackendUnavailable

LARGE = 128 * 1024  # bytes that are not copied for the sake of one system call

# How long a server that was asked for leave to send may take; then the body goes without it.
LEAVE = 1.0


@implementer(IHandshakeListener)
class Connection(Protocol):
    """A connection that serves one exchange after the other."""

    transport: Any  # TCP, or TLS on top of it

    def __init__(self, owner: Owner, *, secure: bool) -> None:
        self._owner = owner
        self._secure = secure
        self._seconds = owner.clock.seconds
        self._exchange: Exchange | None = None
        self._upload: Upload | None = None
        self._body: ReplyBody | None = None
        self._chunks: Chunks | None = None
        self._left = 0
        self._keeps = True
        self._buffer = b""
        self._dropped = False
        self._flowing = False
        self._held = False
        self._written = 0
        self._taken = 0
        self.served = 0
        self.was_ready = False
        self.idle_since = 0.0
        self.deadline = owner.clock.seconds() + owner.timeouts.answer
        self.phase = "connecting"

    # --- becoming ready -------------------------------------------------------------------

    def connectionMade(self) -> None:
        """TCP is up; so are we, unless TLS must shake hands first."""
        self.transport.setTcpNoDelay(True)
        self._owner.opened(self)
        if not self._secure:
            self._become_idle()

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        self._become_idle()

    def _become_idle(self) -> None:
        self.phase = "idle"
        self.was_ready = True
        self.deadline = inf
        self.idle_since = self._seconds()
        self._owner.ready(self)

    # --- sending --------------------------------------------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Send a request; small bodies leave together with the head."""
        self._exchange = exchange
        exchange.connection = self
        exchange.attempts += 1
        self._owner.requests_sent += 1
        self.served += 1
        self.phase = "waiting"
        self.deadline = self._seconds() + self._owner.timeouts.answer
        body = exchange.body
        self._flowing = False
        if body is None:
            send_soon(self.transport, exchange.head)
        elif isinstance(body, BytesBody) and not exchange.asks:
            exchange.begun = body.started = True
            self._send_whole(exchange.head, body.data)
        elif exchange.asks:
            self.phase = "asking"
            self.deadline = self._seconds() + min(LEAVE, self._owner.timeouts.answer)
            self.transport.write(exchange.head)
        else:
            self._send_body(exchange.head)

    def _send_whole(self, head: bytes, data: bytes) -> None:
        if len(data) < LARGE:
            send_soon(self.transport, head + data)
        else:  # copying would cost more than another system call
            self.transport.write(head)
            self.transport.write(data)

    def _send_body(self, head: bytes) -> None:
        assert self._exchange is not None and self._exchange.body is not None
        self.phase = "sending"
        self.deadline = self._seconds() + self._owner.timeouts.silence
        self._exchange.begun = self._flowing = True
        self._written = self._taken = 0
        self._upload = Upload(self._exchange.body, self.transport, self._sent, head)
        self._upload.start()

    def _sent(self, failure: Failure | None) -> None:
        """The body is over: all of it is written, or it failed."""
        if self._exchange is None:
            return
        if failure is not None:
            self._fail(failure)
            return
        assert self._upload is not None
        self._written, self._upload = self._upload.written, None
        self.phase = "waiting"
        self.deadline = self._seconds() + self._owner.timeouts.answer
        if self._buffer:  # the reply was faster than the end of the body
            data, self._buffer = self._buffer, b""
            self.dataReceived(data)

    # --- receiving ------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Read on, from whatever state the exchange is in."""
        if self._body is not None:
            self._read_body(self._body, data)
        elif self._exchange is not None:
            self._read_head(self._exchange, data)
        elif not self._dropped:
            self._drop()  # nobody asked for anything

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD:
                if len(data) > MAX_HEAD:
                    self._fail(self._trouble("the head of its reply is too long"))
                self._buffer = data
                return
            try:
                head = parse_head(data[:end], bodiless=exchange.method == b"HEAD")
            except BadReply as error:
                self._fail(self._trouble(str(error)))
                return
            if head.status >= 200:
                break
            data = data[end + 4 :]
            if not self._interim(head):
                return
        if self._upload is not None and self._upload.left == 0:
            # It has everything and answers, but whether the body was right is not decided yet.
            self._buffer = data
            if len(data) > 2 * MAX_HEAD:
                self._fail(self._trouble("too long a reply to an upload"))
            return
        self._answer(exchange, head, data[end + 4 :])

    def _interim(self, head: Head) -> bool:
        if head.status == 101:
            self._fail(self._trouble("it changed the protocol"))
            return False
        if head.status == 100 and self.phase == "asking":
            self._owner.asked(answered=True)
            self._send_body(b"")
        return self._exchange is not None

    def _answer(self, exchange: Exchange, head: Head, data: bytes) -> None:
        self._exchange = None
        has_all = self._upload is None and self.phase != "asking"
        if self._flowing:
            self._flowing = False  # from here on the time is the reply's, or nobody's
            has_all = has_all and not unsent(self.transport)
        self._keeps = head.keeps
        if not has_all:
            self._keeps = False
            if not self._refuse_upload(exchange, head):
                return
        body = self._open(head, data)
        reply = Reply(head.status, head.phrase, head.headers, body, exchange.attempts > 1)
        exchange.answered.callback(reply)
        if isinstance(body, ReplyBody):
            body.wait()

    def _refuse_upload(self, exchange: Exchange, head: Head) -> bool:
        """The server answers before it has the body: only a refusal can be true."""
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()
        if head.status >= 300:
            return True
        self._drop()
        exchange.answered.errback(self._trouble("it claims success before it has the whole body"))
        return False

    def _open(self, head: Head, data: bytes) -> IBodyProducer:
        """Return the body, complete if it is; the connection is then free already."""
        if head.chunked:
            self._chunks = Chunks()
            body = ReplyBody(self, UNKNOWN_LENGTH)
        elif head.length is None:
            self._left = -1
            body = ReplyBody(self, UNKNOWN_LENGTH)
        elif len(data) >= head.length:
            self._finish(leftover=len(data) > head.length)
            return BytesBody(data[: head.length])
        else:
            self._left = head.length
            if self._owner.splicer is not None:
                self._owner.splicer.offer(self.transport, self, "download")
            body = ReplyBody(self, head.length)
        self._body = body
        self.phase = "reading"
        self.deadline = self._seconds() + self._owner.timeouts.silence
        if data:
            self._read_body(body, data)
        return body

    def still_to_come(self) -> int:
        """See `Reader`."""
        return self._left

    def outlet(self) -> Socket | None:
        """See `Reader`."""
        return outlet_of(self._body)

    def passed(self, count: int) -> None:
        """See `Reader`."""
        body = self._body
        assert body is not None
        if not body.paused:
            self.deadline = self._seconds() + self._owner.timeouts.silence
        self._left -= count
        body.passed(count)
        if not self._left and self._body is body:
            self._finish(leftover=self.transport.has_more())
            body.end(None)

    def _read_body(self, body: ReplyBody, data: bytes) -> None:
        if not body.paused:
            self.deadline = self._seconds() + self._owner.timeouts.silence
        if self._chunks is not None:
            try:
                data = self._chunks.feed(data)
            except BadReply as error:
                self._fail(self._trouble(str(error)))
                return
            over, leftover = self._chunks.done, bool(self._chunks.rest)
        elif self._left < 0:
            over = leftover = False
        else:
            leftover = len(data) > self._left
            data = data[: self._left] if leftover else data
            self._left -= len(data)
            over = not self._left
        if data:
            body.deliver(data)
        if over and self._body is body:
            self._finish(leftover=leftover)
            body.end(None)

    def _finish(self, *, leftover: bool) -> None:
        """Request and reply are over; the connection serves again if they came out even."""
        if self._body is not None:
            Splicer.retract(self.transport)
        self._body = self._chunks = None
        if self._dropped:
            return
        if leftover or not self._keeps:
            self._drop()
            return
        if self._held:
            # Its consumer paused on the last bytes; the next reply has another one.
            self._held = False
            self.transport.resumeProducing()
        self._become_idle()

    # --- pace -----------------------------------------------------------------------------

    def hold(self) -> None:
        """Stop reading: our side does not keep up, and that is not held against the server."""
        if self._body is not None:
            self.deadline = inf
            self._held = True
            self.transport.pauseProducing()

    def go_on(self) -> None:
        """Read again."""
        if self._body is not None:
            self.deadline = self._seconds() + self._owner.timeouts.silence
            self._held = False
            self.transport.resumeProducing()

    # --- the end --------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Give up if the server was silent for too long."""
        if self._flowing:
            self._look(now)
        if now < self.deadline:
            return
        if self.phase == "asking":
            self._owner.asked(answered=False)
            self._send_body(b"")
        else:
            self._fail(self._trouble(_SILENT[self.phase]))

    def _look(self, now: float) -> None:
        """
        Count as a sign of life that the server took bytes, or that there are none to take.

        The time for its answer begins when it has everything.
        """
        left = unsent(self.transport)
        written = self._upload.written if self._upload is not None else self._written
        if written - left > self._taken or not left:
            self._taken = written - left
            limit = self._owner.timeouts
            self.deadline = now + (limit.silence if self._upload is not None else limit.answer)
        if self._upload is None and not left:
            self._flowing = False

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for this exchange any more."""
        if exchange is self._exchange:
            self._exchange = None
            self._stop_upload()
            self._drop()

    def close(self) -> None:
        """Close at once; what is under way fails."""
        self._fail(self._trouble("closed"))

    def discard_body(self, body: ReplyBody) -> None:
        """Nobody wants the rest of this body."""
        if body is self._body:
            self._body = self._chunks = None
            self._drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server, or we, closed it."""
        self._dropped = True
        clean = reason.check(type(connectionDone.value)) is not None
        exchange = self._exchange
        untouched = self.phase in ("waiting", "asking", "sending") and not self._buffer
        if self._body is not None and self._left < 0 and clean and self._chunks is None:
            body, self._body = self._body, None
            body.end(None)  # such a body lasts until the connection closes
        elif exchange is not None and untouched and self.served > 1 and exchange.may_be_sent_again:
            self._exchange = None
            self._owner.retry(exchange)
        else:
            self._fail(self._trouble(f"the connection was lost ({reason.getErrorMessage()})"))
        self._owner.lost(self, reason)

    def _fail(self, failure: Failure | Exception) -> None:
        """End whatever is under way, and the connection."""
        exchange, self._exchange = self._exchange, None
        body, self._body = self._body, None
        self._drop()
        if exchange is not None:
            self._stop_upload()
            exchange.answered.errback(failure)
        elif body is not None:
            body.end(failure if isinstance(failure, Failure) else Failure(failure))

    def _stop_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()

    def _drop(self) -> None:
        if not self._dropped:
            self._dropped = True
            self.phase = "dropped"
            self.deadline = inf
            self.transport.abortConnection()

    def _trouble(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(f"{self._owner.name}: {what}")


_SILENT = {
    "connecting": "no handshake in time",
    "waiting": "no answer in time",
    "sending": "it takes no more bytes",
    "reading": "its reply stopped in the middle",
}
