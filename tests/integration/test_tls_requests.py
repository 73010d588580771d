"""Clients over TLS that break off, or stop, in the middle of a request or an answer; and many of them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from hashlib import sha256

from tests.integration.asking import UNSIGNED, Caller
from tests.integration.disks import BUCKET, MIB
from tests.integration.tls_clients import (
    HEALTH,
    LARGE,
    WRITE_TIMEOUT,
    TlsCase,
    everything,
    received,
    reset,
)
from tests.running import wait_until

ALIKE = 5  # looks in a row, of which there are twenty a second


class RequestTests(TlsCase):
    """Clients that break off, or stop, in the middle of a request or an answer."""

    data: bytes

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.data = bytes(range(256)) * (LARGE // 256)
        cls.deployment.client().put_object(Bucket=BUCKET, Key="large", Body=cls.data)

    def get(self, receive_buffer: int = 65536) -> ssl.SSLSocket:
        """A client that has asked for the large object and seen the answer begin."""
        client = self.connect(receive_buffer=receive_buffer)
        client.sendall(self.caller().request("GET", "/photos/large"))
        self.assertTrue(client.recv(12).startswith(b"HTTP/1.1 200"))
        return client

    def send_half(self, client: ssl.SSLSocket) -> None:
        """Send half of an object."""
        length = {"content-length": str(MIB)}
        client.sendall(self.caller().request("PUT", "/photos/half", headers=length, payload_hash=UNSIGNED))
        client.sendall(bytes(MIB // 2))

    def test_half_a_head(self) -> None:
        """
        Half a head is answered when its time is over.
        """
        client = self.connect()
        client.sendall(HEALTH[:-2])
        answer = everything(client)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.assertIn(b"RequestTimeout", answer)

    def test_half_a_body(self) -> None:
        """
        A client may leave in the middle of its body, or of an answer, with or without ceremony;
        what was not whole is not stored.
        """
        for leave in (socket.socket.close, reset, ssl.SSLSocket.unwrap):
            client = self.connect()
            self.send_half(client)
            with contextlib.suppress(ssl.SSLError, OSError):
                leave(client)
            with contextlib.suppress(ssl.SSLError, OSError):
                leave(self.get())
        self.await_connections(0)
        listed = self.deployment.client().list_objects_v2(Bucket=BUCKET)["Contents"]
        self.assertEqual([entry["Key"] for entry in listed], ["large"])

    def test_body_stops(self) -> None:
        """
        A body that does not come any further is given up after `read_timeout`, with an answer.
        """
        client = self.connect()
        self.send_half(client)
        answer = everything(client)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.assertIn(b"RequestTimeout", answer)

    def test_answer_despite_sending(self) -> None:
        """
        A client that sends its large body regardless still hears why it was refused.
        """
        client = self.connect()
        stranger = Caller(("127.0.0.1", self.secured.tls), "photoskey", "wrong")
        client.sendall(stranger.request("PUT", "/photos/b", headers={"content-length": "2000000"}))
        client.sendall(200_000 * b"x")
        self.assertIn(b"SignatureDoesNotMatch", everything(client))

    def test_pause(self) -> None:
        """
        A client that stops for a while and then goes on gets all of it.
        """
        client = self.get()
        _settled(self.deployment.daemon.resident)
        hashed = sha256()
        head, end, body = client.recv(4096).partition(b"\r\n\r\n")
        self.assertTrue(end, head)
        hashed.update(body)
        count = len(body)
        while count < LARGE:
            data = client.recv(MIB)
            self.assertTrue(data)
            hashed.update(data)
            count += len(data)
        self.assertEqual(hashed.hexdigest(), sha256(self.data).hexdigest())

    def test_reader_stops(self) -> None:
        """
        A client that stops reading is not read for, and let go when it has taken nothing for `write_timeout`.
        """
        self.stop_reading(1)

    def test_readers_stop(self) -> None:
        """
        However many there are.
        """
        self.stop_reading(20)

    def stop_reading(self, count: int) -> None:
        daemon = self.deployment.daemon
        before, begun = daemon.resident(), time.monotonic()
        clients = [self.get() for _ in range(count)]
        sizes = []

        def have_gone() -> bool:
            sizes.append(daemon.resident() - before)
            return self.connections() == 0

        self.await_connections(count)  # the page may be older than they are
        wait_until(have_gone, "clients that do not read are still there")
        self.assertGreater(time.monotonic() - begun, WRITE_TIMEOUT)
        self.assertLess(max(sizes), 60 * MIB)
        for client in clients:
            self.assertLess(received(client), 32 * MIB)  # what the kernel held


class InMemoryTests(RequestTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


def _settled(measure: Callable[[], int]) -> None:
    """Return when a figure has been the same several times in a row."""
    measured: list[int] = []

    def is_settled() -> bool:
        measured.append(measure())
        return len(measured) >= ALIKE and len(set(measured[-ALIKE:])) == 1

    wait_until(is_settled, "it goes on changing")
