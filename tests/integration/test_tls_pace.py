"""Uploads over TLS go no faster than the backends take them."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar

from tests.integration.asking import PATIENCE, UNSIGNED
from tests.integration.disks import MIB, at_once
from tests.integration.s3_server import ServerCase
from tests.integration.slow_backend import SlowBackend
from tests.ports import free_port
from tests.unit.web.certificates import Authority

SIZE = 20 * MIB  # times as many as there are clients, the quotas still allow
CLIENTS = 20


class SlowBackendTests(ServerCase):
    """Backends that take nothing for a while."""

    on_socket = True
    memory_class = SlowBackend
    settings: ClassVar[dict[str, Any]] = {}
    directory: Path
    port: int
    context: ssl.SSLContext

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(tempfile.mkdtemp())
        authority, cls.port = Authority(), free_port()
        cert_file, key_file = authority.issue("server", cls.directory)
        cls.context = ssl.create_default_context(cafile=authority.write(cls.directory / "ca.crt"))
        tls = {"cert_file": cert_file, "key_file": key_file, "on_socket": cls.on_socket}
        cls.settings = {
            "listen_addr": "",
            "listeners": [{"address": "127.0.0.1:0"}, {"address": f"127.0.0.1:{cls.port}", "tls": tls}],
        }
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        rmtree(cls.directory)

    def begin(self, number: int) -> ssl.SSLSocket:
        """Begin an upload, whose body has yet to come."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        self.addCleanup(plain.close)
        client = self.context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(client.close)
        headers = {"content-length": str(SIZE)}
        client.sendall(self.alice.request("PUT", f"/photos/{number}", headers=headers, payload_hash=UNSIGNED))
        return client

    def test_uploads(self) -> None:
        """
        What clients send waits on their side, however many there are; once the backends take it, all arrives.
        """
        for name in ("a", "b"):
            self.server.run(self.server.memory(name).hold)
        clients = [self.begin(number) for number in range(CLIENTS)]
        before = _resident()
        sent = at_once(lambda number: _send(clients[number], SIZE, patience=1.0), CLIENTS)
        more = _resident() - before
        self.assertLess(max(sent), 16 * MIB)  # what the kernel holds
        self.assertLess(more, 60 * MIB)
        for client in clients[2:]:
            client.close()
        for name in ("a", "b"):
            self.server.run(self.server.memory(name).release)
        for number, client in enumerate(clients[:2]):
            self.assertEqual(_send(client, SIZE - sent[number], patience=PATIENCE), SIZE - sent[number])
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))
            shown = self.alice.ask("HEAD", f"/photos/{number}")
            self.assertEqual(shown.header("content-length"), str(SIZE))


class InMemoryTests(SlowBackendTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


def _send(client: ssl.SSLSocket, size: int, patience: float) -> int:
    """Send as much as is taken, until nothing is for `patience` seconds; return how much that was."""
    client.settimeout(patience)
    sent, piece = 0, bytes(16384)  # a record of TLS, which is taken whole or not at all
    with contextlib.suppress(TimeoutError):
        while sent < size:
            sent += client.send(piece[: size - sent])
    return sent


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
