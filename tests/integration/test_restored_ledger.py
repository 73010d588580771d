"""A ledger that was restored from a backup, with real daemons and directories: nothing newer is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, digest, disks
from tests.running import fsck, wait_until

_WARNING = (
    "s3orchestrator: warning: replication.factor: is 1, and this release knows no more: each object is on"
    " one backend only, and cannot be read while that one is away\n"
)
OLD, NEW = b"before the backup", b"after the backup, and longer"


class RestoredTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(self.directory, driver="sqlite")
        self.daemon = self.deployment.daemon
        self.addCleanup(self.daemon.kill)
        self.backup = self.directory / "backup.db"
        self.acknowledged: dict[str, bytes] = {}

    def client(self) -> Any:
        return self.deployment.client()

    def put(self, key: str, data: bytes, **more: Any) -> None:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=data, **more)
        self.acknowledged[key] = data

    def delete(self, key: str) -> None:
        self.client().delete_object(Bucket=BUCKET, Key=key)
        del self.acknowledged[key]

    def back_up(self) -> None:
        """As an operator does it while the daemon runs."""
        with (
            closing(sqlite3.connect(self.directory / "ledger.db")) as ledger,
            closing(sqlite3.connect(self.backup)) as backup,
        ):
            ledger.backup(backup)

    def restore(self) -> None:
        for path in self.directory.glob("ledger.db*"):
            path.unlink()
        shutil.copy(self.backup, self.directory / "ledger.db")

    def upload(self, key: str) -> None:
        place = {"Bucket": BUCKET, "Key": key}
        client = self.client()
        place["UploadId"] = client.create_multipart_upload(**place)["UploadId"]
        datas = [bytes(5 << 20), b"the end"]
        parts = [
            {"PartNumber": number, "ETag": client.upload_part(**place, PartNumber=number, Body=data)["ETag"]}
            for number, data in enumerate(datas, 1)
        ]
        client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        self.acknowledged[key] = b"".join(datas)

    def work_on(self) -> None:
        """What happens after the backup was made: names are used again among other things."""
        self.put("overwritten", NEW, Metadata={"colour": "blue"}, ContentType="text/x-new")
        self.put("new", NEW)
        self.upload("large")
        self.delete("deleted")
        self.put("long/" + "n" * 1000, NEW)
        self.delete("reused")
        wait_until(self._has_rested, "a name did not end its rest")
        self.put("reused", NEW)

    def _has_rested(self) -> bool:
        rows = self.deployment.ledger.query(
            f"SELECT 1 FROM blobs WHERE name = '{BUCKET}/reused' AND state <> 'live'"
        )
        return not rows

    def begin(self) -> None:
        self.daemon.start()
        for key in ("overwritten", "deleted", "reused", "kept"):
            self.put(key, OLD + key.encode())
        self.back_up()
        # A plain name rests for longer than it takes to raise a number; here a restart does so.
        self.daemon.stop()
        self.daemon.start()
        self.work_on()
        self.assertEqual(self.deployment.ledger.locations()[f"{BUCKET}/reused"][0].name, f"{BUCKET}/reused")

    def held(self) -> dict[str, str]:
        """All bytes on both disks."""
        return {
            f"{name}/{path}": found
            for name, storage in self.deployment.storage.items()
            for path, found in storage.digests().items()
        }

    def read(self) -> dict[str, str]:
        client = self.client()
        found = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for entry in page.get("Contents", []):
                body = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = digest(body)
        return found

    def expected(self) -> dict[str, str]:
        return {key: digest(data) for key, data in self.acknowledged.items()}

    def test_behind(self) -> None:
        """
        Started with an old ledger, a daemon says so and deletes nothing, whatever its clients ask; what it
        is given is stored beside. `fsck --restored` takes in all that was acknowledged.
        """
        self.begin()
        self.daemon.stop()
        before = self.held()
        self.restore()
        self.daemon.start()
        self.assertIn("the ledger is behind", self.daemon.log.read_text())
        client = self.client()
        client.delete_object(Bucket=BUCKET, Key="reused")
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "deleted"}, {"Key": "kept"}]})
        del self.acknowledged["kept"]
        self.put("meanwhile", b"while behind")
        self.put("overwritten", b"again, while behind")
        self.daemon.stop()
        after = self.held()
        self.assertEqual({name: after.get(name) for name in before}, before)

        ended = fsck(self.deployment.config_path, "--restored")
        self.assertEqual((ended.returncode, ended.stderr), (0, _WARNING), ended.stdout)
        self.assertIn("taken-in: ", ended.stdout)
        again = fsck(self.deployment.config_path, "--restored")
        self.assertNotIn("taken-in", again.stdout)
        after = self.held()
        self.assertEqual({name: after.get(name) for name in before}, before)

        self.assertEqual(fsck(self.deployment.config_path).stdout, "clean\n")
        self.daemon.start()
        self.assertEqual(self.read(), self.expected())
        found = client.head_object(Bucket=BUCKET, Key="new")
        self.assertEqual(found["ETag"].strip('"'), md5(NEW).hexdigest())

    def test_declared(self) -> None:
        """Declared before the daemon is started, all is as it was, metadata and ETags included."""
        self.begin()
        client = self.client()
        told = {key: client.head_object(Bucket=BUCKET, Key=key) for key in self.acknowledged}
        self.daemon.kill()
        self.restore()
        ended = fsck(self.deployment.config_path, "--restored", "--json")
        document = json.loads(ended.stdout)
        self.assertEqual((ended.returncode, document["behind"], document["left"]), (1, [], 1), ended.stdout)
        (missing,) = [finding for finding in document["findings"] if not finding["mended"]]
        self.assertEqual(missing["rule"], "suspect")
        self.assertIn("'deleted' cannot be read", missing["message"])
        taken = {finding["subject"] for finding in document["findings"] if finding["rule"] == "taken-in"}
        self.assertEqual(len(taken), 5, taken)
        self.daemon.start()
        client.delete_object(Bucket=BUCKET, Key="deleted")  # as was done before
        self.assertEqual(self.read(), self.expected())
        for key, former in told.items():
            now = client.head_object(Bucket=BUCKET, Key=key)
            for name in ("ETag", "ContentLength", "ContentType", "Metadata"):
                self.assertEqual(now[name], former[name], (key, name))
        self.deployment.settle()
        self.daemon.stop()
        self.assertEqual(
            self.deployment.problems({f"{BUCKET}/{key}": value for key, value in self.expected().items()}), []
        )
