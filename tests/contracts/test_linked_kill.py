"""Processes that share an SQLite ledger, killed: whichever it is, what was acknowledged is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from s3orchestrator.errors import LedgerInUse
from s3orchestrator.store.lockfile import LockFile
from tests.contracts import test_store_kill

RUNS = 2


class LinkedKillTests(test_store_kill.KillTests):
    """As with one process; here a child writes, and parent or child are killed."""

    runs = RUNS

    def setUp(self) -> None:
        self.path = self.mktemp()

    @contextmanager
    def family(self, run: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """Run a parent and its child; gives the parent, whose output is both's, and the child's number."""
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.contracts.ledger_parent", self.path, str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdin is not None and parent.stdout is not None
        with parent.stdin, parent.stdout:
            (_, number) = parent.stdout.readline().split()
            self.assertEqual(parent.stdout.readline(), "ready\n")
            yield parent, int(number)
            parent.wait()

    def killed_after(self, path: str, run: int, seconds: float) -> list[str]:
        """Kill the parent; the child notices, and holds the lock for as long as it lives."""
        self.path = path
        with self.family(run) as (parent, _):
            assert parent.stdin is not None and parent.stdout is not None
            time.sleep(seconds)
            parent.send_signal(signal.SIGKILL)
            said = []
            for line in parent.stdout:
                if line == "lost\n":
                    break
                said.append(line.rstrip("\n"))
            parent.wait()
            refused = self.assertRaises(LedgerInUse, LockFile(f"{path}.lock", patience=0.1).acquire)
            self.assertIn(f"process {parent.pid} has left behind", str(refused))
            parent.stdin.write("go\n")
            parent.stdin.flush()
        # What comes next waits until the child is gone.
        return said

    def test_child_killed(self) -> None:
        """
        When the child is killed, what it was writing is doomed at once, and nothing else is amiss.
        """
        chance = random.Random(8)
        known: dict[str, tuple[str, ...]] = {}
        for run in range(RUNS):
            with self.family(run) as (parent, number):
                assert parent.stdout is not None
                time.sleep(chance.uniform(0.05, 0.4))
                os.kill(number, signal.SIGKILL)
                said = parent.stdout.read().splitlines()
            *acknowledged, doomed, findings = said
            self.assertEqual(findings, "findings")
            self.assertTrue(doomed.startswith("doomed "))
            self.note(known, acknowledged)
            self.look(self.path, known)
