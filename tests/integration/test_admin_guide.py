"""What docs/operating/admin.rst tells an operator to type, typed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent

from tests.integration.administering import TOKEN, AdminCase
from tests.integration.disks import BUCKET
from tests.integration.test_admin_command import KILL
from tests.running import COMMAND

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "admin.rst"
_FIGURE = re.compile(r"\d{4}-\d\d(-\d\dT[\d:]+Z)?|\d[\d.]*( ?([KMG]i)?B\b)?|disk[12]")


def typed_and_printed(page: str) -> list[tuple[str, str]]:
    """Return the lines that are typed, each with what is said to be printed."""
    session: list[tuple[str, str]] = []
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", page):
        for part in re.split(r"^\$ ", dedent(block), flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            session.append((line, printed))
    return session


def outline(printed: str) -> list[str]:
    """Return the lines without what differs from day to day: figures, moments, places, spacing."""
    lines = (" ".join(_FIGURE.sub("#", line).split()) for line in printed.splitlines())
    return [line for line in lines if line]


class GuideTests(AdminCase):
    def test_page(self) -> None:
        """Every line works in the order given, and prints what the page shows."""
        self.client.put_object(Bucket=BUCKET, Key="2026/beach.jpg", Body=bytes(100_000))
        self.client.put_object(Bucket=BUCKET, Key="other", Body=bytes(100_000))
        self.client.put_object(Bucket=BUCKET, Key="draft", Body=bytes(10_000))
        self.change(*KILL)
        self.told("fsck", "--repair")
        (self.directory / "config.yaml").symlink_to(self.config)
        session = typed_and_printed(PAGE.read_text())
        self.assertGreater(len(session), 8)
        for line, expected in session:
            ended = subprocess.run(
                # The entry is of whichever backend it came to be on.
                line.replace("127.0.0.1:9000", f"127.0.0.1:{self.daemon.port}").replace(
                    "disk2", self.dead_on()
                ),
                shell=True,
                cwd=self.directory,
                env={
                    **os.environ,
                    "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}",
                    "S3O_ADMIN_TOKEN": TOKEN,
                },
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            self.assertEqual((ended.returncode, ended.stderr), (0, ""), line)
            self.assertEqual(outline(ended.stdout), outline(expected), line)

    def dead_on(self) -> str:
        for row in self.deployment.ledger.unsettled():
            if row["state"] == "dead":
                return str(row["backend"])
        return "disk2"
