"""A standby takes over without the last transactions: what was acknowledged is not destroyed (L9)."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.database import Database
from tests.faults.site import BUCKET, Site, contents, disk, site
from tests.running import DirectoryStorage, wait_until

OLD, NEW = b"known to the standby", b"not known to the standby"


class FailedOverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = Database()
        self.addCleanup(self.database.stop)
        directory = Path(self.mktemp()).absolute()
        self.disk: DirectoryStorage = DirectoryStorage(directory / "one")
        ledger = self.database.ledger()
        self.site: Site = site(directory, {"one": disk(directory / "one")}, ledger=ledger)
        self.addCleanup(self.site.daemon.kill)
        self.acknowledged: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.assertEqual(self.site.client(patience=30.0).put(key, data).status, 200)
        self.acknowledged[key] = data

    def fail_over(self) -> None:
        """Have a standby take over that does not know of the last writes."""
        self.site.daemon.start()
        for key in ("kept", "overwritten", "deleted-later"):
            self.put(key, OLD)
        self.site.daemon.stop()
        self.database.keep_copy()
        self.site.daemon.start()
        self.put("overwritten", NEW)
        self.put("new", NEW)
        self.database.fail_over()

    def is_noticed(self) -> bool:
        return "the ledger may be behind its backends" in self.site.daemon.log.read_text()

    def test_without_the_last_writes(self) -> None:
        """
        A daemon that goes on notices it as soon as it has the database again, serves, and deletes nothing.
        `fsck --restored` takes in what the standby did not know.
        """
        self.fail_over()
        wait_until(self.is_noticed, "it does not notice")
        before = self.disk.digests()
        client = self.site.client(patience=30.0)
        wait_until(lambda: client.delete("deleted-later").status == 204, "it does not serve")
        del self.acknowledged["deleted-later"]
        self.put("meanwhile", b"while behind")
        self.site.daemon.stop()
        after = self.disk.digests()
        self.assertEqual({name: after.get(name) for name in before}, before)
        self.site.hasten()
        ended = self.site.fsck("--restored")
        self.assertEqual(ended.returncode, 0, ended.stdout)
        self.site.daemon.start()
        self.assertEqual(contents(self.site.client()), self.acknowledged)
        self.assertEqual(
            self.site.whole({f"{BUCKET}/{key}": data for key, data in self.acknowledged.items()}), []
        )
