"""Clients of the TLS listeners that never get to a request: silent, slow, rude, of other versions."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from OpenSSL import SSL
from twisted.trial import util

from tests.integration.disks import MIB
from tests.integration.tls_clients import (
    HEADER_TIMEOUT,
    HEALTH,
    WRITE_TIMEOUT,
    TlsCase,
    ends,
    everything,
    has_ended,
    reset,
    status,
)
from tests.integration.tls_records import APPLICATION_DATA, Rekeying, Renegotiating
from tests.running import PATIENCE
from tests.unit.web.certificates import Authority


class HandshakeTests(TlsCase):
    """Clients that never get to a request."""

    def test_silence(self) -> None:
        """
        Whoever does not ask in time is let go, however far it got, also if it goes on sending a little;
        until then it counts as a connection.
        """
        begun = time.monotonic()
        hello = self.hello()
        mute, half, slow = self.plain(), self.plain(), self.plain()
        greeted = self.connect()
        half.sendall(hello[: len(hello) // 2])
        self.await_connections(4)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not has_ended(slow) and sent < len(hello) - 1:
                slow.sendall(hello[sent : sent + 1])
                sent += 1
                time.sleep(0.05)
        self.assertGreater(time.monotonic() - begun, HEADER_TIMEOUT * 0.9)
        for client in (mute, half, greeted):
            self.assertTrue(ends(client))
        self.assertLess(time.monotonic() - begun, HEADER_TIMEOUT + PATIENCE / 2)
        self.await_connections(0)

    def test_plain_http(self) -> None:
        """
        Who speaks HTTP where TLS is spoken, or anything else, sees the connection close, not reset, at once.
        """
        for said in (HEALTH, b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 1000, b"SSH-2.0-x\r\n"):
            begun = time.monotonic()
            client = self.plain()
            client.sendall(said)
            answer = everything(client)
            self.assertLess(len(answer), 20)  # an alert, or nothing
            self.assertLess(time.monotonic() - begun, HEADER_TIMEOUT)

    def test_no_certificate(self) -> None:
        """
        A client that must have a certificate, and has none or another authority's, is told so, not served.
        """
        for latest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for context, why in (
                (self.secured.context(), "REQUIRED|HANDSHAKE_FAILURE"),
                (self.secured.context(name="stranger", of=Authority("other")), "UNKNOWN_CA"),
            ):
                context.maximum_version = latest
                with self.assertRaisesRegex(ssl.SSLError, why):
                    # With TLS 1.3 a client hears of it when it reads.
                    status(self.connect(context, self.secured.mutual), HEALTH)
            context = self.secured.context(name="friend")
            context.maximum_version = latest
            with self.connect(context, self.secured.mutual) as connection:
                self.assertEqual(status(connection, HEALTH), 200)

    def test_versions(self) -> None:
        """
        What is older than `min_version` is refused with the alert for it.
        """
        for port, newest, is_served in (
            (self.secured.tls, ssl.TLSVersion.TLSv1_1, False),
            (self.secured.tls, ssl.TLSVersion.TLSv1_2, True),
            (self.secured.modern, ssl.TLSVersion.TLSv1_1, False),
            (self.secured.modern, ssl.TLSVersion.TLSv1_2, False),
            (self.secured.modern, ssl.TLSVersion.TLSv1_3, True),
        ):
            context = self.secured.context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = newest
            if is_served:
                with self.connect(context, port) as connection:
                    self.assertEqual(status(connection, HEALTH), 200)
            else:
                with self.assertRaisesRegex(ssl.SSLError, "ALERT_PROTOCOL_VERSION"):
                    self.connect(context, port)

    # Python finds it unwise to speak what we must refuse.
    test_versions.suppress = [util.suppress(category=DeprecationWarning)]  # type: ignore[attr-defined]

    def test_leaving(self) -> None:
        """
        A client may leave in the middle of the handshake, with or without ceremony.
        """
        for port in (self.secured.tls, self.secured.mutual):
            for leave in (socket.socket.close, reset):
                for sent in (0, 100, None):
                    client = self.plain(port)
                    client.sendall(self.hello()[:sent])
                    if sent is None:
                        self.assertTrue(client.recv(1))
                    leave(client)

    def test_renegotiation(self) -> None:
        """
        Nobody can make us do the expensive part again and again on one connection.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        plain = self.plain()
        plain.setblocking(True)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        self.assertTrue(connection.renegotiate())
        self.assertRaises(SSL.Error, _renegotiated, connection)

    def test_handshakes_without_end(self) -> None:
        """
        Nor fill our memory with answers to that which it does not read, be it refusals or new keys.
        """
        for kind in (Renegotiating, Rekeying):
            plain = self.plain(receive_buffer=4096)
            client = kind(plain, self.secured.context(), self.secured.directory / kind.__name__)
            for _ in range(20):  # so many are no harm
                plain.sendall(client.again())
            plain.sendall(client.record(APPLICATION_DATA, HEALTH))
            self.assertTrue(plain.recv(1000))
            before, begun = self.deployment.daemon.resident(), time.monotonic()
            with self.assertRaises(ConnectionError):
                while True:
                    plain.sendall(b"".join(client.again() for _ in range(200)))
            self.assertLess(time.monotonic() - begun, WRITE_TIMEOUT)
            self.assertLess(self.deployment.daemon.resident() - before, 2 * MIB)


class InMemoryTests(HandshakeTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


def _renegotiated(connection: SSL.Connection) -> None:
    connection.do_handshake()
    connection.sendall(HEALTH)
    connection.recv(1000)
