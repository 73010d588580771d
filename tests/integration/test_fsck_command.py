"""`s3orchestrator fsck`, on ledgers and directories that somebody has interfered with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, disks
from tests.running import COMMAND, fsck

KEYS = ("a", "a/b", "c")


class FsckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(self.directory)
        self.deployment.daemon.start()
        self.addCleanup(self.deployment.daemon.kill)
        self.client = self.deployment.client()
        for key in KEYS:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 100)

    def fsck(self, *options: str) -> tuple[int, str]:
        """Stop the daemon and check; returns the status and what was printed."""
        self.deployment.daemon.stop()
        ended = fsck(self.deployment.config_path, *options)
        self.assertEqual(ended.stderr.replace(_WARNING, ""), "")
        return ended.returncode, ended.stdout

    def change(self, statement: str) -> None:
        """Do what nobody should do to a ledger."""
        self.deployment.daemon.stop()
        self.deployment.ledger.change(statement)

    def file_of(self, key: str) -> Path:
        """Where an object's bytes are."""
        (place,) = self.deployment.ledger.locations()[f"{BUCKET}/{key}"]
        return self.directory / place.backend / place.name

    def test_in_use(self) -> None:
        """A ledger that a daemon holds is not looked at: 2, and what to do about it."""
        ended = fsck(self.deployment.config_path)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("Stop the daemon first", ended.stderr)
        self.assertEqual(ended.stdout, "")

    def test_clean(self) -> None:
        """Nothing is wrong."""
        self.assertEqual(self.fsck("--deep"), (0, "clean\n"))

    def test_strays(self) -> None:
        """What the ledger does not know is reported, and deleted only when asked for."""
        stray = self.directory / "disk2" / "not" / "ours.txt"
        stray.parent.mkdir()
        stray.write_bytes(b"somebody's")
        status, told = self.fsck("--deep", "--repair")
        self.assertEqual(status, 1)
        self.assertIn("stray: disk2: not/ours.txt: 10 bytes", told)
        self.assertIn("1 finding(s) left", told)
        self.assertTrue(stray.exists())
        status, told = self.fsck("--deep", "--delete-strays")
        self.assertEqual((status, stray.exists()), (0, False))

    def test_bytes_that_are_gone(self) -> None:
        """A row without its bytes is an error that nothing mends."""
        self.deployment.daemon.stop()
        self.file_of("c").unlink()
        status, told = self.fsck("--deep", "--repair", "--delete-strays")
        self.assertEqual(status, 1)
        self.assertIn("L3: ", told)
        self.assertIn("the bytes of 'c' are not there", told)

    def test_bytes_that_are_others(self) -> None:
        """An object that was written over is found by its size or its ETag."""
        self.deployment.daemon.stop()
        self.file_of("c").write_bytes(b"x")
        self.file_of("a").write_bytes(b"y" * 100)
        status, told = self.fsck("--deep")
        self.assertEqual(status, 1)
        self.assertIn("1 bytes instead of 100", told)
        self.assertEqual(told.count("L3: "), 2)

    def test_counters(self) -> None:
        """Counters that are off are reported, and mended when asked for."""
        self.change("UPDATE byte_counts SET live = live + 7")
        self.change("UPDATE backend_guards SET taken = 0 WHERE taken > 0")
        status, told = self.fsck()
        self.assertEqual(status, 1)
        self.assertIn("L4: ", told)
        self.assertEqual(self.fsck("--repair")[0], 0)
        self.assertEqual(self.fsck("--deep"), (0, "clean\n"))

    def test_lost_row(self) -> None:
        """A version without a blob is found, and the blob's bytes are a stray."""
        self.change("DELETE FROM blobs WHERE key = 'c'")
        status, told = self.fsck("--deep")
        self.assertEqual(status, 1)
        self.assertIn(f"L3: {BUCKET}/c: ", told)
        self.assertIn("stray: ", told)

    def test_unfinished_upload(self) -> None:
        """An upload that is open is no finding; one that the ledger does not know is a stray."""
        place = {"Bucket": BUCKET, "Key": "u"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        self.client.upload_part(**place, PartNumber=1, Body=b"part")
        self.assertEqual(self.fsck("--deep"), (0, "clean\n"))
        for table in ("parts", "uploads", "blobs WHERE multipart"):
            self.change(f"DELETE FROM {table}")
        status, told = self.fsck("--deep", "--repair")
        self.assertEqual(status, 1)
        self.assertIn("stray-upload: ", told)
        self.assertEqual(self.fsck("--deep", "--delete-strays")[0], 0)
        self.assertEqual(self.fsck("--deep"), (0, "clean\n"))

    def test_backend_left_out(self) -> None:
        """A backend that holds something and is not in the file any more is found."""
        self.deployment.daemon.stop()
        lines = self.deployment.configuration().splitlines(keepends=True)
        self.deployment.config_path.write_text("".join(line for line in lines if "disk1" not in line))
        status, told = self.fsck("--deep")
        self.assertEqual(status, 1)
        self.assertRegex(told, "^unreachable: disk1: holds [0-9]+ bytes, and is not in the configuration\n")
        self.deployment.daemon.start()
        self.assertIn("disk1 holds", self.deployment.daemon.tail())
        self.assertEqual(
            sorted(entry["Key"] for entry in self.client.list_objects_v2(Bucket=BUCKET)["Contents"]),
            sorted(KEYS),
        )

    def test_senseless_options(self) -> None:
        """Strays are only looked for with --deep."""
        command = [COMMAND, "fsck", "--config", str(self.deployment.config_path), "--delete-strays"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("--deep", ended.stderr)


class PostgresTests(SynchronousTestCase):
    """On a PostgreSQL ledger, where whoever changes a backend must hold a lease."""

    def test_strays(self) -> None:
        """What the ledger does not know is deleted when asked for."""
        deployment = disks(Path(self.mktemp()).absolute(), driver="postgres")
        deployment.daemon.start()
        self.addCleanup(deployment.daemon.kill)
        deployment.client().put_object(Bucket=BUCKET, Key="k", Body=b"data")
        deployment.daemon.stop()
        stray = deployment.directory / "disk1" / "stray.txt"
        stray.write_bytes(b"somebody's")
        ended = deployment.fsck("--deep", "--delete-strays")
        self.assertEqual((ended.returncode, stray.exists()), (0, False), ended.stdout + ended.stderr)
        self.assertEqual(deployment.fsck("--deep").stdout, "clean\n")


class MissingTests(SynchronousTestCase):
    """A mistyped name is not checked as if it were an empty ledger, and no ledger is made there."""

    def test_sqlite(self) -> None:
        """There is no file of that name, and there is none afterwards."""
        deployment = disks(Path(self.mktemp()).absolute(), driver="sqlite")
        ended = fsck(deployment.config_path)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn(f"there is no ledger at {deployment.directory / 'ledger.db'}", ended.stderr)
        self.assertFalse((deployment.directory / "ledger.db").exists())

    def test_postgres(self) -> None:
        """There are no tables in that database, and there are none afterwards."""
        deployment = disks(Path(self.mktemp()).absolute(), driver="postgres")
        ended = fsck(deployment.config_path)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn("is database.database right?", ended.stderr)
        tables = deployment.ledger.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
        self.assertEqual(tables, [])


_WARNING = (
    "s3orchestrator: warning: replication.factor: is 1, and this release knows no more: each object is on"
    " one backend only, and cannot be read while that one is away\n"
)
