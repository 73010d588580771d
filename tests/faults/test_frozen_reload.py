"""The configuration is read again while PostgreSQL stands still."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.client import Client
from tests.faults.database import Database
from tests.faults.site import BUCKET, Site, disk, site
from tests.running import wait_until

ANSWERED = (
    20.0  # seconds until a reload has ended, whatever the database does; twelve is what a write may take
)


class FrozenReloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = Database()
        self.addCleanup(self.database.stop)
        directory = Path(self.mktemp()).absolute()
        places = {name: disk(directory / name) for name in ("one", "two")}
        self.site: Site = site(directory, places, ledger=self.database.ledger())
        self.edit("buckets:\n", "circuit_breaker: {open_timeout: 1s}\nbuckets:\n")
        self.site.daemon.start()
        self.addCleanup(self.site.daemon.kill)
        self.token = self.site.client().token
        self.assertEqual(self.site.client().put("k", b"data").status, 200)

    def edit(self, old: str, new: str) -> None:
        path = self.site.config_path
        self.assertIn(old, path.read_text())
        path.write_text(path.read_text().replace(old, new))

    def reload(self, old: str, new: str) -> dict[str, Any]:
        """Edit the file and have it read; returns what the audit trail says."""
        before = len(self.audited())
        self.edit(old, new)
        os.kill(self.site.daemon.pid, signal.SIGHUP)
        wait_until(lambda: len(self.audited()) > before, f"it does not reload\n{self.site.daemon.tail()}")
        return self.audited()[-1]

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.site.daemon.logged() if '"config.Reload"' in line]

    def read(self, token: str) -> int:
        return Client(self.site.client().port, BUCKET, token, 60.0).get("k").status

    def test_frozen(self) -> None:
        """
        A secret is replaced at once. What the ledger must hear of is refused in time, and so is the rest.

        Nobody waits meanwhile. Thawed, the same file is taken over.
        """
        self.database.freeze()
        try:
            self.assertEqual(self.reload(self.token, "second")["status"], "success")
            self.assertEqual((self.read(self.token), self.read("second")), (403, 200))
            self.edit("second", "third")
            asked = time.monotonic()
            refused = self.reload("quota_bytes: 4GB", "quota_bytes: 5GB")
            self.assertLess(time.monotonic() - asked, ANSWERED)
            self.assertEqual(refused["status"], "failed")
            self.assertEqual((self.read("second"), self.read("third")), (200, 403))
        finally:
            self.database.thaw()
        wait_until(lambda: self.reload("", "")["status"] == "success", "it is never taken over")
        self.assertEqual((self.read("second"), self.read("third")), (403, 200))
        limits = self.site.ledger.query("SELECT bytes_limit FROM backend_quotas")
        self.assertEqual({int(limit) for (limit,) in limits}, {5 << 30})
