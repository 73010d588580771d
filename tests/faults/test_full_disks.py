"""Disks that fill up while clients write, and have room again later."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.client import Client, NoAnswer
from tests.faults.scenarios import content
from tests.faults.site import BUCKET, Place, Site, contents, disk, disks, site
from tests.running import wait_until

MIB = 1 << 20
REFUSALS = {503, 507}


class FullDiskTests(SynchronousTestCase):
    """On a small file system of its own, which takes root."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.small = self.directory / "small"
        self.small.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(self.small)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.small)], check=True)
        self.acknowledged: dict[str, bytes] = {}

    def serve(self, directory: Path, places: Mapping[str, Place]) -> Client:
        self.site: Site = site(directory, places)
        self.addCleanup(self.site.daemon.kill)
        self.site.daemon.start()
        return self.site.client()

    def put(self, client: Client, key: str, size: int) -> int:
        """Return the status; what is acknowledged is noted."""
        data = content(f"{key} {size}", size)
        reply = client.put(key, data)
        if reply.succeeded:
            self.acknowledged[key] = data
        return reply.status

    def fill(self) -> Path:
        """Leave no byte to anybody else; returns what is to be removed."""
        filler = self.small / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return filler

    def compare(self) -> None:
        self.assertEqual(contents(self.site.client()), self.acknowledged)
        whole = {f"{BUCKET}/{key}": data for key, data in self.acknowledged.items()}
        self.assertEqual(self.site.whole(whole), [])

    def test_full_directory(self) -> None:
        """What does not fit goes to the other disk; what was written before stays whole."""
        other = self.directory / "other"
        client = self.serve(self.directory, {"small": disk(self.small / "data"), "other": disk(other)})
        for number in range(4):
            self.assertEqual(self.put(client, f"before{number}", 500), 200)
        filler = self.fill()
        statuses = [self.put(client, f"while{number}", 500) for number in range(20)]
        self.assertEqual(set(statuses), {200})  # small enough to be tried again elsewhere
        # These are not: who gets an error tries again.
        large = {self.put(client, f"large{number}", MIB) for number in range(6)}
        self.assertLessEqual(large, {200, *REFUSALS})
        filler.unlink()
        self.assertEqual(self.put(client, "after", MIB), 200)
        self.compare()

    def test_full_directory_and_a_crash(self) -> None:
        """A daemon that dies on a full disk cleans up after itself once it runs again."""
        client = self.serve(self.directory, {"small": disk(self.small / "data")})
        self.assertEqual(self.put(client, "before", 500), 200)
        filler = self.fill()
        statuses = {self.put(client, f"while{number}", size) for number, size in enumerate([0, 500, MIB] * 3)}
        self.assertTrue(statuses & REFUSALS, statuses)
        self.site.daemon.kill()
        filler.unlink()
        self.site.daemon.start()
        self.compare()

    def test_full_ledger(self) -> None:
        """Without room for the ledger nothing is written and nothing lost; with room again all goes on."""
        client = self.serve(self.small, disks(self.directory))
        for number in range(5):
            self.assertEqual(self.put(client, f"before{number}", 500), 200)
        filler = self.fill()
        statuses = [
            self.put(client, f"before{number % 5}", size) for number, size in enumerate([10, MIB] * 50)
        ]
        self.assertLessEqual(set(statuses), {200, *REFUSALS})
        self.assertIn(statuses[-1], REFUSALS)
        filler.unlink()
        wait_until(lambda: self.put(client, "after", 10) == 200, "it does not write again")
        self.compare()

    def test_full_ledger_and_a_crash(self) -> None:
        """The same for one that dies while the ledger's disk is full."""
        client = self.serve(self.small, disks(self.directory))
        for number in range(5):
            self.assertEqual(self.put(client, f"before{number}", 500), 200)
        filler = self.fill()
        unanswered = {f"while{number}" for number in range(20)}
        for key in sorted(unanswered):
            with contextlib.suppress(NoAnswer):
                self.put(client, key, 300)
        self.site.daemon.kill()
        filler.unlink()
        self.site.daemon.start()
        self.compare()
