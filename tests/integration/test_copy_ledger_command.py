"""Tests for `s3orchestrator copy-ledger` where nothing is copied: what is said, and the exit status."""

from __future__ import annotations

import os
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.lockfile import LockFile
from tests.running import COMMAND

_BACKENDS = "backends: [{name: disk, type: directory, path: /no/place}]\n"
_BUCKETS = "buckets: [{name: photos, credentials: [{access_key_id: A, secret_access_key: S}]}]\n"


class CopyLedgerCommandTests(SynchronousTestCase):
    """What an operator is told who cannot have his ledger copied."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def write(self, name: str) -> str:
        """Write a configuration whose ledger is called `name`."""
        path = os.path.join(self.folder, f"{name}.yaml")
        ledger = os.path.abspath(os.path.join(self.folder, f"{name}.db"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f'server: {{listen_addr: "127.0.0.1:0"}}\n{_BUCKETS}{_BACKENDS}database: {{path: {ledger}}}\n'
            )
        return path

    def copy(self, source: str, target: str) -> tuple[int, str]:
        """Run it in a process of its own, since it runs the reactor."""
        words = ["copy-ledger", "--config", source, "--to", target]
        ran = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
        return ran.returncode, ran.stderr

    def test_itself(self) -> None:
        """A ledger cannot be copied into itself, and that is what it says."""
        path = self.write("old")
        status, stderr = self.copy(path, path)
        self.assertEqual(status, 1)
        self.assertIn("--config and --to name the same ledger", stderr)

    def test_in_use(self) -> None:
        """Of a ledger that a daemon has it says so, and what to do."""
        old, new = self.write("old"), self.write("new")
        ledger = os.path.join(self.folder, "old.db")
        with open(ledger, "wb"):
            pass
        lock = LockFile(f"{ledger}.lock")
        lock.acquire()
        self.addCleanup(lock.release)
        status, stderr = self.copy(old, new)
        self.assertEqual(status, 1)
        self.assertIn("is locked by process", stderr)
        self.assertIn("Stop the daemon first", stderr)
