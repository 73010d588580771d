"""What docs/operating/logging.rst tells an operator to type, typed."""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ClientError

from tests.integration.administering import AdminCase
from tests.integration.disks import BUCKET
from tests.integration.guides import type_line, typed_and_printed
from tests.running import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "logging.rst"
JOURNAL = "journalctl --unit s3orchestrator --output cat"


class GuideTests(AdminCase):
    def test_page(self) -> None:
        """
        Every line works, and prints what the page shows.
        """
        for key in ("2026/beach.jpg", "2026/dunes.jpg"):
            self.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(100_000))
        self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "2026/dunes.jpg"}]})
        with self.assertRaises(ClientError):
            self.client.get_object(Bucket=BUCKET, Key="nothing")
        wait_until(lambda: any('"s3.GetObject"' in line for line in self.daemon.logged()), "the last line")
        (self.directory / "config.yaml").symlink_to(self.config)
        session = typed_and_printed(PAGE.read_text())
        self.assertGreater(len(session), 5)
        for line, expected in session:
            # There is no journal here; standard error is not among what is written to it.
            typed = line.replace(JOURNAL, f"grep '^{{' {self.daemon.log}")
            ended = type_line(typed, self.directory, 60)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""), line)
            beginning, cut, _ = expected.rstrip().partition(" ...")
            printed = ended.stdout.strip()
            if cut:
                # A moment has its own figures.
                beginning = beginning.partition("Z ")[2]
                printed = printed.partition("Z ")[2][: len(beginning)]
            self.assertEqual(printed.split(), beginning.split(), line)
