"""The listening side: what all connections of one server share."""

from __future__ import annotations

from heapq import nsmallest
from typing import Any
from urllib.parse import unquote_to_bytes

from prometheus_client import Counter, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web import http, server
from twisted.web.resource import IResource, Resource

from s3orchestrator.bodies.splicing import Splicer
from s3orchestrator.telemetry.http import Traffic
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.channel import StreamingChannel
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.request import Request

_REASONS = {**http.RESPONSES, 429: b"Too Many Requests"}  # which Twisted does not know

_log = make_logger()

CONNECTIONS = Gauge("s3o_connections", "Connections of clients that are open.")
EVICTED = Counter(
    "s3o_connections_evicted_total", "Idle connections that were closed to make room for others."
)
REFUSED = Counter(
    "s3o_connections_refused_total", "Connections closed at once: there were too many, none idle."
)

TELL_EVERY = 60.0  # seconds between warnings of the same state


class StreamingSite(server.Site):
    """
    Serves a resource through `StreamingChannel`.

    There is no access log here: whoever answers audits, and knows more. Requests are counted in
    `traffic`; in one of its own unless it is given one. `splicer` lets large uploads go past us, None
    lets none.
    """

    resource: Resource
    noisy = False  # or Twisted logs that a factory starts and stops

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        reactor: Any,
        max_connections: int | None = None,
        traffic: Traffic | None = None,
        splicer: Splicer | None = None,
    ) -> None:
        super().__init__(resource, reactor=reactor)  # type: ignore[no-untyped-call]
        self.limits = limits
        self.traffic = traffic or Traffic()
        self.clock = reactor
        self.splicer = splicer
        self.connections: set[StreamingChannel] = set()
        self.is_retiring = False
        self._max_connections = max_connections
        self._leaving: set[StreamingChannel] = set()
        self._told = -TELL_EVERY
        self._drained: Deferred[None] | None = None
        self._second = 0
        self._lines: dict[int, bytes] = {}

    def buildProtocol(self, addr: IAddress | None) -> StreamingChannel:  # type: ignore[override]
        return StreamingChannel(self)

    def getResourceFor(self, request: Request) -> IResource:
        """Find who answers; S3's paths are not taken apart for it."""
        if self.resource.isLeaf:
            return self.resource
        request.prepath = []
        request.postpath = [unquote_to_bytes(part) for part in request.path[1:].split(b"/")]
        return super().getResourceFor(request)  # type: ignore[no-untyped-call,no-any-return]

    def status_line(self, status: int) -> bytes:
        """Return the beginning of a response: status line, `Server` and `Date`, with its last line break."""
        now = int(self.clock.seconds())
        if now != self._second:
            self._second = now
            self._lines.clear()
        line = self._lines.get(status)
        if line is None:
            line = self._lines[status] = b"HTTP/1.1 %d %b\r\nServer: s3orchestrator\r\nDate: %b\r\n" % (
                status,
                _REASONS.get(status, b"Unknown"),
                http.datetimeToString(now),
            )
        return line

    async def drain(self, limit: float) -> None:
        """
        Close connections as they fall idle, and after `limit` seconds all others too.

        The caller has stopped listening. Returns when no connection is left.
        """
        self.is_retiring = True
        for channel in list(self.connections):
            channel.retire()
        if not self.connections:
            return
        self._drained = drained = Deferred[None]()
        timer = self.clock.callLater(limit, self._abort_all)
        try:
            await drained
        finally:
            if timer.active():
                timer.cancel()

    def _abort_all(self) -> None:
        for channel in list(self.connections):
            channel.abort()

    def admit(self, channel: StreamingChannel) -> bool:
        """
        Count a new connection; for the connection, which must close if the answer is no.

        When there are too many, those that would be missed least make room; if all are being
        answered there is none.
        """
        most = self._max_connections
        if most is not None and len(self.connections) - len(self._leaving) >= most:
            spare = self._make_room(most)
            self._tell(most)
            if not spare:
                REFUSED.inc()
                return False
        self.connections.add(channel)
        CONNECTIONS.inc()
        return True

    def _make_room(self, most: int) -> int:
        # Several, for all must be looked at.
        spare = [
            (value, number, channel)
            for number, channel in enumerate(self.connections)
            if (value := channel.spare()) is not None
        ]
        leaving = nsmallest(max(1, most // 64), spare)
        for _, _, channel in leaving:
            self._leaving.add(channel)
            EVICTED.inc()
            channel.make_room()
        return len(leaving)

    def _tell(self, most: int) -> None:
        now = self.clock.seconds()
        if now - self._told >= TELL_EVERY:
            self._told = now
            _log.warn("more than {most} connections: idle ones are closed, or new ones", most=most)

    def forget(self, channel: StreamingChannel) -> None:
        """A connection is lost; for the connection."""
        if channel in self.connections:  # one that was refused never was
            self.connections.remove(channel)
            CONNECTIONS.dec()
        self._leaving.discard(channel)
        if self._drained is not None and not self.connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    # What Twisted's access log needs; it would cost a formatted line per request even with nobody to read it.

    def log(self, request: http.Request) -> None:
        """Say nothing."""

    def startFactory(self) -> None:
        """Open no log."""

    def stopFactory(self) -> None:
        """Close none."""

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/2 has a channel of its own, which is not ours."""
        return [b"http/1.1"]
