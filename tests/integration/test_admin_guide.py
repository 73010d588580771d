"""What docs/operating/admin.rst tells an operator to type, typed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.administering import AdminCase
from tests.integration.disks import BUCKET
from tests.integration.guides import type_line, typed_and_printed
from tests.integration.test_admin_command import KILL
from tests.workers import CHOSEN

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "admin.rst"
# Intervals are figures, too: names of a test rest for seconds, and services go by that.
_FIGURE = re.compile(r"\d{4}-\d\d(-\d\dT[\d:]+Z)?|\d[\d.]*( ?([KMG]i)?B\b|[smh]\b)?|disk[12]")


def outline(printed: str) -> list[str]:
    """Return the lines without what differs from day to day: figures, moments, places, spacing."""
    lines = (" ".join(_FIGURE.sub("#", line).split()) for line in printed.splitlines())
    return [line for line in lines if line]


class GuideTests(AdminCase):
    def test_page(self) -> None:
        """Every line works in the order given, and prints what the page shows."""
        if CHOSEN > 1:  # the page shows a daemon that is one process
            with self.deployment.stopped():
                text = self.config.read_text()
                self.config.write_text(text.replace(f"workers: {CHOSEN}", "workers: 1"))
        self.client.put_object(Bucket=BUCKET, Key="2026/beach.jpg", Body=bytes(100_000))
        self.client.put_object(Bucket=BUCKET, Key="other", Body=bytes(100_000))
        self.client.put_object(Bucket=BUCKET, Key="draft", Body=bytes(10_000))
        self.change(*KILL)
        self.told("fsck", "--repair")
        (self.directory / "config.yaml").symlink_to(self.config)
        session = typed_and_printed(PAGE.read_text())
        self.assertGreater(len(session), 8)
        for line, expected in session:
            # The entry is of whichever backend it came to be on.
            typed = line.replace("127.0.0.1:9000", f"127.0.0.1:{self.daemon.port}").replace(
                "disk2", self.dead_on()
            )
            ended = type_line(typed, self.directory, 120)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""), line)
            self.assertEqual(outline(ended.stdout), outline(expected), line)

    def dead_on(self) -> str:
        for row in self.deployment.ledger.unsettled():
            if row["state"] == "dead":
                return str(row["backend"])
        return "disk2"
