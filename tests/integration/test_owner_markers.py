"""Whose a bucket is: daemons that share one, take another's for theirs, or die while they mark it (L9)."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
from attrs import define
from botocore.config import Config
from botocore.exceptions import ClientError
from twisted.trial.unittest import SynchronousTestCase

from tests import servers
from tests.forked import FAULTY, ForkedDaemon, fork_server
from tests.integration.disks import at_once, digest
from tests.ledgers import ledger
from tests.ports import free_port
from tests.running import COMMAND, MARKER, Daemon, fsck, wait_until

TOKEN = "known-to-operators-only"

_CONFIGURATION = """\
server: {{listen_addr: "127.0.0.1:${{S3O_PORT}}", workers: {workers}}}
{ledger}
write_path: {{quiet_period: 2s}}
ui: {{admin_token: {token}}}
backends:
  - {{name: bucket, endpoint: "{server.endpoint}", bucket: "{bucket}", region: us-east-1,
     access_key_id: "{server.access_key_id}", secret_access_key: "{server.secret_access_key}",
     force_path_style: true}}
buckets:
  - {{name: photos, credentials: [{{access_key_id: photoskey, secret_access_key: photossecret}}]}}
"""


@define(eq=False)
class Site:
    """A ledger of its own before a bucket of an S3 service."""

    directory: Path
    server: servers.Server
    driver: str = "sqlite"
    line: str = ""
    workers: int = 1

    @property
    def config(self) -> Path:
        return self.directory / "s3orchestrator.yaml"

    def configure(self, bucket: str) -> None:
        """Write the file; the ledger is made the first time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.line = self.line or ledger(self.directory, self.driver).line
        values = {"ledger": self.line, "token": TOKEN, "server": self.server, "bucket": bucket}
        self.config.write_text(_CONFIGURATION.format(**values, workers=self.workers))

    def daemon(self, name: str = "serve") -> Daemon:
        port = free_port()
        environment = {**os.environ, "S3O_PORT": str(port)}
        log = self.directory / f"{name}.log"
        return ForkedDaemon(["serve", "--config", str(self.config)], port, log, environment)


def client_of(daemon: Daemon) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=daemon.endpoint,
        region_name="us-east-1",
        aws_access_key_id="photoskey",
        aws_secret_access_key="photossecret",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    daemon.clients.add(client)
    return client


class MarkerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = servers.moto()
        self.bucket = self.server.make_bucket()
        self.there = self.server.client()

    def site(self, name: str, bucket: str = "", driver: str = "sqlite", workers: int = 1) -> Site:
        site = Site(Path(self.mktemp()).absolute() / name, self.server, driver, workers=workers)
        site.configure(bucket or self.bucket)
        return site

    def started(self, site: Site, name: str = "serve") -> Daemon:
        daemon = site.daemon(name)
        self.addCleanup(daemon.kill)
        daemon.start()
        return daemon

    def names(self, bucket: str = "") -> set[str]:
        """What the bucket holds, but for what is left of finding out what it can do."""
        listed = self.there.list_objects_v2(Bucket=bucket or self.bucket).get("Contents", [])
        return {entry["Key"] for entry in listed if not entry["Key"].startswith("~s3o/probe~")}

    def marker(self) -> str:
        text: str = self.there.get_object(Bucket=self.bucket, Key=MARKER)["Body"].read().decode()
        return text

    def status_of(self, site: Site, daemon: Daemon) -> tuple[dict[str, Any], str]:
        """What `admin status` says of the backend, and what it prints."""
        command = [COMMAND, "admin", "status", "--url", daemon.endpoint]
        environment = {**os.environ, "S3O_ADMIN_TOKEN": TOKEN}
        printed = [
            subprocess.run([*command, *more], capture_output=True, text=True, check=True, env=environment)
            for more in (["--json"], [])
        ]
        (backend,) = json.loads(printed[0].stdout)["backends"]
        return backend, printed[1].stdout

    def assertUnavailable(self, work: Any) -> None:
        with self.assertRaises(ClientError) as raised:
            work()
        self.assertEqual(raised.exception.response["Error"]["Code"], "ServiceUnavailable")


class TwoLedgersTests(MarkerCase):
    def test_one_bucket(self) -> None:
        """
        The second of two ledgers on one bucket changes nothing there, says whose it is and what to do, and
        does not disturb the first. Clients of both see no marker.
        """
        first, second = self.site("first"), self.site("second")
        one = self.started(first)
        client = client_of(one)
        client.put_object(Bucket="photos", Key="k", Body=b"first's")
        two = self.started(second)
        other = client_of(two)
        self.assertUnavailable(lambda: other.put_object(Bucket="photos", Key="k", Body=b"second's"))
        self.assertEqual(self.names(), {MARKER, "photos/k"})
        backend, printed = self.status_of(second, two)
        self.assertEqual(backend["standing"], "other-ledger")
        self.assertRegex(
            backend["standing_reason"],
            r"^it belongs to ledger \w+, and this is ledger \w+; if that is a mistake in the configuration,"
            r" correct it; if the backend is this ledger's, stop the daemon and run"
            r" s3orchestrator fsck --claim bucket$",
        )
        self.assertIn("another ledger's: nothing is written or deleted", printed)
        self.assertIn(f"bucket: {backend['standing_reason']}", printed)
        self.assertIn("nothing is written or deleted there: it belongs to ledger", two.log.read_text())
        client.put_object(Bucket="photos", Key="k", Body=b"first's again")
        self.assertEqual(client.get_object(Bucket="photos", Key="k")["Body"].read(), b"first's again")
        self.assertEqual(self.status_of(first, one)[0]["standing"], "ours")
        for listing in (client, other):
            listed = listing.list_objects_v2(Bucket="photos").get("Contents", [])
            self.assertNotIn(MARKER, [entry["Key"] for entry in listed])

    def test_claimed(self) -> None:
        """An operator who says so has it."""
        first, second = self.site("first"), self.site("second")
        one, two = self.started(first), self.started(second)
        one.stop()
        two.stop()
        ended = fsck(second.config, "--claim", "bucket")
        self.assertEqual((ended.returncode, ended.stdout), (0, "clean\n"), ended.stderr)
        two.start()
        client_of(two).put_object(Bucket="photos", Key="k", Body=b"second's")
        two.stop()
        one.start()
        self.assertUnavailable(lambda: client_of(one).put_object(Bucket="photos", Key="k", Body=b"no"))
        one.stop()
        self.assertEqual(fsck(second.config, "--claim", "nowhere").returncode, 2)

    def test_mistyped(self) -> None:
        """Another bucket is not written to, though it is empty; corrected, all is as before."""
        site = self.site("one")
        daemon = self.started(site)
        client_of(daemon).put_object(Bucket="photos", Key="k", Body=b"data")
        daemon.stop()
        wrong = self.server.make_bucket()
        site.configure(wrong)
        daemon = self.started(site, "mistyped")
        client = client_of(daemon)
        self.assertUnavailable(lambda: client.put_object(Bucket="photos", Key="l", Body=b"more"))
        self.assertUnavailable(lambda: client.get_object(Bucket="photos", Key="k"))
        client.delete_object(Bucket="photos", Key="k")
        self.assertEqual(self.names(wrong), set())
        self.assertEqual(self.status_of(site, daemon)[0]["standing"], "no-marker")
        daemon.stop()
        self.assertEqual(self.names(), {MARKER, "photos/k"})
        site.configure(self.bucket)
        daemon = self.started(site, "corrected")
        client_of(daemon).put_object(Bucket="photos", Key="l", Body=b"more")

    def test_filled_before_there_were_markers(self) -> None:
        """A bucket that an earlier release filled is marked at the first start, and goes on."""
        site = self.site("one")
        daemon = self.started(site)
        client_of(daemon).put_object(Bucket="photos", Key="k", Body=b"data")
        daemon.stop()
        self.there.delete_object(Bucket=self.bucket, Key=MARKER)
        self.forget_marker(site)
        daemon = self.started(site, "upgraded")
        self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ours")
        client_of(daemon).put_object(Bucket="photos", Key="l", Body=b"more")
        self.assertIn("number: 1\n", self.marker())

    def forget_marker(self, site: Site) -> None:
        with closing(sqlite3.connect(site.directory / "ledger.db")) as rows:
            rows.execute("UPDATE backends SET marker = 0, marked_ms = 0")
            rows.commit()


class CrashTests(MarkerCase):
    def test_at_every_effect_of_a_start(self) -> None:
        """Killed at any of the first effects on the world, a daemon starts again, and has its bucket."""
        for number in range(1, 14):
            site = self.site(f"crash{number}", self.server.make_bucket())
            when = "after" if number % 2 else "before"
            dying = fork_server().run(
                FAULTY,
                ["--config", str(site.config), "--kill-at", str(number), "--when", when],
                site.directory / "dying.log",
                environment={**os.environ, "S3O_PORT": str(free_port())},
            )
            self.assertEqual(dying.wait(60), -9)
            daemon = self.started(site)
            client_of(daemon).put_object(Bucket="photos", Key="k", Body=b"data")
            self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ours", number)
            daemon.stop()


class InstancesTests(MarkerCase):
    def test_at_once(self) -> None:
        """Two daemons that begin on a new bucket at the same time make one marker, and both serve."""
        site = self.site("two", driver="postgres")
        daemons = [site.daemon(name) for name in ("one", "two")]
        for daemon in daemons:
            self.addCleanup(daemon.kill)
        at_once(lambda number: daemons[number].start(), len(daemons))
        for number, daemon in enumerate(daemons):
            client_of(daemon).put_object(Bucket="photos", Key=f"k{number}", Body=b"data")
            self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ours")
        # How often, is a matter of how long this took.
        wait_until(lambda: "number: 0\n" not in self.marker(), "not raised")
        for daemon in daemons:
            self.assertNotIn("nothing is", daemon.log.read_text())

    def test_several_processes(self) -> None:
        """
        Several processes of one daemon have one marker, and none of them deletes or takes a plain name where
        the ledger is behind.
        """
        site = self.site("several", workers=2)
        daemon = self.started(site)
        client_of(daemon).put_object(Bucket="photos", Key="k", Body=b"data")
        self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ours")
        self.assertEqual(self.names(), {MARKER, "photos/k"})
        daemon.stop()
        self.fall_behind(site)
        daemon = self.started(site, "behind")
        for number in range(8):  # each time a process that is chosen anew
            with closing(client_of(daemon)) as client:
                client.put_object(Bucket="photos", Key=f"new{number}", Body=b"more")
                client.put_object(Bucket="photos", Key="k", Body=str(number).encode())
        with closing(client_of(daemon)) as client:
            client.delete_object(Bucket="photos", Key="k")
        names = self.names()
        self.assertEqual(len(names), 2 + 8 + 8, names)
        self.assertEqual({name for name in names if "~" not in name}, {"photos/k"})
        self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ledger-behind")

    def fall_behind(self, site: Site) -> None:
        with closing(sqlite3.connect(site.directory / "ledger.db")) as rows:
            rows.execute("UPDATE backends SET is_behind = TRUE")
            rows.commit()


class RestoredTests(MarkerCase):
    def test_postgres(self) -> None:
        """A database that was dumped and restored into another takes in what was stored since."""
        site = self.site("dumped", driver="postgres")
        daemon = self.started(site)
        client = client_of(daemon)
        client.put_object(Bucket="photos", Key="kept", Body=b"kept")
        client.put_object(Bucket="photos", Key="overwritten", Body=b"old")
        daemon.stop()
        former = site.line
        server = servers.postgres()
        name = former.partition(", database: ")[2].partition(",")[0]
        copy = f"{name}_copy"
        server.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")
        daemon.start()
        for key in ("overwritten", "new"):
            client.put_object(Bucket="photos", Key=key, Body=key.encode())
        daemon.stop()
        site.line = former.replace(f"database: {name}", f"database: {copy}")
        site.configure(self.bucket)
        daemon.start()
        self.assertEqual(self.status_of(site, daemon)[0]["standing"], "ledger-behind")
        client.put_object(Bucket="photos", Key="meanwhile", Body=b"meanwhile")
        daemon.stop()
        ended = fsck(site.config, "--restored")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertEqual(fsck(site.config).stdout, "clean\n")
        daemon.start()
        expected = {key: key.encode() for key in ("kept", "overwritten", "new", "meanwhile")}
        found = {
            entry["Key"]: client.get_object(Bucket="photos", Key=entry["Key"])["Body"].read()
            for entry in client.list_objects_v2(Bucket="photos")["Contents"]
        }
        self.assertEqual(
            {key: digest(data) for key, data in found.items()},
            {key: digest(data) for key, data in expected.items()},
        )
