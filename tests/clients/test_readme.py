"""What README.rst and the demonstration tell a reader to type, typed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

from tests.clients.case import ClientCase
from tests.clients.deployment import ROOT, digest, tool_environment
from tests.running import Daemon, DirectoryStorage, fetch

DEMO_PORT = 9000  # README's lines name it

# The empty line ends output that did not end its own last line.
_MARK = 'status=$?; echo; echo "@@ $status"'


class Terminal:
    """A shell in which lines are typed one after the other."""

    def __init__(self, home: Path) -> None:
        self._bash = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=tool_environment(home, {}),
            cwd=home,
            text=True,
        )

    def type(self, line: str) -> str:
        """Return what a line printed; :raises AssertionError: it failed."""
        assert self._bash.stdin is not None and self._bash.stdout is not None
        self._bash.stdin.write(f"{line}\n{_MARK}\n")
        self._bash.stdin.flush()
        printed = ""
        for received in self._bash.stdout:
            if received.startswith("@@ "):
                assert received == "@@ 0\n", f"{line}\n{printed}"
                return printed.strip("\n")
            printed += received
        raise AssertionError(f"the shell ended after {line!r}: {printed}")

    def close(self) -> None:
        """End the shell."""
        self._bash.communicate()


class TryItTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.demo = Daemon(["demo", "--data", "data"], DEMO_PORT, self.home / "demo.log", directory=self.home)
        self.demo.start()
        self.addCleanup(self.demo.stop)
        self.terminal = Terminal(self.home)
        self.addCleanup(self.terminal.close)

    def test_readme(self) -> None:
        """
        Every line works in the order given, and prints what README says it prints.
        """
        session = typed_and_printed((ROOT / "README.rst").read_text())
        self.assertGreater(len(session), 10)
        for line, expected in session:
            printed = self.terminal.type(line)
            if expected:
                self.assertEqual(printed, expected)
            if " presign " in line:
                self.assertEqual(fetch(printed).body, b"Hello, backends\n")
        self.assertNotIn("holiday", self.terminal.type("aws s3 ls"))

    def test_announcement(self) -> None:
        """
        The commands that the demonstration itself prints work too.
        """
        printed = (self.home / "demo.log").read_text()
        commands = dedent(printed[printed.index("    export ") : printed.index("  Ctrl-C")])
        self.assertEqual(commands.count("aws s3"), 3)
        self.assertTrue(self.terminal.type(commands).endswith(Path("/etc/hostname").read_text().strip()))
        disks = [DirectoryStorage(self.home / "data" / f"disk{number}").digests() for number in (1, 2, 3)]
        self.assertEqual(
            [disk for disk in disks if disk], [{"photos/hello.txt": digest(Path("/etc/hostname"))}]
        )

    def test_credentials(self) -> None:
        """
        Each key pair that is announced opens its bucket.
        """
        printed = (self.home / "demo.log").read_text()
        for bucket, key, secret in re.findall(r"^  (\w+) +(\w+key) +(\w+secret)$", printed, re.MULTILINE):
            who = f"AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION=us-east-1"
            listed = self.terminal.type(f"env {who} aws --endpoint-url {self.demo.endpoint} s3 ls")
            self.assertIn(f" {bucket}", listed)


def typed_and_printed(readme: str) -> list[tuple[str, str]]:
    """Return the lines of the section "Try it" that are typed, each with what is said to be printed."""
    section = readme[readme.index("\nTry it\n") : readme.index("\nRun it\n")]
    block = dedent(re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", section)[0])
    session: list[tuple[str, str]] = []
    for line in block.strip().splitlines():
        if line.startswith("$ "):
            session.append((line[2:], ""))
        else:
            typed, printed = session.pop()
            session.append((typed, f"{printed}\n{line}".lstrip("\n")))
    return session
