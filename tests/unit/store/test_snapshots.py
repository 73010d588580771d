"""Long looks at a ledger in a file: beside a writer that goes on, and broken off."""

from __future__ import annotations

from threading import Event

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.sqlite import SqliteDatabase
from tests.contracts.store_kit import TimedReactor

BUCKETS = "SELECT count(*) FROM buckets"
ENDLESS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n
"""
PATIENCE = 30.0


class SnapshotTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.ledger = SqliteDatabase(self.mktemp(), TimedReactor(Clock(), reactor)).open()
        self.addCleanup(lambda: start(self.ledger.close()))
        self.buckets = Buckets(self.ledger)
        self.begun, self.go_on = Event(), Event()

    async def endless(self, tx: ITransaction) -> None:
        self.begun.set()
        await tx.one(ENDLESS)

    async def test_one_moment(self) -> None:
        """What is committed while a look lasts is not seen by it; nobody waits for the other."""

        async def work(tx: ITransaction) -> list[int]:
            before = await tx.all(BUCKETS)
            self.begun.set()
            self.go_on.wait(PATIENCE)
            after = await tx.all(BUCKETS)
            return [before[0][0], after[0][0]]

        looking = start(self.ledger.snapshot(work))
        self.begun.wait(PATIENCE)
        await self.buckets.adopt("photos")
        self.assertEqual([row[0] for row in await self.ledger.query(BUCKETS)], [1])
        self.go_on.set()
        self.assertEqual(await looking, [0, 0])

    async def test_closed(self) -> None:
        """Closing breaks a look off and waits until it has let go."""
        looking = start(self.ledger.snapshot(self.endless))
        self.begun.wait(PATIENCE)
        await self.ledger.close()
        with self.assertRaises(StoreUnavailable):
            await looking
        with self.assertRaises(StoreUnavailable):
            await self.ledger.snapshot(self.endless)

    async def test_cancelled(self) -> None:
        """A caller that leaves ends the look."""
        looking = start(self.ledger.snapshot(self.endless))
        self.begun.wait(PATIENCE)
        looking.cancel()
        with self.assertRaises(CancelledError):
            await looking
        await self.ledger.close()

    async def test_reads_only(self) -> None:
        """Nothing can be changed."""

        async def work(tx: ITransaction) -> None:
            await tx.run("DELETE FROM ledger")

        with self.assertRaises(StoreUnavailable):
            await self.ledger.snapshot(work)

    async def test_several(self) -> None:
        """Looks do not wait for each other."""

        async def count(tx: ITransaction) -> int:
            (row,) = await tx.all(BUCKETS)
            return int(row[0])

        looking = start(self.ledger.snapshot(self.endless))
        self.begun.wait(PATIENCE)
        self.assertEqual(await self.ledger.snapshot(count), 0)
        looking.cancel()
        with self.assertRaises(CancelledError):
            await looking
