"""
Requests to one backend: connections that are kept, and a queue for those who wait for one.

A pool per backend, so that a slow one starves only itself. Everything that goes wrong is a
`BackendUnavailable` with the backend's name in it; `sent` is False only when no byte of the
request can have left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer

from s3orchestrator.backends.connection import Connection
from s3orchestrator.backends.exchange import Exchange, Reply, Timeouts
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.bodies.splicing import Splicer
from s3orchestrator.errors import BackendUnavailable

# Longer than the pauses of a busy client, and less than most servers keep a connection.
KEPT = 60.0

# What cannot be sent twice takes no connection that the server may be about to close: some
# close after 5 seconds.
FRESH = 4.0

# Every exchange has its socket, and a slow client may hold one for hours.
MAX_CONNECTIONS = 256

# A server that let this many requests for leave go by, one after the other, does not know of
# them; waiting on would cost a second for each upload.
UNANSWERED = 3


@define(eq=False)
class HttpClient:
    """
    Sends requests to the host behind `endpoint`, at most `max_connections` at a time.

    `host` is the value of the Host header. `secure` tells that the endpoint speaks TLS. `splicer`
    lets large bodies go past us, None lets none.
    """

    name: str
    clock: IReactorTime
    host: bytes
    _endpoint: IStreamClientEndpoint
    timeouts: Timeouts = Factory(Timeouts)
    _secure: bool = False
    _max_connections: int = MAX_CONNECTIONS
    splicer: Splicer | None = None
    requests_sent: int = field(init=False, default=0)
    _connections: set[Connection] = field(init=False, factory=set)
    _idle: list[Connection] = field(init=False, factory=list)
    _dials: set[Deferred[IProtocol]] = field(init=False, factory=set)
    _waiting: deque[Exchange] = field(init=False, factory=deque)
    _retrying: deque[Exchange] = field(init=False, factory=deque)
    _sweeping: IDelayedCall | None = field(init=False, default=None)
    _unanswered: int = field(init=False, default=0)
    _closed: bool = field(init=False, default=False)
    _until_closed: list[Deferred[None]] = field(init=False, factory=list)

    def request(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: IBodyProducer | None = None,
        *,
        repeatable: bool = True,
        asks: bool = False,
    ) -> Deferred[Reply]:
        """
        Send a request; the Deferred fires when the head of the reply is in.

        Host, Content-Length and Expect are added. Cancelling ends the exchange and stops the
        body. A failure of the body is passed on as it is.

        :param repeatable: doing it twice is as good as once; it is sent again if a kept
            connection turns out to be dead.
        :param asks: wait until the server says that it wants the body, or for a second; not if it
            has never answered that.
        """
        asks = asks and body is not None and self._unanswered < UNANSWERED
        lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, self.host)]
        lines += [b"%b: %b\r\n" % header for header in headers]
        if body is not None:
            lines.append(self._length_of(body))
            if asks:
                lines.append(b"Expect: 100-continue\r\n")
        elif method in (b"PUT", b"POST"):
            lines.append(b"Content-Length: 0\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        # The request line and Host are one entry of the list, the empty line another.
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
            raise ValueError("a line end in a header")
        exchange = Exchange(method, head, body, repeatable, asks)
        answered = exchange.answered = Deferred(partial(self._cancel, exchange))
        self._give(exchange)
        return answered

    @staticmethod
    def _length_of(body: IBodyProducer) -> bytes:
        if body.length is UNKNOWN_LENGTH:
            raise ValueError("a body of unknown length")
        return b"Content-Length: %d\r\n" % body.length

    def close(self) -> Deferred[None]:
        """Close every connection; what is under way fails. Fires when all are closed."""
        closed: Deferred[None] = Deferred()
        self._until_closed.append(closed)
        self._closed = True
        for dial in list(self._dials):
            dial.cancel()
        for queue in (self._waiting, self._retrying):
            while queue:
                self._refuse(queue.popleft(), "closed")
        for connection in list(self._connections):
            connection.close()
        self._check_closed()
        return closed

    # --- giving work to connections --------------------------------------------------------

    def _give(self, exchange: Exchange) -> None:
        if self._closed:
            self._refuse(exchange, "closed")
            return
        connection = self._idle_for(exchange)
        if connection is not None:
            connection.start(exchange)
            return
        exchange.deadline = self.clock.seconds() + self.timeouts.answer
        self._waiting.append(exchange)
        self._dial_if_needed()
        if self._sweeping is None:
            self._sweep_later()

    def _idle_for(self, exchange: Exchange) -> Connection | None:
        """Return the connection that was used last: it is the least likely to be dead."""
        if not self._idle:
            return None
        body = exchange.body
        whole = exchange.repeatable and (body is None or exchange.asks or isinstance(body, BytesBody))
        if not whole and self.clock.seconds() - self._idle[-1].idle_since >= FRESH:
            return None
        return self._idle.pop()

    def _dial_if_needed(self) -> None:
        wanted = len(self._waiting) + len(self._retrying)
        while wanted > len(self._dials) and len(self._dials) + len(self._connections) < self._max_connections:
            self._dial()

    def _dial(self) -> None:
        dial: Deferred[IProtocol] = self._endpoint.connect(_Dialled(self, self._secure))
        self._dials.add(dial)
        dial.addBoth(self._undial, dial)
        dial.addCallbacks(lambda _: self._check_closed(), self._not_connected)

    def _undial(self, result: object, dial: Deferred[IProtocol]) -> object:
        self._dials.discard(dial)
        return result

    def _not_connected(self, failure: Failure) -> None:
        """One attempt failed: so does the one who has waited longest for it."""
        queue = self._retrying or self._waiting
        if queue:
            self._refuse(queue.popleft(), f"cannot connect ({failure.getErrorMessage()})")
        self._dial_if_needed()
        self._check_closed()

    def _cancel(self, exchange: Exchange, _: object) -> None:
        if exchange.connection is not None:
            exchange.connection.abandon(exchange)
        for queue in (self._waiting, self._retrying):
            if exchange in queue:
                queue.remove(exchange)

    # --- what connections tell --------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection exists."""
        self._connections.add(connection)

    def ready(self, connection: Connection) -> None:
        """A connection can take an exchange."""
        if self._closed:
            connection.close()
        elif self._retrying and not connection.served:
            connection.start(self._retrying.popleft())
        elif self._waiting:
            connection.start(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection, failure: Failure) -> None:
        """A connection is no more."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.was_ready:
            self._not_connected(failure)
        else:
            self._dial_if_needed()
            self._check_closed()

    def asked(self, *, answered: bool) -> None:
        """A server was asked for leave to send."""
        self._unanswered = 0 if answered else self._unanswered + 1

    def retry(self, exchange: Exchange) -> None:
        """Send it again, on a connection that is surely alive."""
        exchange.connection = None
        if self._closed:
            self._refuse(exchange, "closed")
            return
        exchange.deadline = self.clock.seconds() + self.timeouts.answer
        self._retrying.append(exchange)
        self._dial()

    # --- time -------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Look at everybody's time, as long as there is anybody."""
        self._sweeping = None
        now = self.clock.seconds()
        for connection in list(self._connections):
            connection.watch(now)
        for connection in [idle for idle in self._idle if now - idle.idle_since > KEPT]:
            self._idle.remove(connection)
            connection.close()
        for queue in (self._waiting, self._retrying):
            while queue and queue[0].deadline <= now:
                self._refuse(queue.popleft(), "no connection in time")
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._connections or self._dials or self._waiting or self._retrying:
            self._sweeping = self.clock.callLater(self._interval, self._sweep)

    @property
    def _interval(self) -> float:
        return min(1.0, self.timeouts.answer / 8, self.timeouts.silence / 8)

    # --- the end ----------------------------------------------------------------------------

    def _refuse(self, exchange: Exchange, why: str) -> None:
        exchange.answered.errback(BackendUnavailable(f"{self.name}: {why}", sent=exchange.attempts > 0))

    def _check_closed(self) -> None:
        if not self._closed or self._connections or self._dials:
            return
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        waiting, self._until_closed = self._until_closed, []
        for closed in waiting:
            closed.callback(None)


class _Dialled(ProtocolFactory):
    """Makes connections for a pool."""

    noisy = False

    def __init__(self, owner: HttpClient, secure: bool) -> None:
        self._owner = owner
        self._secure = secure

    def buildProtocol(self, address: object) -> Connection:
        """Make the protocol of a connection that has just been accepted."""
        return Connection(self._owner, secure=self._secure)
