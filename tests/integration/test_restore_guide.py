"""What docs/operating/restore.rst tells an operator to type, typed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, disks
from tests.integration.test_admin_guide import typed_and_printed
from tests.running import COMMAND

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "restore.rst"
_STORED_LATER = b"after backup"


class GuideTests(SynchronousTestCase):
    def test_page(self) -> None:
        """A backup is made, something stored, the backup restored: every line prints what the page shows."""
        directory = Path(self.mktemp()).absolute()
        deployment = disks(directory, driver="sqlite")
        (directory / "config.yaml").symlink_to(deployment.config_path)
        daemon = deployment.daemon
        self.addCleanup(daemon.kill)
        daemon.start()
        client = deployment.client()
        client.put_object(Bucket=BUCKET, Key="old.jpg", Body=bytes(1000))
        services = {
            "systemctl stop s3orchestrator": daemon.stop,
            "systemctl start s3orchestrator": daemon.start,
        }
        session = typed_and_printed(PAGE.read_text())
        self.assertEqual(len(session), 7)
        for line, expected in session:
            if line in services:
                services.pop(line)()
                continue
            ended = subprocess.run(
                line,
                shell=True,
                cwd=directory,
                env={**os.environ, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            printed = ended.stdout.replace("disk2", "disk1")
            self.assertEqual(
                (ended.returncode, printed),
                (0, expected.rstrip("\n") + "\n" * bool(expected.strip())),
                ended.stderr,
            )
            if "sqlite3" in line:
                client.put_object(Bucket=BUCKET, Key="new.jpg", Body=_STORED_LATER)
        self.assertEqual(services, {})
        found = client.get_object(Bucket=BUCKET, Key="new.jpg")["Body"].read()
        self.assertEqual(found, _STORED_LATER)
        daemon.stop()
