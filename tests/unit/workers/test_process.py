"""A process that serves for another, on its own."""

from __future__ import annotations

import os
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from s3orchestrator.workers.link import Link
from s3orchestrator.workers.process import Process


class ProcessTests(TestCase):
    timeout = 60.0

    async def test_signals_while_it_starts(self) -> None:
        """
        What goes to all processes of a service ends none that has just been started and does not know it.
        """
        from twisted.internet import reactor

        process = Process.started(1, [], "json", reactor)
        lost: Deferred[None] = Deferred()
        link = Link({}, lambda: lost.callback(None), reactor)
        process.connect(link)
        for number in (SIGTERM, SIGINT, SIGHUP):
            os.kill(process.pid, number)
        lines: Any = await link.ask("lines")
        self.assertEqual(lines, [])
        process.kill()
        await lost
        self.assertEqual(await process.gone(), -SIGKILL)
