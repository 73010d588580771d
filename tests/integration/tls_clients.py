"""A daemon with TLS listeners, and clients that may do to it what no library would."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.asking import Caller
from tests.integration.disks import MIB, Disks, disks
from tests.integration.s3_server import IN_MEMORY
from tests.integration.scraping import Scraped
from tests.ports import free_port
from tests.running import PATIENCE, fetch, wait_until
from tests.secured import Secured

LARGE = 200 * MIB
HEADER_TIMEOUT = 3.0
WRITE_TIMEOUT = 4.0
SETTINGS = {
    "log_level": "debug",
    "read_header_timeout": f"{HEADER_TIMEOUT}s",
    "read_timeout": "3s",
    "write_timeout": f"{WRITE_TIMEOUT}s",
    "backend_timeout": "2s",
}
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


class TlsCase(SynchronousTestCase):
    """One daemon for a class; whatever its clients do, it must neither log a traceback nor keep anything."""

    on_socket = True
    deployment: Disks
    secured: Secured
    metrics: int

    @classmethod
    def setUpClass(cls) -> None:
        directory = Path(mkdtemp(prefix="s3o-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        cls.deployment = disks(directory, driver="sqlite")
        cls.secured = Secured(directory / "tls", cls.deployment.daemon.port, cls.on_socket)
        config = cls.deployment.config_path
        cls.secured.secure(config, SETTINGS)
        # A listener of its own: each worker would give out pages that were made before those of others.
        cls.metrics = free_port()
        metrics = f'{{enabled: true, listen: "127.0.0.1:{cls.metrics}"}}'
        config.write_text(f"{config.read_text()}telemetry: {{metrics: {metrics}}}\n")
        cls.deployment.daemon.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.deployment.daemon.stop()
        rmtree(cls.deployment.directory)

    def setUp(self) -> None:
        self.log = self.deployment.daemon.log
        self.logged = self.log.stat().st_size
        self.addCleanup(self.see_that_nothing_is_left)

    def see_that_nothing_is_left(self) -> None:
        """All connections are forgotten, others are served, and nothing in the log says that we were hit."""
        self.await_connections(0)
        with self.connect() as connection:
            self.assertEqual(status(connection, HEALTH), 200)
        said = self.log.read_text()[self.logged :]
        for sign in ("Traceback", "Unhandled", '"level": "error"', '"level":"error"'):
            self.assertNotIn(sign, said)

    def await_connections(self, count: int, patience: float = PATIENCE) -> None:
        """Wait until so many clients are counted."""
        wait_until(lambda: self.connections() == count, f"not {count} connections", patience)

    def connections(self) -> float:
        """How many clients there are besides the one who asks."""
        page = Scraped(fetch(f"http://127.0.0.1:{self.metrics}/metrics").body.decode())
        return page.total("s3o_connections") - 1

    def plain(self, port: int | None = None, receive_buffer: int = 0) -> socket.socket:
        """A connection to a listener, which is going to be closed."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", port or self.secured.tls))
        return connection

    def connect(
        self, context: ssl.SSLContext | None = None, port: int | None = None, receive_buffer: int = 0
    ) -> ssl.SSLSocket:
        """A connection with TLS."""
        context = context or self.secured.context()
        plain = self.plain(port, receive_buffer)
        # Or an end without TLS' own good-bye would look like one with it.
        return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def caller(self) -> Caller:
        return Caller(("127.0.0.1", self.secured.tls), "photoskey", "photossecret")

    def hello(self) -> bytes:
        """What a client says first."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.secured.context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()


def status(connection: ssl.SSLSocket, request: bytes) -> int:
    connection.sendall(request)
    return int(connection.recv(1000).split()[1])


def everything(client: socket.socket) -> bytes:
    """What comes until the connection is closed in an orderly way."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def received(client: socket.socket) -> int:
    """How many bytes come until the connection ends, in whatever way."""
    count = 0
    with contextlib.suppress(OSError):
        while data := client.recv(MIB):
            count += len(data)
    return count


def ends(client: socket.socket) -> bool:
    """Wait for the end of a connection, or its reset."""
    try:
        return not everything(client)
    except (ConnectionError, ssl.SSLEOFError):
        return True


def has_ended(client: socket.socket) -> bool:
    """Whether a connection has ended by now."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        client.settimeout(PATIENCE)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
