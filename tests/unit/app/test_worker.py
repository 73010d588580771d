"""A process that serves for another one, as far as it can be tried without one."""

from __future__ import annotations

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.worker import Worker
from s3orchestrator.concurrency import start
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.relay import Relay
from s3orchestrator.workers.messages import Begin


class BeginTests(SynchronousTestCase):
    def test_other_release(self) -> None:
        """
        Who is started after another release was installed in place of the one that runs does not begin.
        """
        worker = Worker(Clock(), Relay(), lambda: None, lambda: None)
        told = Begin(1, 2, b"no settings", "info", (), release="0.0.1")
        beginning = start(worker.answers["begin"](*attrs.astuple(told, recurse=False)))  # type: ignore[arg-type]
        error = self.failureResultOf(beginning, OrchestratorError).value
        self.assertRegex(str(error), "has been installed, and 0.0.1 is running")
