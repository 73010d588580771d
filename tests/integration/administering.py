"""A daemon with an admin API, asked by its command and by plain HTTP."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, disks
from tests.running import COMMAND, Answer, fetch

TOKEN = "a-token-that-is-long-enough"


class AdminCase(SynchronousTestCase):
    """Two directories, a few objects, and the ledger of both."""

    settings = f'ui: {{admin_token: "{TOKEN}"}}\n'

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(self.directory)
        self.config = self.deployment.config_path
        self.config.write_text(self.deployment.configuration() + self.settings)
        self.daemon = self.deployment.daemon
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        self.client = self.deployment.client()

    def put(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 100)

    def change(self, *statements: str) -> None:
        """Do to the ledger what nobody should, with the daemon stopped meanwhile."""
        with self.deployment.stopped(), closing(sqlite3.connect(self.directory / "ledger.db")) as ledger:
            for statement in statements:
                ledger.execute(statement)
            ledger.commit()

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
