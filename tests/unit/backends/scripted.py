"""A server that does exactly what a test tells it, byte for byte, one script per connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from s3orchestrator.concurrency import start


def the_reactor() -> Any:
    """Return the reactor that the tests run on."""
    from twisted.internet import reactor

    return reactor


async def pause(seconds: float) -> None:
    """Let everybody else go on for a moment."""
    await deferLater(the_reactor(), seconds)


Script = Callable[["Peer"], Awaitable[None]]


class Peer(Protocol):
    """The server's end of a connection."""

    transport: Any

    def __init__(self, server: ScriptedServer, script: Script) -> None:
        self._server = server
        self._script = script
        self._wanted: Callable[[bytes], bool] | None = None
        self._come: Deferred[None] | None = None
        self.received = b""
        self.total = 0
        self.keeping = True
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        start(self._run()).addErrback(self._server.failures.append)

    async def _run(self) -> None:
        await self._script(self)

    def dataReceived(self, data: bytes) -> None:
        if self.keeping:
            self.received += data
        self.total += len(data)
        self._look()

    def _look(self) -> None:
        if self._come is not None and self._wanted is not None and self._wanted(self.received):
            come, self._come = self._come, None
            come.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._server.peers.discard(self)
        self.closed.callback(None)

    async def until(self, wanted: Callable[[bytes], bool]) -> None:
        """Wait until what has been received is as wanted."""
        self._wanted, self._come = wanted, Deferred()
        come = self._come
        self._look()
        await come

    async def head(self) -> bytes:
        """Take the head of a request."""
        await self.until(lambda data: b"\r\n\r\n" in data)
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return head

    async def take(self, count: int) -> bytes:
        """Take `count` bytes of a body."""
        await self.until(lambda data: len(data) >= count)
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def send(self, *data: bytes) -> None:
        self.transport.write(b"".join(data))

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a well-formed reply."""
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n"
        self.send(head.encode("latin-1"), body)

    def close(self) -> None:
        self.transport.loseConnection()

    def reset(self) -> None:
        self.transport.abortConnection()


class ScriptedServer(Factory):
    """Listens on a port of its own; connection n follows script n."""

    noisy = False

    def __init__(self, reactor: Any, scripts: Sequence[Script]) -> None:
        self._scripts = list(scripts)
        self.peers: set[Peer] = set()
        self.failures: list[Failure] = []
        self.accepted = 0
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port: int = self._port.getHost().port

    def buildProtocol(self, address: object) -> Peer | None:
        self.accepted += 1
        if not self._scripts:
            return None
        peer = Peer(self, self._scripts.pop(0))
        self.peers.add(peer)
        return peer

    async def refuse(self) -> None:
        """Take no more connections."""
        await maybeDeferred(self._port.stopListening)

    async def stop(self) -> None:
        """Close everything."""
        await self.refuse()
        for peer in list(self.peers):
            peer.transport.abortConnection()
            await peer.closed
