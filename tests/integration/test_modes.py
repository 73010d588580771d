"""One process that serves, one that works in the background, or both in one."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, disks
from tests.running import fetch


class ModeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.deployment: Disks = disks(Path(self.mktemp()).absolute())

    def start(self, mode: str) -> Disks:
        """Start the daemon in a mode of the command line."""
        daemon = self.deployment.daemon
        daemon.add_arguments("--mode", mode)
        daemon.start()
        self.addCleanup(daemon.kill)
        return self.deployment

    def test_api(self) -> None:
        """Clients are served as ever."""
        client = self.start("api").client()
        client.put_object(Bucket=BUCKET, Key="k", Body=b"bytes")
        self.assertEqual(client.get_object(Bucket=BUCKET, Key="k")["Body"].read(), b"bytes")

    def test_worker(self) -> None:
        """Nothing is served but health; what an earlier process left is cleaned up."""
        deployment = self.start("worker")
        endpoint = deployment.daemon.endpoint
        self.assertEqual(json.loads(fetch(f"{endpoint}/health").body)["status"], "ok")
        for path in (f"/{BUCKET}", f"/{BUCKET}/k", "/"):
            self.assertEqual(fetch(endpoint + path).status, 404)
        deployment.daemon.stop()
