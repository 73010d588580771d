"""
TLS on the socket itself: OpenSSL reads and writes the descriptor, and no copy of ours lies between.

The other way, through OpenSSL's buffers in memory (`secure`), is Twisted's. What that leaves to two layers is
here one state: reading may have to wait for room to write, and writing for something to read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet import main
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ISSLTransport
from twisted.internet.protocol import Factory
from zope.interface import implementer

from s3orchestrator.bodies.sockets import MOVED_AT_ONCE, Connection, Server, UnixServer

# The most that a record holds. What is read has room for one, so that none is ever left half read inside of
# OpenSSL, where nothing wakes us up; all else is on the socket, and epoll tells.
RECORD = 16 * 1024

# Per turn, for records may be small: four times as many as fill the largest piece.
MOST_RECORDS = 4 * MOVED_AT_ONCE // RECORD


class ITlsMaker(Protocol):
    """Makes the TLS side of connections."""

    def connection_on(self, transport: Any, socket: Any) -> SSL.Connection:
        """Begin it on an accepted socket; `transport` is told to abort a peer that goes too far."""


@implementer(ISSLTransport)
class SecureConnection(Connection):
    """
    A connection whose peer speaks TLS; what its protocol reads and writes is plain.

    Shaking hands → open → leaving: all that was written leaves, then our good-bye (close_notify); then the
    peer's is awaited, unless it has come already or `end` was called. What arrives until then is still
    delivered. There is no half-closing: a peer that says good-bye is sent what is kept, and no more. One
    that ends its stream without is lost at once.

    A record is delivered whole, also if `read_size` is less.
    """

    is_plain = False

    _tls: Any  # the connection of OpenSSL; after the end, None: its descriptor may be another's by then
    _is_shaken = False
    _is_paused = False
    _is_leaving = False
    _awaits_goodbye = True
    _has_said_goodbye = False
    _reads_when_writable = False  # what OpenSSL itself wants to say has no room
    _writes_when_readable = False
    _is_broken = False

    def __init__(
        self, socket: Any, protocol: IProtocol, client: Any, server: Any, number: int, reactor: Any
    ) -> None:
        self._tls = server.factory.tls.connection_on(self, socket)
        super().__init__(socket, protocol, client, server, number, reactor)  # type: ignore[call-arg]

    def getPeerCertificate(self) -> object:
        """Return the certificate that the client has shown, None without one."""
        return None if self._tls is None else self._tls.get_peer_certificate(as_cryptography=True)

    @property
    def is_waiting(self) -> bool:
        """Whether there are bytes that the peer has not made room for, our good-bye among them."""
        return self._keeps or self._reads_when_writable or (self._is_leaving and not self._has_said_goodbye)

    @property
    def _keeps(self) -> bool:
        return super().is_waiting

    @property
    def sends_at_once(self) -> bool:
        """Nothing that is written goes to the socket as it is."""
        return False

    # Reading.

    def doRead(self) -> Any:
        """Go on with the handshake, or hand over what has arrived, about `read_size` bytes."""
        if self._writes_when_readable:
            self._writes_when_readable = False
            self.startWriting()  # type: ignore[no-untyped-call]
            if self._is_paused:
                self.stopReading()  # type: ignore[no-untyped-call]
                return None
        pieces: list[bytes] = []
        has_left, lost = False, None
        try:
            self._shake_hands()
            if not self._is_paused:
                self._take(pieces)
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._read_when_writable()
        except SSL.ZeroReturnError:
            has_left = True
        except SSL.Error:
            lost = self._failed()
        if pieces:
            self.protocol.dataReceived(b"".join(pieces))
        if has_left and self.connected and not self._aborting:
            return self._answer_goodbye()
        return lost

    def _shake_hands(self) -> None:
        if self._is_shaken:
            return
        self._tls.do_handshake()
        self._is_shaken = True
        if self._keeps:
            self.startWriting()  # type: ignore[no-untyped-call]

    def _take(self, pieces: list[bytes]) -> None:
        """Decrypt records until it is enough; there are none left when this raises."""
        left = self.read_size
        receive = self._tls.recv
        while True:
            piece = receive(RECORD)
            pieces.append(piece)
            left -= len(piece)
            if left < RECORD or len(pieces) == MOST_RECORDS:
                return

    def _read_when_writable(self) -> None:
        """OpenSSL has something to answer, and no room for it: read nothing more until there is."""
        self._reads_when_writable = True
        self._taken_at = self.reactor.seconds()
        self.stopReading()  # type: ignore[no-untyped-call]
        self.startWriting()  # type: ignore[no-untyped-call]

    def _failed(self) -> Exception:
        # A socket that is closed with unread bytes is reset, and the peer would not hear OpenSSL's alert.
        with suppress(OSError):
            self.socket.recv(MOVED_AT_ONCE)
        return main.CONNECTION_LOST

    def readConnectionLost(self, reason: Any) -> None:
        """With one direction the other is lost, too."""
        self.connectionLost(reason)

    def pauseProducing(self) -> None:
        """Read nothing until resumed."""
        self._is_paused = True
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """Read on."""
        self._is_paused = False
        if not self._reads_when_writable:
            super().resumeProducing()  # type: ignore[no-untyped-call]

    # Writing.

    def write(self, data: bytes) -> None:
        """Encrypt and send what the kernel takes now, and keep the rest."""
        if self._held:
            self.release()
        if self._aborting or self._is_leaving:
            return
        if data and self.connected and self._is_shaken and not self.is_waiting:
            sent = self._send(memoryview(data))
            if sent == len(data):
                return
            data = data[sent:]
            self._taken_at = self.reactor.seconds()
        super().write(data)

    def _send(self, data: memoryview) -> int:
        """
        Return how much has left.

        Of a piece that was refused some has left as well. OpenSSL knows how much, and wants the same
        again, or the same and more: which is what the buffer begins with.
        """
        left = data
        try:
            while left:
                left = left[self._tls.send(left[: self.SEND_LIMIT]) :]
        except SSL.WantWriteError:
            pass
        except SSL.WantReadError:
            self._writes_when_readable = True
        except SSL.Error:
            self._is_broken = True
        return len(data) - len(left)

    def writeSomeData(self, data: bytes) -> Any:
        """Send from the buffer, and note when that moved something."""
        sent = self._send(memoryview(data)[: self.SEND_LIMIT])
        if self._is_broken:
            return main.CONNECTION_LOST
        if sent:
            self._taken_at = self.reactor.seconds()
        return sent

    def doWrite(self) -> Any:
        """Go on with what had no room: OpenSSL's own words, what is kept, our good-bye."""
        if self._reads_when_writable:
            lost = self._read_again()
            if lost is not None or self._reads_when_writable or self._aborting or not self.connected:
                return lost
        if not self._is_shaken:
            self.stopWriting()  # type: ignore[no-untyped-call]
            return None
        lost = super().doWrite()
        if self._writes_when_readable:
            self.stopWriting()  # type: ignore[no-untyped-call]
            self.startReading()  # type: ignore[no-untyped-call]
        elif lost is None and self._is_leaving and not self._keeps:
            return self._say_goodbye()
        return lost

    def _read_again(self) -> Any:
        self._reads_when_writable = False
        if not self._keeps:
            self.stopWriting()  # type: ignore[no-untyped-call]
        if not self._is_paused:
            self.startReading()  # type: ignore[no-untyped-call]
        elif self._is_shaken:
            return None
        return self.doRead()  # also paused, for the client may be waiting for the rest of our hello

    # Leaving.

    def loseConnection(self) -> None:
        """Close when everything written has left and the peer has said good-bye; or now, in the handshake."""
        self.release()
        if not self.connected or self._is_leaving:
            return
        if not (self._is_shaken or self._keeps):
            self.abortConnection()
            return
        self._is_leaving = True
        self._taken_at = self.reactor.seconds()
        self.startWriting()  # type: ignore[no-untyped-call]

    def loseWriteConnection(self) -> None:
        """Say good-bye; TLS knows no other way to say that nothing more will come."""
        self.loseConnection()

    def end(self) -> None:
        """Close when everything kept has left, and wait for no good-bye."""
        self._awaits_goodbye = False
        self.loseConnection()
        if self.connected and not self._aborting:
            self.startWriting()  # type: ignore[no-untyped-call]

    def _answer_goodbye(self) -> Any:
        self.release()
        self._awaits_goodbye = False
        self._is_leaving = True
        self.stopReading()  # type: ignore[no-untyped-call] # or its end would be seen again and again
        return None if self._keeps else self._say_goodbye()

    def _say_goodbye(self) -> Any:
        """Return the end, unless there is a good-bye to wait for, or no room for ours."""
        if not self._has_said_goodbye:
            try:
                self._tls.shutdown()
            except SSL.WantWriteError:
                self.startWriting()  # type: ignore[no-untyped-call]
                return None
            except SSL.Error:
                return main.CONNECTION_LOST
            self._has_said_goodbye = True
        return None if self._awaits_goodbye else main.CONNECTION_DONE

    def connectionLost(self, reason: Any) -> None:
        """Forget OpenSSL's side."""
        super().connectionLost(reason)
        self._tls = None


class SecureServer(SecureConnection, Server):
    """An accepted connection."""


class SecureUnixServer(SecureConnection, UnixServer):
    """An accepted connection on a Unix socket."""


class SecureSocketFactory(Factory[Any]):
    """Adds TLS to the connections of another factory, on their sockets; for the ports of `sockets`."""

    noisy = False
    tcp_transport = SecureServer
    unix_transport = SecureUnixServer

    def __init__(self, tls: ITlsMaker, wrapped: IProtocolFactory) -> None:
        self.tls = tls
        self._wrapped = wrapped

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._wrapped.buildProtocol(addr)  # type: ignore[arg-type]

    def doStart(self) -> None:
        self._wrapped.doStart()

    def doStop(self) -> None:
        self._wrapped.doStop()
