"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.main import run


class MainTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        stdout, stderr = StringIO(), StringIO()
        with patch("sys.stdout", stdout):  # where --help prints
            status = run(list(arguments), stdout, stderr)
        return status, stdout.getvalue(), stderr.getvalue()

    def test_help(self) -> None:
        """
        `help` lists the commands, as `--help` and `-h` do.
        """
        for arguments in (["help"], ["--help"], ["-h"]):
            status, printed, _ = self.run_command(*arguments)
            self.assertEqual(status, 0)
            for command in ("demo", "serve", "validate", "init", "fsck"):
                self.assertIn(f"\n    {command} ", printed)

    def test_help_for_one(self) -> None:
        """
        A command's help begins with its own usage, keeps its paragraphs, and is the same either way.
        """
        _, printed, _ = self.run_command("fsck", "--help")
        self.assertTrue(printed.startswith("Usage: s3orchestrator fsck --config FILE"), printed)
        self.assertIn("\n\n--deep also lists", printed)
        self.assertEqual(self.run_command("help", "fsck"), (0, printed, ""))

    def test_help_for_none_such(self) -> None:
        """
        Help on a command that does not exist is a mistake.
        """
        status, _, complaint = self.run_command("help", "fcsk")
        self.assertEqual(status, 2)
        self.assertIn("'fcsk'", complaint)

    def test_version(self) -> None:
        """
        Every way to ask for the version gives ours.
        """
        ways = (["version"], ["--version"], ["serve", "--version"])
        printed = {self.run_command(*each)[1] for each in ways}
        self.assertEqual(len(printed), 1)
        self.assertIn("s3orchestrator", printed.pop())

    def test_imports(self) -> None:
        """
        Whoever only asks a daemon does not wait for what a daemon is made of to be imported.
        """
        script = (
            "import sys; from s3orchestrator.cli.main import run\n"
            "assert run(['admin', 'status', '--help'], sys.stdout, sys.stderr) == 0\n"
            "assert not {'s3orchestrator.app', 'twisted.internet.defer'} & set(sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def test_superfluous_argument(self) -> None:
        """
        What nobody asked for is named, and where to read on.
        """
        status, _, complaint = self.run_command("validate", "config.yaml")
        self.assertEqual(status, 2)
        self.assertIn("'config.yaml'", complaint)
        self.assertIn("s3orchestrator validate --help", complaint)
