"""Nothing is changed on a backend without a lease."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.leased import LeasedBackend
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.interfaces import Description

TEXT = Description("text/plain")


class LeasedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = MemoryBackend("m", self.clock)
        self.until = 100.0
        self.backend = LeasedBackend(self.memory, lambda: self.clock.seconds() < self.until, self.clock)
        self.changes: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "put": lambda: self.put("k"),
            "delete": lambda: self.backend.delete("k"),
            "copy": lambda: self.backend.copy("k", "l", TEXT, exclusive=False),
            "create_upload": lambda: self.backend.create_upload("k", TEXT),
            "put_part": lambda: self.backend.put_part("k", "id", 1, BytesBody(b"x")),
            "copy_part": lambda: self.backend.copy_part("k", "id", 1, "l", None),
            "complete_upload": lambda: self.backend.complete_upload("k", "id", [(1, "e")], exclusive=False),
            "abort_upload": lambda: self.backend.abort_upload("k", "id"),
            "probe": lambda: self.backend.probe(["k", "l"]),
        }

    async def put(self, name: str) -> None:
        await self.backend.put(name, BytesBody(b"data"), TEXT, exclusive=False)

    def test_held(self) -> None:
        """
        While the lease runs it is the backend itself, and no timer is left behind.
        """
        self.successResultOf(start(self.put("k")))
        self.assertEqual(self.memory.objects["k"].data, b"data")
        self.assertEqual((self.backend.name, self.backend.traits), ("m", self.memory.traits))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over(self) -> None:
        """
        Afterwards nothing that changes anything is sent; reading goes on.
        """
        self.successResultOf(start(self.put("k")))
        self.until = 0
        self.memory.calls.clear()
        for change in self.changes.values():
            error = self.failureResultOf(start(change()), BackendUnavailable).value
            self.assertFalse(error.is_unclear)
        self.assertEqual(self.memory.calls, [])
        self.assertEqual(self.successResultOf(start(self.backend.head("k"))).size, 4)
        self.successResultOf(start(self.backend.get("k"))).body.stopProducing()

    def test_broken_off(self) -> None:
        """
        What is under way when it ends is broken off, and its outcome is unclear.
        """
        self.memory.faults.always(Fault.STALLED)
        sending = [start(change()) for verb, change in self.changes.items() if verb != "probe"]
        self.clock.pump([1] * 99)
        for one in sending:
            self.assertNoResult(one)
        self.clock.advance(1)
        for one in sending:
            error = self.failureResultOf(one, BackendUnavailable).value
            self.assertTrue(error.is_unclear)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_renewed(self) -> None:
        """
        What takes longer than a lease is not broken off as long as it is renewed.
        """
        self.memory.faults.next("put", Fault.STALLED)
        sending = start(self.put("k"))
        for _ in range(10):
            self.clock.pump([1] * 60)
            self.until += 60
        self.assertNoResult(sending)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)

    def test_lapsed_and_taken_again(self) -> None:
        """
        What was under way when a lease lapsed is broken off although there is another lease by now.
        """
        self.memory.faults.next("put", Fault.STALLED)
        sending = start(self.put("k"))
        self.clock.rightNow += 200  # suspended: nobody looked meanwhile
        self.until = 500
        self.backend.break_off()
        self.assertTrue(self.failureResultOf(sending, BackendUnavailable).value.is_unclear)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(start(self.put("k")))

    def test_caller_leaves(self) -> None:
        """
        A caller that leaves stops what it asked for, and is told nothing of leases.
        """
        self.memory.faults.next("put", Fault.STALLED)
        sending = start(self.put("k"))
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
