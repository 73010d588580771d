"""What clients over TLS make a daemon keep in memory."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.measuring import forget_peak, peak
from tests.clients.deployment import boto3_client
from tests.integration.disks import BUCKET, disks
from tests.servers import free_port
from tests.unit.web.certificates import Authority

MIB = 1 << 20
SIZE = 200 * MIB
READERS = 8
MOST = 48 * MIB  # of growth: some 600 KiB for each who does not read, and what a transfer under way needs


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        deployment = disks(self.directory, driver="sqlite")
        authority = Authority()
        cert_file, key_file = authority.issue("server", self.directory)
        self.ca_file = authority.write(self.directory / "ca.pem")
        plain = f'listen_addr: "127.0.0.1:{deployment.daemon.port}"'
        self.port = free_port()
        text = deployment.configuration()
        self.assertIn(plain, text)
        secure = (
            f'address: "127.0.0.1:{self.port}", tls: {{cert_file: "{cert_file}", key_file: "{key_file}"}}'
        )
        both = f'listeners: [{{address: "127.0.0.1:{deployment.daemon.port}"}}, {{{secure}}}]'
        deployment.config_path.write_text(text.replace(plain, both))
        self.daemon = deployment.daemon
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.client = boto3_client(
            f"https://127.0.0.1:{self.port}", "photoskey", "photossecret",
            verify=self.ca_file, signature_version="s3v4",
        )  # fmt: skip

    def reader(self, path: str) -> ssl.SSLSocket:
        """Ask for `path`, and read the beginning of the answer only."""
        plain = socket.socket()
        self.addCleanup(plain.close)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plain.settimeout(30)
        plain.connect(("127.0.0.1", self.port))
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(connection.close)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n"))
        return connection

    def test_readers_that_stop(self) -> None:
        """
        Large objects that go up and down, some of them to clients that have stopped reading,
        make a daemon no larger.
        """
        data = bytes(range(256)) * (SIZE // 256)
        # What a first transfer makes it import and allocate is not what is meant.
        self.client.put_object(Bucket=BUCKET, Key="first", Body=data[:MIB])
        self.client.get_object(Bucket=BUCKET, Key="first")["Body"].read()
        before = self.daemon.resident()
        forget_peak(self.daemon.pid)
        self.client.put_object(Bucket=BUCKET, Key="large", Body=data)
        url = urlsplit(self.client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "large"}))
        readers = [self.reader(f"{url.path}?{url.query}") for _ in range(READERS)]
        # While this one reads everything, the others could have been read for as well.
        digest = hashlib.sha256(self.client.get_object(Bucket=BUCKET, Key="large")["Body"].read())
        self.assertEqual(digest.hexdigest(), hashlib.sha256(data).hexdigest())
        self.assertLess(peak(self.daemon.pid) - before, MOST)
        for reader in readers:
            reader.close()
