"""What docs/operating/tls.rst tells an operator to type and to write, typed and written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import disks
from tests.integration.guides import type_line, typed_and_printed
from tests.notified import Manager
from tests.ports import free_port
from tests.running import COMMAND, PATIENCE, wait_until
from tests.unit.config.samples import scratch

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "tls.rst"
FILES = "/etc/s3orchestrator/tls"


def sections() -> dict[str, str]:
    """The page by its headings."""
    parts = re.split(r"^(.+)\n-+\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class GuideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.config = disks(self.directory, driver="sqlite").config_path
        # The page's ports, and who has them here.
        self.ports = {"9443": str(free_port()), "9000": str(free_port())}
        self.manager = Manager(scratch(self) / "notify")
        self.addCleanup(self.manager.close)

    def here(self, text: str) -> str:
        """Put the ports and folders of this test in place of the page's."""
        text = text.replace('":9443"', '"127.0.0.1:9443"').replace(
            "/etc/s3orchestrator/tls", str(self.directory)
        )
        return re.sub(r"\b(9443|9000)\b", lambda found: self.ports[found[0]], text)

    def serve(self, section: str) -> subprocess.Popen[bytes]:
        """Serve as the first YAML of a section says."""
        found = re.search(r"\.\. code-block:: yaml\n\n   server:\n((?:   .*\n)+)", section)
        assert found is not None
        lines = self.config.read_text().splitlines()
        (line,) = [number for number, text in enumerate(lines) if text.startswith("server: ")]
        lines[line] = "server:\n" + self.here(found[1]).replace("\n   ", "\n").removeprefix("   ")
        self.config.with_name("served.yaml").write_text("\n".join(lines) + "\n")
        process = subprocess.Popen(
            [COMMAND, "serve", "--config", str(self.config.with_name("served.yaml"))],
            env={**os.environ, "NOTIFY_SOCKET": str(self.manager.path)},
            cwd=self.directory,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        before = self.manager.said().count("READY")
        wait_until(lambda: self.manager.said().count("READY") > before or process.poll(), "it is not ready")
        self.assertIsNone(process.poll())
        return process

    def type(self, session: list[tuple[str, str]]) -> None:
        """Type each line, which must work and print what the page shows."""
        for line, printed in session:
            ended = type_line(self.here(line), self.directory, PATIENCE)
            self.assertEqual(ended.returncode, 0, f"{line}\n{ended.stderr}")
            if printed.strip():
                self.assertEqual(ended.stdout.strip(), printed.strip(), line)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_page(self) -> None:
        """What the page makes serves, and so does mutual TLS, to nobody without a certificate."""
        page = sections()
        first = typed_and_printed(page["A certificate"])
        made = [each for each in first if not each[0].startswith("curl")]
        self.assertEqual(len(made), len(first) - 1)
        self.type(made)
        process = self.serve(page["A certificate"])
        self.type([each for each in first if each not in made])
        self.stop(process)
        mutual = page["Only for clients with a certificate"]
        process = self.serve(mutual)
        self.type(typed_and_printed(mutual))
        refused = self.here("curl -s --cacert ca.crt https://127.0.0.1:9443/health/ready")
        self.assertNotEqual(
            subprocess.run(refused, shell=True, cwd=self.directory, check=False).returncode, 0
        )
        self.stop(process)
