"""Tests for the relay, with real sockets on both sides."""

from __future__ import annotations

import socket
from contextlib import closing
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.relay import Act, Fault, Relay, Way, lost_answer
from tests.running import wait_until

PATIENCE = 10.0


class Echo:
    """A server that says back what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with closing(connection):
            try:
                while data := connection.recv(1 << 16):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                return


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = Echo()
        self.addCleanup(self.echo.listening.close)
        self.relay = Relay(self.echo.port).start()
        self.addCleanup(self.relay.stop)
        self.client = self.connect()

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.relay.port), PATIENCE)
        self.addCleanup(client.close)
        return client

    def hears(self, count: int) -> bytes:
        """Return so many bytes, or fewer and then a "!" if the connection ends."""
        data = b""
        while len(data) < count:
            try:
                more = self.client.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                return data + b"!"
            data += more
        return data

    def test_passes(self) -> None:
        """Left alone, it passes everything on, however much."""
        self.client.sendall(b"ping")
        self.assertEqual(self.hears(4), b"ping")
        large = b"0123456789" * 100_000
        sending = Thread(target=self.client.sendall, args=[large])
        sending.start()
        self.assertEqual(self.hears(len(large)), large)
        sending.join()

    def test_cut_on_the_way_there(self) -> None:
        """Only so many bytes arrive, and both ends see the end."""
        self.relay.inject(Fault(Act.CUT, Way.TO_SERVER, 3))
        self.client.sendall(b"request")
        self.assertTrue(self.hears(9).endswith(b"!"))
        wait_until(lambda: self.echo.heard == b"req", f"there came {self.echo.heard!r}")

    def test_cut_on_the_way_back(self) -> None:
        """So many bytes of the answer come back."""
        self.relay.inject(Fault(Act.CUT, Way.TO_CLIENT, 3))
        self.client.sendall(b"request")
        self.assertEqual(self.hears(9), b"req!")
        self.assertEqual(self.echo.heard, b"request")

    def test_lost_answer(self) -> None:
        """The server has heard everything, the client nothing."""
        self.relay.inject(lost_answer())
        self.client.sendall(b"request")
        self.assertEqual(self.hears(1), b"!")
        self.assertEqual(self.echo.heard, b"request")

    def test_only_what_is_meant(self) -> None:
        """A fault waits for the data that it is for, and happens once."""
        self.relay.inject(lost_answer(b"PUT"))
        self.client.sendall(b"GET")
        self.assertEqual(self.hears(3), b"GET")
        self.assertEqual(self.relay.met, 0)
        self.client.sendall(b"PUT")
        self.assertEqual(self.hears(1), b"!")
        self.assertEqual(self.relay.met, 1)
        self.client = self.connect()
        self.client.sendall(b"PUT")
        self.assertEqual(self.hears(3), b"PUT")

    def test_stall(self) -> None:
        """What is held passes when everything is well again."""
        self.relay.inject(Fault(Act.STALL, Way.TO_SERVER, 2))
        self.client.sendall(b"request")
        self.assertEqual(self.hears(2), b"re")
        self.client.settimeout(0.1)
        self.assertRaises(TimeoutError, self.client.recv, 1)
        self.client.settimeout(PATIENCE)
        self.relay.heal()
        self.assertEqual(self.hears(5), b"quest")

    def test_late(self) -> None:
        """What was held is delivered even if its sender has given up long ago."""
        self.relay.inject(Fault(Act.STALL, Way.TO_SERVER))
        self.client.sendall(b"request")
        wait_until(lambda: self.relay.met, "it did not arrive")
        self.client.close()
        other = self.client = self.connect()  # whatever it says, it says later
        self.relay.heal()
        other.sendall(b".")
        self.assertEqual(self.hears(1), b".")
        wait_until(lambda: b"request" in self.echo.heard, "it never arrived")

    def test_delay(self) -> None:
        """Everything arrives in its order, later."""
        self.relay.inject(Fault(Act.DELAY, Way.TO_CLIENT, seconds=0.2))
        self.client.settimeout(0.1)
        self.client.sendall(b"one")
        self.assertRaises(TimeoutError, self.client.recv, 1)
        self.client.settimeout(PATIENCE)
        self.client.sendall(b"two")
        self.assertEqual(self.hears(6), b"onetwo")

    def test_refuse(self) -> None:
        """While it is away nobody gets through; then everybody does, at the same port."""
        self.relay.refuse()
        self.assertEqual(self.hears(1), b"!")
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.relay.heal()
        self.client = self.connect()
        self.client.sendall(b"ping")
        self.assertEqual(self.hears(4), b"ping")
