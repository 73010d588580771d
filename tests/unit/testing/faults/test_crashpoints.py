"""Tests for crash points, with a death that is only noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.interfaces import Description, ITransaction
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.testing.faults.crashpoints import CrashingBackend, CrashingLedger, CrashPoints, When

PLAIN = Description("text/plain")


class Died(BaseException):
    """What a killed process does not live to see."""


def die() -> None:
    raise Died


class CrashPointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[str] = []
        self.memory = MemoryBackend("memory", Clock())

    def backend(self, kill_at: int = 0, when: When = When.BEFORE, *, armed: bool = True) -> CrashingBackend:
        self.points = CrashPoints(kill_at, when, self.told.append, armed=armed, die=die)
        return CrashingBackend(self.memory, self.points)

    def dies(self, work: Callable[[], Any]) -> None:
        with self.assertRaises(Died):
            work().send(None)

    def test_before(self) -> None:
        """Before a call nothing has happened."""
        self.dies(lambda: self.backend(1).put("k", BytesBody(b"data"), PLAIN, exclusive=True))
        self.assertEqual(self.memory.objects, {})

    def test_middle(self) -> None:
        """In the middle of a body nothing is there either."""
        self.dies(lambda: self.backend(2).put("k", BytesBody(b"data"), PLAIN, exclusive=True))
        self.assertEqual(self.memory.objects, {})
        self.assertEqual(self.told, ["1 memory: put", "2 memory: in mid-body of put"])

    def test_after(self) -> None:
        """After it everything has happened, and nobody has heard of it."""
        backend = self.backend(1, When.AFTER)
        self.dies(lambda: backend.put("k", BytesBody(b"data"), PLAIN, exclusive=True))
        self.assertIn("k", self.memory.objects)

    def test_not_armed(self) -> None:
        """Nothing counts before it is armed."""
        backend = self.backend(1, armed=False)
        self.successResultOf(backend.put("k", BytesBody(b"data"), PLAIN, exclusive=True))
        self.points.arm()
        self.dies(lambda: backend.delete("k"))
        self.assertEqual(self.told, ["armed", "1 memory: delete"])

    def test_reading_is_no_point(self) -> None:
        """What changes nothing does not count, and goes through."""
        backend = self.backend()
        self.successResultOf(backend.put("k", BytesBody(b"data"), PLAIN, exclusive=True))
        del self.told[:]
        fetched = self.successResultOf(backend.get("k"))
        self.assertEqual(self.successResultOf(collect(fetched.body, 10)), b"data")
        self.assertEqual(self.successResultOf(backend.head("k")).size, 4)
        self.assertEqual(len(self.successResultOf(backend.list_objects())), 1)
        self.assertEqual(self.told, [])

    def test_transactions(self) -> None:
        """Transactions are points; after one it is durable."""
        ledger = SqliteDatabase(IN_MEMORY, Clock(), threaded=False).open()
        crashing = CrashingLedger(ledger, CrashPoints(2, When.AFTER, self.told.append, die=die))

        async def work(tx: ITransaction) -> None:
            await tx.run("DELETE FROM owners")

        self.successResultOf(crashing.transact(work))
        self.assertEqual(len(self.successResultOf(crashing.query("SELECT id FROM ledger"))), 1)
        self.dies(lambda: crashing.transact(work))
        self.assertEqual(len(self.told), 2)
        self.assertIn("transaction", self.told[0])
