"""
TCP connections that try to send at once, for the server and for the clients of backends.

Twisted buffers what is written and asks epoll for permission first: three more system
calls per message, although the kernel nearly always has room. Reads are larger too, for a
moving body costs per read, not per byte.
"""

from __future__ import annotations

import sys
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ClientFactory
from twisted.protocols.policies import ProtocolWrapper

# 64 KiB cost half as much again per byte, 1 MiB gains nothing more. It is also the mark at which
# producers are paused, so it bounds what a slow peer makes us keep.
MOVED_AT_ONCE = 256 * 1024

BACKLOG = 1024  # connections the kernel may hold for us; Twisted's 50 are soon gone when many arrive at once


class Connection(tcp.Connection):
    """
    A connection that asks epoll only when the kernel would not take the bytes.

    `write` does not call back into the protocol, just as before; what it may do is pause a
    producer. A *pull* producer would starve here, for it is resumed only when a buffer
    drains: wrap it.

    `read_size` may be changed at any time; it is the most that one `dataReceived` brings.
    """

    bufferSize = MOVED_AT_ONCE
    SEND_LIMIT = MOVED_AT_ONCE
    read_size = MOVED_AT_ONCE
    _taken_at = 0.0
    _unsent = 0
    reactor: Any  # Twisted promises less of it than it needs

    @property
    def is_waiting(self) -> bool:
        """Whether there are bytes that the peer has not made room for."""
        return bool(self._tempDataBuffer or self.dataBuffer)

    def waiting_since(self) -> float:
        """
        Return when the peer was last seen to take something, while `is_waiting`.

        The kernel holds megabytes and asks for more when a third of them is gone, which a slow
        peer may need minutes for. So each call also looks how much is still held.
        """
        unsent = int.from_bytes(ioctl(self.fileno(), TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)
        if unsent != self._unsent:
            self._unsent = unsent
            self._taken_at = self.reactor.seconds()
        return self._taken_at

    def write(self, data: bytes) -> None:
        """Send what the kernel takes now, and keep the rest."""
        if self._aborting:
            return
        if (
            data
            and self.connected
            and not (
                self._tempDataBuffer
                or self.dataBuffer
                or self.disconnecting
                or self._writeDisconnected
                or self.TLS
            )
        ):
            try:
                sent = self.socket.send(data)
            except OSError:  # would block, or is lost: the buffered path finds out
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
            self._taken_at = self.reactor.seconds()
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, iovec: Any) -> None:
        """Send all of `iovec` with one system call, if the kernel takes it."""
        self.write(b"".join(iovec))

    def writeSomeData(self, data: bytes) -> Any:
        """Send from the buffer, and note when that moved something."""
        sent = super().writeSomeData(data)
        if isinstance(sent, int) and sent > 0:
            self._taken_at = self.reactor.seconds()
        return sent

    def doRead(self) -> Any:
        """Hand over what has arrived, at most `read_size` bytes."""
        try:
            data = self.socket.recv(self.read_size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None


class Server(Connection, tcp.Server):
    """An accepted connection."""


class Client(Connection, tcp.Client):
    """A connection we opened."""


class Port(tcp.Port):
    """A listening socket whose connections send at once."""

    transport = Server


class Connector(tcp.Connector):
    """Opens a connection that sends at once."""

    def _makeTransport(self) -> Client:
        return Client(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


def listen_tcp(reactor: Any, host: str, port: int, factory: IProtocolFactory, backlog: int = BACKLOG) -> Port:
    """
    Listen on `host` (an address, or empty for all of IPv4) and `port` (0: any free one).

    :raises CannotListenError: the port is taken, or the address is not ours.
    """
    listening = Port(port, factory, backlog, host, reactor)
    listening.startListening()
    return listening


def connect_tcp(
    reactor: Any,
    host: str,
    port: int,
    factory: ClientFactory[Any],
    timeout: float = 30.0,
    bind_address: tuple[str, int] | None = None,
) -> Connector:
    """Open a connection, as `IReactorTCP.connectTCP` does; give an address, or an IPv4 host name."""
    connector = Connector(host, port, factory, timeout, bind_address, reactor)
    connector.connect()
    return connector


def connection_below(transport: object) -> Connection | None:
    """Return the connection under `transport`, through TLS; None if it is not one of ours."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, Connection) else None
