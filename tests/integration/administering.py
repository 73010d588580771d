"""A daemon with an admin API, asked by its command and by plain HTTP."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.forked import ForkedDaemon
from tests.integration.disks import BUCKET, Disks
from tests.ledgers import ledger
from tests.ports import free_port
from tests.running import COMMAND, Answer, DirectoryStorage, fetch

TOKEN = "a-token-that-is-long-enough"

_CONFIGURATION = """\
server: {{listen_addr: "127.0.0.1:{port}"{server}}}
{ledger}
routing_strategy: spread
write_path: {{quiet_period: 1s}}
backends:
  - {{name: disk1, type: directory, path: "{directory}/disk1", quota_bytes: 1GB}}
  - {{name: disk2, type: directory, path: "{directory}/disk2", quota_bytes: 1GB}}
buckets:
  - {{name: photos, credentials: [{{access_key_id: photoskey, secret_access_key: photossecret}}]}}
{settings}
"""


class AdminCase(SynchronousTestCase):
    """One daemon, two directories, and a ledger on `driver`."""

    driver = "sqlite"
    settings = f'ui: {{admin_token: "{TOKEN}"}}\n'
    server = ""  # more of that section

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.config = self.directory / "s3orchestrator.yaml"
        self.ledger = ledger(self.directory, self.driver)
        port = free_port()
        self.config.write_text(
            _CONFIGURATION.format(
                port=port,
                ledger=self.ledger.line,
                directory=self.directory,
                settings=self.settings,
                server=self.server,
            )
        )
        self.daemon = ForkedDaemon(
            ["serve", "--config", str(self.config)], port, self.directory / "serve.log"
        )
        disks = {name: DirectoryStorage(self.directory / name) for name in ("disk1", "disk2")}
        self.deployment = Disks(self.config, self.daemon, self.ledger.rows, disks, self.directory)
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        self.client = self.deployment.client()

    def put(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 100)

    def change(self, *statements: str) -> None:
        """Do to the ledger what nobody should, with the daemon stopped meanwhile."""
        with self.deployment.stopped():
            self.ledger.rows.change(*statements)

    def admin(
        self, *words: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command as an operator does, with no more than the file."""
        return subprocess.run(
            [COMMAND, "admin", *words],
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                **(environ or {}),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def told(self, *words: str, status: int = 0) -> str:
        """Return what the command prints, which must end like this."""
        ended = self.admin(*words, "--config", str(self.config))
        self.assertEqual(ended.returncode, status, ended.stdout + ended.stderr)
        return ended.stdout if status == 0 or ended.stdout else ended.stderr

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, token: str | None = TOKEN
    ) -> tuple[int, Any]:
        """Make one request; returns the status and the document."""
        answer = self.answer(path, method, body, {} if token is None else {"X-Admin-Token": token})
        return answer.status, json.loads(answer.body)

    def answer(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return fetch(f"{self.daemon.endpoint}{path}", method, body, headers)
