"""Two daemons on one PostgreSQL ledger: what one leaves behind, and what it hears of the other."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from twisted.trial.unittest import SynchronousTestCase

from tests.forked import ForkedDaemon
from tests.ledgers import ledger
from tests.ports import free_port
from tests.running import Daemon, DirectoryStorage, fsck, wait_until
from tests.workers import PROCESSES

MIB = 1 << 20

_CONFIGURATION = """\
server: {{listen_addr: "127.0.0.1:${{S3O_PORT}}"}}
{ledger}
write_path: {{quiet_period: 1s, pending_pattern: {{reaper_interval: 1s, min_age: 1s}}}}
backends:
  - {{name: disk, type: directory, path: "{disk}"}}
users:
  - {{name: alice, credentials: [{{access_key_id: alice, secret_access_key: secret}}], create_buckets: true}}
"""


class InstancesTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        chosen = ledger(directory, "postgres")
        self.rows, self.disk = chosen.rows, DirectoryStorage(directory / "disk")
        self.config = directory / "s3orchestrator.yaml"
        self.config.write_text(_CONFIGURATION.format(ledger=chosen.line, disk=directory / "disk"))
        self.one, self.two = self.daemon(directory / "one.log"), self.daemon(directory / "two.log")
        for daemon in (self.one, self.two):
            self.addCleanup(daemon.kill)
            daemon.start()

    def daemon(self, log: Path) -> Daemon:
        port = free_port()
        environment = {**os.environ, "S3O_PORT": str(port)}
        return ForkedDaemon(["serve", "--config", str(self.config)], port, log, environment)

    def client(self, daemon: Daemon) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=daemon.endpoint,
            region_name="us-east-1",
            aws_access_key_id="alice",
            aws_secret_access_key="secret",
            config=Config(
                retries={"total_max_attempts": 1},
                signature_version="s3v4",
                s3={"addressing_style": "path"},
            ),
        )

    def count(self, rows: str) -> int:
        ((count,),) = self.rows.query(f"SELECT count(*) FROM {rows}")
        return int(count)

    def buckets(self, daemon: Daemon) -> list[str]:
        return [bucket["Name"] for bucket in self.client(daemon).list_buckets()["Buckets"]]

    def test_buckets(self) -> None:
        """
        A bucket made or removed through one instance is there, or not, for the other, a moment later.
        """
        one, two = self.client(self.one), self.client(self.two)
        one.create_bucket(Bucket="docs")
        wait_until(lambda: self.buckets(self.two) == ["docs"], "the bucket is not heard of", 10)
        two.put_object(Bucket="docs", Key="k", Body=b"bytes")
        self.assertEqual(one.get_object(Bucket="docs", Key="k")["Body"].read(), b"bytes")
        one.delete_object(Bucket="docs", Key="k")
        two.delete_bucket(Bucket="docs")
        wait_until(lambda: self.buckets(self.one) == [], "its end is not heard of", 10)

    def test_killed(self) -> None:
        """
        What an instance was writing when it died is gone once its lease has lapsed; what it stored is not.
        """
        self.client(self.one).create_bucket(Bucket="docs")
        self.client(self.one).put_object(Bucket="docs", Key="kept", Body=b"kept")
        with closing(self.put_half("half")):
            pending = "blobs WHERE state = 'pending' AND key = 'half'"
            wait_until(lambda: self.count(pending), "nothing is being written")
            ((owner,),) = self.rows.query(f"SELECT owner FROM {pending}")
            self.one.kill()
        self.assertEqual(self.count(pending), 1)
        self.let_lapse(owner)
        wait_until(lambda: not self.count("blobs WHERE key = 'half'"), "it is not cleaned up")
        wait_until(lambda: not self.count(f"owners WHERE id = {owner}"), "its owner is not forgotten")
        self.assertEqual(self.client(self.two).get_object(Bucket="docs", Key="kept")["Body"].read(), b"kept")
        self.two.stop()
        self.assertEqual(self.count("owners"), PROCESSES - 1)  # those that died with it
        self.assertEqual(list(self.disk.digests()), ["docs/kept"])

    def test_not_checked_meanwhile(self) -> None:
        """
        A ledger that instances work on is not for commands that need it to stand still.

        Two that are killed have it until their leases lapse; stopped, they hand it back at once.
        """
        self.one.kill()
        self.two.stop()
        ended = fsck(self.config, "--deep")
        self.assertEqual(ended.returncode, 2, ended.stdout)
        self.assertIn(f"in use by {PROCESSES} process(es)", ended.stderr)
        for (owner,) in self.rows.query("SELECT id FROM owners"):
            self.let_lapse(owner)
        self.assertEqual((fsck(self.config, "--deep").stdout, self.count("owners")), ("clean\n", PROCESSES))

    def put_half(self, key: str) -> socket.socket:
        """Begin to upload an object through the first instance, and stop in the middle."""
        url = urlsplit(
            self.client(self.one).generate_presigned_url("put_object", {"Bucket": "docs", "Key": key})
        )
        connection = socket.create_connection(("127.0.0.1", self.one.port))
        head = (
            f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {8 * MIB}\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(4 * MIB))
        return connection

    def let_lapse(self, owner: int) -> None:
        """Let the lease of an owner have lapsed long ago: nobody wants to wait for it."""
        self.rows.change(f"UPDATE owners SET lease_until_ms = 0 WHERE id = {owner}")
