"""Long looks at a ledger whose writer is in trouble."""

from __future__ import annotations

from threading import Event

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.sqlite import SqliteDatabase
from tests.contracts.store_kit import TimedReactor
from tests.contracts.store_operating import LongLooksContract


class SnapshotTests(TestCase):
    async def test_make_way(self) -> None:
        """A look is broken off when the log must be emptied, so that the ledger comes back at once."""
        from twisted.internet import reactor

        ledger = SqliteDatabase(self.mktemp(), TimedReactor(Clock(), reactor)).open()
        self.addCleanup(lambda: start(ledger.close()))
        begun = Event()

        async def endless(tx: ITransaction) -> None:
            await tx.all("SELECT count(*) FROM buckets")
            begun.set()
            await tx.one(LongLooksContract.endless_statement)

        async def losing(tx: ITransaction) -> None:
            await tx.run("ROLLBACK")  # what a full disk does of its own accord

        looking = start(ledger.snapshot(endless))
        begun.wait(30.0)
        with self.assertRaises(StoreUnavailable):
            await ledger.transact(losing)
        with self.assertRaises(StoreUnavailable):
            await looking
        self.assertEqual((await Buckets(ledger).adopt("photos")).name, "photos")
