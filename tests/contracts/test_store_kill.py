"""What was acknowledged is there, whenever the process is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.sqlite import SqliteDatabase
from tests.contracts.store_kit import Kit

RUNS = 6


class KillTests(SynchronousTestCase):
    runs = RUNS

    def test_killed(self) -> None:
        """
        After each kill every acknowledged write is there, nothing that was removed is, and the
        ledger keeps its rules.
        """
        chance = random.Random(7)
        path = self.mktemp()
        known: dict[str, tuple[str, ...]] = {}
        for run in range(self.runs):
            said = self.killed_after(path, run, chance.uniform(0.05, 0.6))
            self.assertGreater(len(said), 10)
            self.note(known, said)
            self.look(path, known)

    def killed_after(self, path: str, run: int, seconds: float) -> list[str]:
        """Run a writer on the ledger, kill it, and return what it said."""
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.contracts.ledger_victim", path, str(run)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout is not None
        with victim.stdout:
            self.assertEqual(victim.stdout.readline(), "ready\n")
            time.sleep(seconds)
            victim.send_signal(signal.SIGKILL)
            said = victim.stdout.read().splitlines()
        victim.wait()
        return said

    def note(self, known: dict[str, tuple[str, ...]], said: list[str]) -> None:
        """Fold what was said into what each key may hold now: the first is what was acknowledged."""
        for line in said:
            match line.split(" "):
                case ["put", key, etag]:
                    known[key] = (etag,)
                case ["removing", key]:
                    known[key] = (*known[key], "nothing")
                case ["removed", key]:
                    known[key] = ("nothing",)

    def look(self, path: str, known: dict[str, tuple[str, ...]]) -> None:
        clock = Clock()
        kit = Kit(SqliteDatabase(path, clock, threaded=False).open(), clock)
        try:
            self.assertEqual(self.successResultOf(kit.findings()), [])
            bucket = self.successResultOf(kit.buckets.adopt("photos"))
            listed = self.successResultOf(kit.versions.page(bucket, "", None, 10_000, inclusive=True))
            etags = {one.key: one.etag for one in listed}
            for key, may_hold in known.items():
                found = etags.get(key, "nothing")
                if found not in may_hold:
                    self.assertNewer(found, may_hold[0])
                    known[key] = (found,)
            self.successResultOf(kit.blobs.recover())
            self.assertEqual(self.successResultOf(kit.findings()), [])
        finally:
            self.successResultOf(kit.ledger.close())

    def assertNewer(self, found: str, acknowledged: str) -> None:
        """A write that was committed and not yet acknowledged may be there, an older one may not."""
        self.assertNotEqual(found, "nothing")
        if acknowledged != "nothing":
            self.assertGreater(*(tuple(map(int, etag.split("."))) for etag in (found, acknowledged)))
