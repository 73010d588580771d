"""What holds among processes that share an SQLite ledger, beyond the contracts of a ledger."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, BlobState
from s3orchestrator.errors import NoSuchBucket, NoSuchKey, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store import sqlite
from s3orchestrator.store.guarded import GuardedLedger, nothing
from s3orchestrator.workers.ledger import DO
from s3orchestrator.workers.link import FailedElsewhere
from tests.contracts.store_kit import METADATA, Kit, LedgerCase
from tests.contracts.store_linked import Linked, Parent


class ChildrenCase(LedgerCase):
    """Two children, `one` and `two`; the kit is a third's."""

    async def opened(self) -> Linked:
        from twisted.internet import reactor

        self.parent = Parent(self.mktemp(), self.clock, reactor)
        return await self.parent.child()

    async def setUp(self) -> None:
        await super().setUp()
        self.one = Kit(await self.parent.child(), self.clock)
        self.two = Kit(await self.parent.child(), self.clock)

    async def pending(self) -> list[tuple[Any, ...]]:
        return await self.kit.rows("SELECT id, state, owner FROM blobs ORDER BY id")

    def owner(self, kit: Kit) -> int:
        return kit.ledger.operations.owner


class SeenTests(ChildrenCase, TestCase):
    """What one has written the others see."""

    async def test_at_once(self) -> None:
        """
        Whatever is acknowledged to one child is what every other reads from then on.
        """
        kits = (self.one, self.two, self.kit, Kit(self.parent.database, self.clock))
        for number in range(25):
            for writer in kits:
                written = await writer.put(self.bucket, "k", etag=f"{number}")
                for reader in kits:
                    found = await reader.versions.find(self.bucket, "k")
                    self.assertEqual(found.id, written.version.id)
            await self.one.versions.remove(self.bucket, "k")
            for reader in kits:
                with self.assertRaises(NoSuchKey):
                    await reader.versions.find(self.bucket, "k")

    async def test_under_load(self) -> None:
        """
        Also while others write, and without a read being held up by them.
        """

        async def alternate(key: str, writer: Kit, reader: Kit) -> None:
            for number in range(20):
                written = await writer.put(self.bucket, key, etag=f"{number}")
                found = await reader.versions.find(self.bucket, key)
                self.assertEqual(found.id, written.version.id)

        working = [
            start(alternate(f"{number}", *pair))
            for number in range(4)
            for pair in [(self.one, self.two) if number % 2 else (self.two, self.one)]
        ]
        for one in working:
            await one


class NoticeTests(ChildrenCase, TestCase):
    """What they tell each other."""

    async def test_buckets(self) -> None:
        """
        All hear that buckets have changed, whoever did it: the parent, the others, and the one itself.
        """
        heard: list[str] = []

        def listen(name: str, ledger: Any) -> None:
            ledger.on_notice(lambda notice: heard.append(f"{name} {notice}"))

        for name, ledger in (
            ("one", self.one.ledger),
            ("two", self.two.ledger),
            ("parent", self.parent.database),
        ):
            listen(name, ledger)
        bucket = await self.one.buckets.create("albums", "ann")
        await self.two.buckets.adopt("photos")  # whoever has an answer has heard what was before it
        self.assertEqual(sorted(heard), ["one buckets", "parent buckets", "two buckets"])
        self.assertIn(bucket, await self.two.buckets.all())
        heard.clear()
        await Kit(self.parent.database, self.clock).buckets.delete(bucket)
        await self.one.buckets.adopt("photos")
        await self.two.buckets.adopt("photos")
        self.assertEqual(sorted(heard), ["one buckets", "parent buckets", "two buckets"])

    async def test_rolled_back(self) -> None:
        """
        What was undone is told nobody, whatever else is committed with it.
        """
        heard: list[str] = []
        self.two.ledger.on_notice(heard.append)
        await self.one.put(self.bucket)
        refused = start(self.one.buckets.delete(self.bucket))
        written = start(self.two.put(self.bucket))
        with self.assertRaises(Exception):  # noqa: B017
            await refused
        await written
        self.assertEqual(heard, [])

    async def test_before_the_beginning(self) -> None:
        """
        A process that has not asked for the ledger yet is told nothing: it would not know what that means.
        """
        told: list[str] = []
        client = self.parent.server.admit(lambda *what: told.append(str(what)))
        await self.one.buckets.adopt("albums")
        self.assertEqual(told, [])
        await self.parent.server.gone(client)

    async def test_bad_hearer(self) -> None:
        """
        One that fails keeps nobody else from hearing.
        """

        def fail(notice: str) -> None:
            raise ZeroDivisionError

        heard: list[str] = []
        for ledger in (self.one.ledger, self.parent.database):
            ledger.on_notice(fail)
            ledger.on_notice(heard.append)
        await self.one.buckets.adopt("albums")
        self.assertEqual(heard, ["buckets", "buckets"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class LeaveTests(ChildrenCase, TestCase):
    """Callers that leave."""

    async def test_too_late(self) -> None:
        """
        A reservation whose answer nobody heard is tied up like any other loose end.
        """
        before = await self.pending()
        asking = start(self.one.reserve(self.bucket, "k"))
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await self.one.blobs.tie_up()
        await self.one.blobs.tie_up()
        self.assertEqual(await self.pending(), before)

    async def test_claim(self) -> None:
        """
        So are claims: what was doomed for somebody who has left is for anybody to delete.
        """
        await self.one.put(self.bucket, "k")
        asking = start(self.one.versions.remove(self.bucket, "k"))
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await self.one.blobs.tie_up()
        await self.one.blobs.tie_up()
        try:
            await self.two.versions.find(self.bucket, "k")
        except NoSuchKey:
            (claimed,) = await self.two.blobs.claim_doomed(10)
            self.assertEqual(claimed.key, "k")

    async def test_many(self) -> None:
        """
        However many leave at whatever moment, nothing stays reserved.
        """
        asking = [start(self.one.reserve(self.bucket, f"{number}")) for number in range(60)]
        for number, one in enumerate(asking):
            one.addErrback(lambda failure: failure.trap(CancelledError))
            if number % 7 == 0:
                await self.two.blobs.is_held(Blob(1, "", "", BlobState.LIVE, 0, 0))
                await self.two.blobs.tie_up()
            one.cancel()
        for _ in range(2):
            await self.one.blobs.tie_up()
        # One that was answered in time is its caller's; here all callers have gone.
        kept = [await one for one in asking]
        left = {blob.id for blob in kept if isinstance(blob, Blob)}
        self.assertEqual({row[0] for row in await self.pending()}, left)


class GoneTests(ChildrenCase, TestCase):
    """Children that die."""

    async def test_reaped(self) -> None:
        """
        What it was writing is doomed at once, and what it had claimed is anybody's; others keep theirs.
        """
        writing = await self.one.reserve(self.bucket, "one")
        claimed = await self.one.blobs.abandon(await self.one.reserve(self.bucket, "claimed"), unclear=True)
        others = await self.two.reserve(self.bucket, "two")
        opened = await self.one.upload(self.bucket, "upload")
        await self.ledger(self.one).hang_up()
        self.assertEqual(await self.kit.blobs.reap(10, 0), 1)
        states = {blob.id: blob.state for blob in await self.kit.blobs.names("a")}
        self.assertEqual(states[writing.id], BlobState.DOOMED)
        self.assertEqual(states[others.id], BlobState.PENDING)
        self.assertEqual(states[opened.blob.id], BlobState.PENDING)
        taken = {blob.id for blob in await self.two.blobs.claim_doomed(10)}
        assert claimed is not None
        self.assertEqual(taken, {writing.id, claimed.id})
        owners = {row[0] for row in await self.kit.rows("SELECT id FROM owners")}
        self.assertNotIn(self.owner(self.one), owners)
        self.assertIn(self.owner(self.two), owners)

    async def test_in_the_middle(self) -> None:
        """
        What it had just asked for happens or not, and leaves nothing that is anybody's.
        """
        asking = [start(self.one.put(self.bucket, f"{number}")) for number in range(40)]
        # Some of them have been reserved by now, others not.
        await self.two.reserve(self.bucket, "two")
        await self.ledger(self.one).hang_up()
        for one in asking:
            with self.assertRaises(StoreUnavailable):
                await one
        await self.kit.blobs.reap(100, 0)
        held = await self.kit.rows(
            "SELECT key FROM blobs WHERE state = 'pending' OR owner = :owner", owner=self.owner(self.one)
        )
        self.assertEqual(held, [("two",)])

    async def test_locks(self) -> None:
        """
        Its locks are free; while it lives nobody else has them.
        """
        lock = self.one.ledger.locks.hold("rebalance")
        self.assertTrue(await lock.__aenter__())
        async with self.two.ledger.locks.hold("rebalance") as held:
            self.assertFalse(held)
        async with self.parent.database.locks.hold("rebalance") as held:
            self.assertFalse(held)
        await self.ledger(self.one).hang_up()
        async with self.two.ledger.locks.hold("rebalance") as held:
            self.assertTrue(held)
        async with self.two.ledger.locks.hold("rebalance") as held:
            self.assertTrue(held)

    def ledger(self, kit: Kit) -> Linked:
        assert isinstance(kit.ledger, Linked)
        return kit.ledger


class AwayTests(ChildrenCase, TestCase):
    """A parent that cannot write, or has gone."""

    async def test_away(self) -> None:
        """
        While the writer is away children do not read either; they do when it is back.
        """
        self.patch(sqlite, "BUSY_TIMEOUT", 0.01)
        await self.one.put(self.bucket, "k")
        reading = self.parent.database._connect_aside()  # type: ignore[attr-defined]
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM blobs").fetchall()
        # Somebody reads, so the log cannot be emptied, as it must be after a failure.

        async def end_early(tx: ITransaction) -> None:
            await tx.run("ROLLBACK")

        with self.assertRaises(StoreUnavailable):
            await self.parent.database.transact(end_early)
        self.assertTrue(self.parent.database.is_away)
        with self.assertRaises(StoreUnavailable):
            await self.one.ledger.transact(nothing)
        for kit in (self.one, self.two):
            with self.assertRaises(StoreUnavailable):
                await kit.versions.find(self.bucket, "k")
        with self.assertRaises(StoreUnavailable):
            await self.parent.child()
        reading.close()
        await self.one.ledger.transact(nothing)
        await self.two.ledger.transact(nothing)
        for kit in (self.one, self.two):
            self.assertEqual((await kit.versions.find(self.bucket, "k")).key, "k")

    async def test_away_for_a_moment(self) -> None:
        """
        One that enters while the writer's thread is just winning the ledger back reads it afterwards.
        """
        await self.one.put(self.bucket, "k")
        database, writer = self.parent.database, self.parent.database._writer  # type: ignore[attr-defined]
        transact = sqlite.SqliteDatabase.transact

        async def before_a_failure(ledger: Any, work: Any) -> Any:
            result = await transact(ledger, work)
            writer.is_away = True
            return result

        patched = self.patch(sqlite.SqliteDatabase, "transact", before_a_failure)
        entered = await self.parent.child()
        patched.restore()
        writer.is_away = False
        await database.transact(nothing)
        self.assertFalse(entered.is_away)
        found = await Kit(entered, self.clock).versions.find(self.bucket, "k")
        self.assertEqual(found.key, "k")

    async def test_breaker(self) -> None:
        """
        With the parent gone the breaker opens, and nobody waits any more.
        """
        self.clean_at_the_end = False
        guarded = GuardedLedger(self.one.ledger, self.clock, 2, 30.0, lambda: 0.0)
        writing = start(self.one.put(self.bucket))
        await self.parent.crash()
        with self.assertRaises(TransactionUnclear):
            await writing
        for _ in range(2):
            with self.assertRaises(StoreUnavailable):
                await guarded.query("SELECT 1")
        self.assertTrue(guarded.is_away)
        await guarded.close()


class AskedTests(ChildrenCase, TestCase):
    """What is not done for others."""

    async def test_refused(self) -> None:
        """
        Only what is listed can be asked for.
        """
        assert isinstance(self.one.ledger, Linked)
        link = self.one.ledger._link
        for role, method in (("blobs", "names"), ("blobs", "__init__"), ("versions", "_tell")):
            with self.assertRaises(FailedElsewhere):
                await link.ask(DO, role, method, (), {})
        with self.assertRaises(FailedElsewhere):
            await link.ask(DO, "operations", "become", (1, 1), {})
        self.assertEqual(len(self.flushLoggedErrors()), 4)
        with self.assertRaises(RuntimeError):
            await super(Linked, self.one.ledger).transact(lambda tx: tx.run("DELETE FROM blobs"))

    async def test_errors(self) -> None:
        """
        Refusals of the ledger are what they are with the ledger at hand.
        """
        bucket = await self.one.buckets.create("albums", "ann")
        blob = await self.one.reserve(bucket)
        await self.two.buckets.delete(bucket)
        with self.assertRaises(NoSuchBucket):
            await self.one.commit(bucket, blob)
        with self.assertRaises(NoSuchBucket):
            await self.one.uploads.create(bucket, "k", ["a"], METADATA)
