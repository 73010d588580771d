"""`s3orchestrator copy-ledger`: from one process to two, and back, with every object where it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, digest, disks
from tests.ledgers import ledger
from tests.running import COMMAND
from tests.workers import PROCESSES


class CopyLedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(directory, driver="sqlite")
        self.here = self.deployment.config_path
        self.there = directory / "postgres.yaml"
        self.chosen = ledger(directory, "postgres")
        lines = self.here.read_text().splitlines(keepends=True)
        changed = [self.chosen.line + "\n" if line.startswith("database:") else line for line in lines]
        self.there.write_text("".join(changed))
        self.addCleanup(self.deployment.daemon.kill)

    def copy(self, source: Path, target: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        command = [COMMAND, "copy-ledger", "--config", str(source), "--to", str(target)]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
        )
        self.assertEqual(ended.returncode, status, ended.stdout + ended.stderr)
        return ended

    def serve(self, config: Path) -> None:
        """Let the daemon read another file from now on."""
        self.deployment.daemon.arguments = ["serve", "--config", str(config)]
        self.deployment.daemon.start()

    def test_there_and_back(self) -> None:
        """What was stored on one engine is read, changed and checked on the other."""
        self.serve(self.here)
        client = self.deployment.client()
        bodies = {f"k{number}": os.urandom(1000 * number) for number in range(20)}
        for key, body in bodies.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={"of": key})
        self.assertIn("locked by process", self.copy(self.here, self.there, 1).stderr)
        self.deployment.daemon.stop()
        said = self.copy(self.here, self.there).stdout
        self.assertRegex(said, r"versions +20 rows  size 190000\n")
        self.assertIn(f"Start the daemon with --config {self.there}", said)
        self.assertIn("only an empty ledger is written", self.copy(self.here, self.there, 1).stderr)

        self.serve(self.there)
        for key, body in bodies.items():
            found = client.get_object(Bucket=BUCKET, Key=key)
            self.assertEqual((found["Body"].read(), found["Metadata"]), (body, {"of": key}))
        bodies["k1"] = b"changed on the other side"
        client.put_object(Bucket=BUCKET, Key="k1", Body=bodies["k1"])
        client.delete_object(Bucket=BUCKET, Key=bodies.popitem()[0])
        self.assertIn(f"in use by {PROCESSES} process(es)", self.copy(self.there, self.here, 1).stderr)
        self.deployment.daemon.stop()
        (self.deployment.directory / "ledger.db").unlink()
        self.copy(self.there, self.here)

        self.serve(self.here)
        self.deployment.settle()
        self.deployment.daemon.stop()
        expected = {f"{BUCKET}/{key}": digest(body) for key, body in bodies.items()}
        self.assertEqual(self.deployment.problems(expected), [])
