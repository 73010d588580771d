"""
Connections that try to send at once, for the server and for the clients of backends.

Twisted buffers what is written and asks epoll for permission first: three more system
calls per message, although the kernel nearly always has room. Reads are larger too, for a
moving body costs per read, not per byte.
"""

from __future__ import annotations

import socket
import sys
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp, unix
from twisted.internet.protocol import ClientFactory
from twisted.protocols.policies import ProtocolWrapper

from s3orchestrator.bodies.outbox import OUTBOX

if TYPE_CHECKING:
    from s3orchestrator.bodies.splicing import Pipe, Splice

# 64 KiB cost half as much again per byte, 1 MiB gains nothing more. It is also the mark at which
# producers are paused, so it bounds what a slow peer makes us keep.
MOVED_AT_ONCE = 256 * 1024

SMALL = (
    16 * 1024
)  # bytes of a message that may wait for the end of a turn; larger ones are worth a call alone


class Connection(tcp.Connection):
    """
    A connection that asks epoll only when the kernel would not take the bytes.

    `write` does not call back into the protocol, just as before; what it may do is pause a
    producer. A *pull* producer would starve here, for it is resumed only when a buffer
    drains: wrap it.

    `read_size` may be changed at any time; it is the most that one `dataReceived` brings.

    What is in a pipe that `send_pipe` was given is the first of what is still to be sent. `splice`
    is asked to take what has arrived before it is read.

    What `write_soon` keeps back leaves before anything else does, be it the connection's end.
    """

    is_plain = True  # what is on the socket is what is read and written; False for whoever encrypts

    bufferSize = MOVED_AT_ONCE
    SEND_LIMIT = MOVED_AT_ONCE
    read_size = MOVED_AT_ONCE
    _taken_at = 0.0
    _unsent = 0
    _pipe: Pipe | None = None
    _held = b""  # until the end of the turn
    splice: Splice | None = None
    reactor: Any  # Twisted promises less of it than it needs

    @property
    def is_waiting(self) -> bool:
        """Whether there are bytes that the peer has not made room for."""
        return bool(self._tempDataBuffer or self.dataBuffer or self._pipe is not None)

    @property
    def kept(self) -> int:
        """How many they are."""
        piped = self._pipe.held if self._pipe is not None else 0
        return piped + len(self._held) + len(self.dataBuffer) - self.offset + self._tempDataLen

    @property
    def sends_at_once(self) -> bool:
        """Whether what is written now goes straight to the socket."""
        return bool(self.connected) and not (
            self._tempDataBuffer
            or self.dataBuffer
            or self._held
            or self._pipe is not None
            or self.disconnecting
            or self._aborting
            or self._writeDisconnecting
            or self._writeDisconnected
            or self.TLS
        )

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

    def write_soon(self, data: bytes) -> None:
        """Send a message, at the end of the reactor's turn if it is small (see `Outbox`)."""
        if data and len(data) <= SMALL and OUTBOX.is_open and self._can_hold:
            self._held = data
            OUTBOX.add(self)
        else:
            self.write(data)

    @property
    def _can_hold(self) -> bool:
        return bool(self.connected) and not (self._held or self.disconnecting or self.is_waiting)

    def release(self) -> None:
        """Send what `write_soon` has kept back."""
        held, self._held = self._held, b""
        if held and self.connected:
            OUTBOX.say()
            self.write(held)

    def write(self, data: bytes) -> None:
        """Send what the kernel takes now, and keep the rest."""
        if self._held:
            self.release()
        if self._aborting:
            return
        if data and self.sends_at_once:
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

    def loseConnection(self, *args: Any) -> None:
        """Close when everything written has left."""
        self.release()
        super().loseConnection(*args)  # type: ignore[no-untyped-call]

    def loseWriteConnection(self) -> None:
        """Close our half when everything written has left."""
        self.release()
        super().loseWriteConnection()  # type: ignore[no-untyped-call]

    def abortConnection(self) -> None:
        """Close now, whatever has not left."""
        self._held = b""
        super().abortConnection()  # type: ignore[no-untyped-call]

    def send_pipe(self, pipe: Pipe) -> None:
        """Send what `pipe` holds, and release it; only if `sends_at_once`, and before anything is written."""
        self._pipe = pipe
        self._drain()
        if self.is_waiting:
            self._taken_at = self.reactor.seconds()
            self._maybePauseProducer()  # type: ignore[no-untyped-call]
            self.startWriting()  # type: ignore[no-untyped-call] # also after a failure, which is told to whoever may write

    def _drain(self) -> Exception | None:
        """Send from the pipe as much as goes; return what ended the connection."""
        pipe = self._pipe
        assert pipe is not None
        try:
            while pipe.held:
                pipe.drain(self.fileno())
                self._taken_at = self.reactor.seconds()
        except BlockingIOError:
            return None
        except OSError as error:
            if not pipe.refused(error):
                return main.CONNECTION_LOST
            self.dataBuffer = pipe.empty() + bytes(self.dataBuffer[self.offset :])
            self.offset = 0
        self._pipe = None
        pipe.release()
        return None

    def doWrite(self) -> Any:
        """Send what is kept: first what is in the pipe."""
        if self._pipe is not None:
            lost = self._drain()
            if lost is not None or self._pipe is not None:
                return lost
        return super().doWrite()  # type: ignore[no-untyped-call]

    def _isSendBufferFull(self) -> bool:
        return self._pipe is not None or super()._isSendBufferFull()  # type: ignore[no-untyped-call]

    def writeSomeData(self, data: bytes) -> Any:
        """Send from the buffer, and note when that moved something."""
        if not data:  # all was in the pipe
            return 0
        sent = super().writeSomeData(data)
        if isinstance(sent, int) and sent > 0:
            self._taken_at = self.reactor.seconds()
        return sent

    def doRead(self) -> Any:
        """Hand over what has arrived, at most `read_size` bytes, unless it can go elsewhere unread."""
        splice = self.splice
        count = 0
        try:
            if splice is None or not (count := splice.move()):
                data = self.socket.recv(self.read_size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if splice is not None and count:
            splice.reader.passed(count)
            return None
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def end(self) -> None:
        """Close when everything kept has left, and wait for nothing that the peer might say."""
        self.loseConnection()

    def has_more(self) -> bool:
        """Whether something has arrived that was not read, be it the end."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def connectionLost(self, reason: Any) -> None:
        """Forget what was on its way."""
        self._held = b""
        self.splice = None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.release()
        super().connectionLost(reason)


class Server(Connection, tcp.Server):
    """An accepted connection."""


class Client(Connection, tcp.Client):
    """A connection we opened."""


class UnixServer(Connection, unix.Server):
    """An accepted connection on a Unix socket."""


class Connector(tcp.Connector):
    """Opens a connection that sends at once."""

    def _makeTransport(self) -> Client:
        return Client(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


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


def send_soon(transport: Any, data: bytes) -> None:
    """Send by `transport` a message that may wait for the end of the turn, where it knows how to."""
    # Not by whatever has such a method: TLS in memory passes on to the socket below what it does not know.
    if isinstance(transport, Connection):
        transport.write_soon(data)
    else:
        transport.write(data)


def connection_below(transport: object) -> Connection | None:
    """Return the connection under `transport`, through TLS; None if it is not one of ours."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, Connection) else None


def plain_connection(transport: object) -> Connection | None:
    """Return `transport` if it is one of our connections, and nothing lies between it and the socket."""
    return transport if isinstance(transport, Connection) and transport.is_plain else None
