"""Tests for the fork server, with commands that end by themselves."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.testing.faults.forking import ForkServer


class ForkServerTests(SynchronousTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server = ForkServer().start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()

    def setUp(self) -> None:
        self.output = Path(self.mktemp())

    def test_output_and_status(self) -> None:
        """A command prints where it is told to, and its status is known."""
        self.assertEqual(self.server.run("s3orchestrator.cli.main", ["version"], self.output).wait(30), 0)
        self.assertIn(s3orchestrator.__version__, self.output.read_text())
        self.assertEqual(self.server.run("s3orchestrator.cli.main", ["nonsense"], self.output).wait(30), 2)

    def test_killed(self) -> None:
        """So is the signal that ended it."""
        arguments = ["demo", "--listen", "127.0.0.1:0", "--data", self.mktemp()]
        running = self.server.run("s3orchestrator.cli.main", arguments, self.output)
        self.assertIsNone(running.poll())
        running.kill()
        self.assertEqual(running.wait(30), -signal.SIGKILL)

    def test_unknown_module(self) -> None:
        """A mistake ends the child alone."""
        self.assertEqual(self.server.run("s3orchestrator.nothing", [], self.output).wait(30), 1)
        self.assertIn("ModuleNotFoundError", self.output.read_text())
        self.test_output_and_status()
