"""
TLS on our connections, in pieces as large as pay.

Twisted encrypts 16 KiB, takes them out of OpenSSL and sends them, over and over, and puts off
every write until the reactor's next turn lest many small ones cost a record each. What we
write is whole already, so it is sent at once; and encrypting four records at a time saves
two fifths of what TLS adds to a large body.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Context, Error, WantReadError
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

# Encrypted at a time. OpenSSL keeps a buffer of that size for each connection; 256 KiB gain hardly more.
ENCRYPTED_AT_ONCE = 64 * 1024

_OVERHEAD = 4 * 1024  # more than the headers and tags of the records
_ENABLE_PARTIAL_WRITE = 1  # OpenSSL's SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL does not export


def encrypt_whole_pieces(context: Context) -> None:
    """Let one call encrypt as many records as it is given; pyOpenSSL asks for one at a time."""
    context.clear_mode(_ENABLE_PARTIAL_WRITE)


class SecureConnection(TLSMemoryBIOProtocol):
    """
    Twisted's TLS over a connection, but for how it is written to.

    As there, what is written while OpenSSL waits for the peer is kept, and the producer paused.
    """

    _appSendBuffer: list[bytes]
    _tlsConnection: Any
    transport: Any

    def _write(self, octets: bytes) -> None:
        left = memoryview(octets)
        while left and not self._lostTLSConnection:
            try:
                sent = self._tlsConnection.send(left[:ENCRYPTED_AT_ONCE])
            except WantReadError:
                self._bufferedWrite(bytes(left))  # type: ignore[no-untyped-call]
                return
            except Error:
                self._tlsShutdownFinished(Failure())  # type: ignore[no-untyped-call]
                return
            left = left[sent:]
            self._flushSendBIO()

    def _flushSendBIO(self) -> None:
        limit = taken = ENCRYPTED_AT_ONCE + _OVERHEAD
        while taken == limit:
            try:
                encrypted = self._tlsConnection.bio_read(limit)
            except WantReadError:  # there is nothing
                return
            taken = len(encrypted)
            self.transport.write(encrypted)


class SecureFactory(TLSMemoryBIOFactory):
    """Adds TLS to the connections of another factory."""

    protocol = SecureConnection
