"""Named locks: in one process, and among instances on one PostgreSQL ledger."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from s3orchestrator.concurrency import start
from s3orchestrator.interfaces import ILocks
from s3orchestrator.store.locks import LocalLocks
from tests.contracts.store_postgres import ledger
from tests.servers import postgres


class LocksContract:
    """`one` and `other` compete: two services of a process, or two processes."""

    one: ILocks
    other: ILocks

    async def test_one_at_a_time(self: Any) -> None:
        """Whoever comes second is told so at once, and has it when it is free again."""
        verifyObject(ILocks, self.one)
        async with self.one.hold("cleanup") as held, self.other.hold("cleanup") as also:
            self.assertEqual((held, also), (True, False))
        async with self.other.hold("cleanup") as held:
            self.assertTrue(held)

    async def test_names_are_apart(self: Any) -> None:
        """One service does not keep another from working."""
        async with self.one.hold("cleanup") as held, self.other.hold("rests") as also:
            self.assertEqual((held, also), (True, True))

    async def test_given_back_after_a_failure(self: Any) -> None:
        """However the work ended."""
        with self.assertRaises(ValueError):
            async with self.one.hold("cleanup"):
                raise ValueError("broken")
        async with self.other.hold("cleanup") as held:
            self.assertTrue(held)

    async def test_cancelled(self: Any) -> None:
        """Work that is cancelled, also while it waits to hear whether it may, gives the lock back."""
        from twisted.internet import reactor

        for steps in (0, 1):
            waiting: Deferred[None] = Deferred()
            holding: Deferred[None] = Deferred()

            async def work(holding: Any = holding, waiting: Any = waiting) -> None:
                async with self.one.hold("cleanup"):
                    reactor.callLater(0, holding.callback, None)
                    await waiting

            running = start(work())
            if steps:
                await holding
            running.cancel()
            with self.assertRaises(CancelledError):
                await running
            while True:
                async with self.other.hold("cleanup") as held:
                    if held:
                        break

    async def test_many_at_once(self: Any) -> None:
        """However many ask, one has it."""
        seen: list[bool] = []
        gate: Deferred[None] = Deferred()

        async def ask(locks: ILocks) -> None:
            async with locks.hold("cleanup") as held:
                seen.append(held)
                if len(seen) == 10:
                    gate.callback(None)
                if held:
                    await gate

        await gatherResults([start(ask(locks)) for locks in (self.one, self.other) for _ in range(5)])
        self.assertEqual((seen.count(True), len(seen)), (1, 10))


class LocalTests(LocksContract, TestCase):
    """One process."""

    def setUp(self) -> None:
        self.one = self.other = LocalLocks()


class AdvisoryTests(LocksContract, TestCase):
    """Two instances."""

    async def setUp(self) -> None:
        self.database = postgres().database()
        ledgers = [await ledger(Clock(), database=self.database).open() for _ in range(2)]
        for opened in ledgers:
            self.addCleanup(lambda opened=opened: start(opened.close()))
        self.one, self.other = (opened.locks for opened in ledgers)

    async def test_session_ends(self) -> None:
        """A lock is lost with its session; work goes on, and a new session is opened for the next."""
        async with self.one.hold("cleanup"):
            postgres().execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{self.database}' AND query LIKE '%advisory_lock(4%'"
                " AND pid <> pg_backend_pid()"
            )
            while True:
                async with self.other.hold("cleanup") as held:
                    if held:
                        break
        async with self.one.hold("cleanup") as held:
            self.assertTrue(held)
