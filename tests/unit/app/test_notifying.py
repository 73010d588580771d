"""What the service manager is told, by a socket of the kind that it has."""

from __future__ import annotations

import contextlib  # trial takes a name `suppress` in a module for a setting of its own
import os
import socket
import time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.notifying import AGAIN, LONGEST_STATUS, Notifier
from tests.unit.config.samples import scratch


class NotifyingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.address = str(scratch(self) / "notify")
        self.listening = self.listen(self.address)

    def listen(self, address: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(listening.close)
        listening.bind(address)
        return listening

    def notifier(self, **environ: str) -> Notifier:
        self.environ = {"NOTIFY_SOCKET": self.address, "HOME": "/", **environ}
        return Notifier.of(self.environ, self.clock)

    def heard(self, listening: socket.socket | None = None) -> list[str]:
        """Return the messages that have come since it was asked last."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append((listening or self.listening).recv(4096).decode())
        return messages


class MessageTests(NotifyingCase):
    def test_life(self) -> None:
        """Ready, reloading with the time of it, ready again, stopping."""
        notifier = self.notifier()
        notifier.ready("serving")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        notifier.ready("serving;\nreloaded")
        notifier.stopping()
        ready, reloading, again, stopping = self.heard()
        self.assertEqual(ready, "READY=1\nSTATUS=serving")
        self.assertEqual(again, "READY=1\nSTATUS=serving; reloaded")
        self.assertTrue(stopping.startswith("STOPPING=1\nSTATUS="))
        first, moment, _ = reloading.split("\n")
        self.assertEqual((first, moment.split("=")[0]), ("RELOADING=1", "MONOTONIC_USEC"))
        self.assertGreaterEqual(int(moment.split("=")[1]), before)

    def test_abstract(self) -> None:
        """An address that begins with "@" is no file."""
        name = f"s3orchestrator-test-{os.getpid()}"
        listening = self.listen(f"\0{name}")
        self.notifier(NOTIFY_SOCKET=f"@{name}").say("hello")
        self.assertEqual(self.heard(listening), ["STATUS=hello"])

    def test_long(self) -> None:
        """A status has an end, whatever is wrong with a file."""
        self.notifier().say("x" * 10_000)
        (message,) = self.heard()
        self.assertEqual(len(message), len("STATUS=") + LONGEST_STATUS)

    def test_nobody(self) -> None:
        """Without an address, with one that nobody has, or one of no known kind, nothing happens."""
        for address in ("", f"{self.address}-gone", "vsock:2:1234", "@", "/" + "x" * 200):
            notifier = self.notifier(NOTIFY_SOCKET=address)
            notifier.ready("serving")
            notifier.stopping()
        self.assertEqual(self.heard(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_room(self) -> None:
        """What the manager has no room for comes later, in order, and nobody waits for it."""
        notifier, sent = self.notifier(), []
        while not self.clock.getDelayedCalls():
            sent.append(f"STATUS={len(sent)}")
            notifier.say(str(len(sent) - 1))
        notifier.say("last")
        heard = self.heard()
        self.assertEqual(heard, sent[:-1])
        self.clock.advance(AGAIN)
        self.assertEqual(self.heard(), [sent[-1], "STATUS=last"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ours_alone(self) -> None:
        """Programs that this process starts do not find whom to tell."""
        self.notifier(WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()))
        self.assertEqual(self.environ, {"HOME": "/"})


class WatchdogTests(NotifyingCase):
    def test_pings(self) -> None:
        """Once it serves, it says so twice in the time that the manager would wait; until it is closed."""
        notifier = self.notifier(WATCHDOG_USEC="10000000")
        self.clock.advance(20)
        self.assertEqual(self.heard(), [])
        notifier.ready("serving")
        notifier.ready("again")
        self.assertEqual(self.heard().count("WATCHDOG=1"), 1)
        self.clock.pump([5, 5])
        self.assertEqual(self.heard(), ["WATCHDOG=1", "WATCHDOG=1"])
        notifier.close()
        self.clock.advance(20)
        self.assertEqual(self.heard(), [])

    def test_not_for_us(self) -> None:
        """What is asked of another process, or makes no sense, is nobody's business here."""
        for more in ({"WATCHDOG_USEC": "10", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}):
            self.notifier(**more).ready("serving")
            self.assertEqual(len(self.heard()), 1)
            self.assertEqual(self.clock.getDelayedCalls(), [])
