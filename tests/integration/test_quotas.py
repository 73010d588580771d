"""Fifty clients write against quotas that hold a part of what they bring, through one daemon or two."""

from __future__ import annotations

import os
import random
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.owning import MARKER
from tests.integration.disks import BUCKET, Disks, at_once, disks, refusal

CLIENTS = 50
WRITES = 8
QUOTA = 2_000_000  # of each of two disks; what the clients bring is more than twice as much


class QuotaTests(SynchronousTestCase):
    def deploy(self, driver: str) -> Disks:
        deployment = disks(Path(self.mktemp()).absolute(), QUOTA, driver=driver)
        deployment.daemon.start()
        self.addCleanup(deployment.daemon.kill)
        return deployment

    def write(self, deployment: Disks, number: int) -> tuple[dict[str, str], set[str], int]:
        """
        What one client does: new objects, every third one over the one before, now and then a delete.

        Returns what it has at the end, how it was refused, and how many bytes it brought.
        """
        client, chance = deployment.client(), random.Random(number)
        held: dict[str, str] = {}
        refused: set[str] = set()
        brought = 0
        for turn in range(WRITES):
            key = f"{number}/{turn - (turn % 3 == 2)}"
            data = os.urandom(chance.randrange(1, 60_000))
            brought += len(data)
            code = refusal(lambda key=key, data=data: client.put_object(Bucket=BUCKET, Key=key, Body=data))
            if code == "":
                held[f"{BUCKET}/{key}"] = sha256(data).hexdigest()
            else:
                refused.add(code)
            if turn == 5 and held:
                gone = next(iter(held))
                client.delete_object(Bucket=BUCKET, Key=gone.removeprefix(f"{BUCKET}/"))
                del held[gone]
        return held, refused, brought

    def check(self, driver: str) -> None:
        deployment = self.deploy(driver)
        outcomes = at_once(lambda number: self.write(deployment, number), CLIENTS)
        self.assertGreater(sum(brought for _, _, brought in outcomes), 2 * QUOTA * 2)
        self.assertEqual(set().union(*(refused for _, refused, _ in outcomes)), {"InsufficientStorage"})
        for row in deployment.ledger.query("SELECT backend, taken, bytes_limit FROM backend_guards"):
            self.assertLessEqual(row[1], row[2], row[0])
        deployment.settle()
        deployment.daemon.stop()
        for name in ("disk1", "disk2"):
            root = deployment.directory / name
            stored = sum(
                file.stat().st_size
                for file in root.rglob("*")
                if file.is_file() and ".s3o" not in file.parts and file != root / MARKER
            )
            self.assertLessEqual(stored, QUOTA)
            self.assertGreater(stored, QUOTA // 2)
        expected = {key: digest for held, _, _ in outcomes for key, digest in held.items()}
        # `fsck` compares every counter with its sum.
        self.assertEqual(deployment.problems(expected), [])

    def test_sqlite(self) -> None:
        """No backend ever has more than its quota, and every counter is what its rows add up to."""
        self.check("sqlite")

    def test_postgres(self) -> None:
        """The same with two daemons on one PostgreSQL."""
        self.check("postgres")
