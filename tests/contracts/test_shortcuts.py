"""Reserving, committing and deleting in one round trip: the same as in several, and as certain."""

from __future__ import annotations

import os
from typing import Any

import psycopg2
import psycopg2.errors
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, deferLater

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Bucket
from s3orchestrator.errors import NoSuchBucket, NoSuchKey, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store import postgres
from s3orchestrator.store.connections import Connection
from s3orchestrator.store.dialing import Patience
from s3orchestrator.store.operations import ILedger, Left
from s3orchestrator.store.pool import Limits
from tests.contracts.store_kit import Kit, SharedLedger
from tests.contracts.store_postgres import ComesLate, LosesAnswer, PostgresCase
from tests.contracts.store_shortcuts import SameContract

ONE = Limits(at_least=0, at_most=1)


class Asked:
    """Counts what is asked of the server."""

    def __init__(self, case: PostgresCase) -> None:
        self.times = 0
        ask = Connection.ask

        def counted(connection: Connection, *arguments: Any) -> Any:
            self.times += 1
            return ask(connection, *arguments)

        case.patch(Connection, "ask", counted)

    def since(self) -> int:
        """How often something was asked since this was called last."""
        times, self.times = self.times, 0
        return times


class SameTests(SameContract, PostgresCase):
    """Two ledgers that are told the same; only one of them takes the shortcuts."""

    lives = 2
    steps = 150

    async def kits(self) -> list[Kit]:
        kits = []
        for is_short in (True, False):
            clock = Clock()
            clock.advance(1_700_000_000)
            database = await self.open(clock=clock, limits=ONE)
            if not is_short:
                database.operations.shortcuts = None
            kits.append(Kit(database, clock))
            self.database = self.server.database("icu")
            self.addCleanup(self.server.drop, self.database)
        return kits


class OneTripTests(PostgresCase):
    async def test_trips(self) -> None:
        """
        What clients do most takes one round trip for each transaction.
        """
        kit = Kit(await self.open(), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        await kit.blobs.set_limits({"a": 1 << 20})
        await kit.put(bucket, "other")
        asked = Asked(self)
        for _ in range(2):
            blob = await kit.reserve(bucket)
            self.assertEqual(asked.since(), 1)
            await kit.commit(bucket, blob)
            self.assertEqual(asked.since(), 1)
        for _ in range(2):
            await kit.versions.remove(bucket, "k")
            self.assertEqual(asked.since(), 1)
        self.assertEqual(await kit.findings(), [])

    async def test_no_scan(self) -> None:
        """
        No plan that a session keeps reads a whole table, though they were made while it was empty.
        """
        database = await self.open(limits=ONE)
        kit = Kit(database, self.reactor)
        bucket = await kit.buckets.adopt("photos")
        before = self.scans()
        for number in range(10):
            await kit.put(bucket, f"{number}")
            await kit.put(bucket, f"{number}")
            await kit.versions.remove(bucket, f"{number}")
        await database.close()
        while self.server.backends(self.database):
            pass
        self.assertEqual(self.scans(), before)

    def scans(self) -> list[Any]:
        """How often the tables of objects were read as a whole, by sessions that have ended or rested."""
        return self.server.execute(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('blobs', 'versions')"
            " ORDER BY relname",
            database=self.database,
        )


class CertainTests(PostgresCase):
    async def relayed(self) -> tuple[LosesAnswer, Kit, Bucket]:
        relay = LosesAnswer()
        port = self.reactor.listenTCP(0, relay, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        kit = Kit(await self.open_at(port.getHost().port), self.reactor)
        return relay, kit, await kit.buckets.adopt("photos")

    def left(self, ledger: ILedger) -> set[Left]:
        return {end.left for end in ledger.operations.loose_ends}

    async def test_lost_answer(self) -> None:
        """
        Of what was sent nobody knows whether it has happened, and here it has; it is not sent again.
        """
        relay, kit, bucket = await self.relayed()
        relay.word = b"s3o_reserve"
        with self.assertRaises(TransactionUnclear):
            await kit.reserve(bucket)
        self.assertEqual(self.left(kit.ledger), {Left.RESERVATION})
        relay.word = None
        self.assertEqual(len(await kit.rows("SELECT id FROM blobs")), 1)
        await kit.blobs.tie_up()
        blob = await kit.reserve(bucket)
        relay.word = b"s3o_commit"
        with self.assertRaises(TransactionUnclear):
            await kit.commit(bucket, blob)
        self.assertEqual(self.left(kit.ledger), {Left.COMMIT, Left.CLAIM})
        relay.word = None
        self.assertEqual((await kit.versions.find(bucket, "k")).blobs[0].id, blob.id)
        relay.word = b"s3o_remove"
        with self.assertRaises(TransactionUnclear):
            await kit.versions.remove(bucket, "k")
        relay.word = None
        with self.assertRaises(NoSuchKey):
            await kit.versions.find(bucket, "k")
        await kit.blobs.tie_up()
        self.assertEqual(await kit.findings(), [])

    async def test_late(self) -> None:
        """
        What reaches the server when its sender has given up does nothing: others have gone on since.
        """
        relay = ComesLate()
        port = self.reactor.listenTCP(0, relay, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        sender = Kit(await self.open_at(port.getHost().port, patience=Patience(answer=0.3)), self.reactor)
        bucket = await sender.buckets.adopt("photos")
        await sender.put(bucket, "k", etag="old")
        pending = await sender.reserve(bucket, "pending")
        for word, asked in (
            (b"s3o_remove", sender.versions.remove(bucket, "k")),
            (b"s3o_reserve", sender.reserve(bucket, "late")),
            (b"s3o_commit", sender.commit(bucket, pending)),
        ):
            relay.word = word
            with self.assertRaises(TransactionUnclear):
                await asked
        await sender.ledger.close()
        late = set(self.server.backends(self.database))
        other = Kit(await self.open(), self.reactor)
        await other.put(bucket, "k", etag="new")
        relay.pass_on()
        while late.intersection(self.server.backends(self.database)):
            await deferLater(self.reactor, 0)
        self.assertEqual((await other.versions.find(bucket, "k")).etag, "new")
        self.assertEqual(await other.rows("SELECT key FROM blobs WHERE state = 'pending'"), [("pending",)])
        self.assertEqual(await other.findings(), [])

    async def test_killed(self) -> None:
        """
        A connection that has ended before anything was sent is replaced, and nobody hears of it.
        """
        kit = Kit(await self.open(limits=ONE), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        for step in ("put", "remove") * 3:
            before = self.server.backends(self.database)
            self.kill()
            while any(os.path.exists(f"/proc/{pid}") for pid in before):
                pass
            if step == "put":
                blob = await kit.reserve(bucket)
                await kit.commit(bucket, blob)
            else:
                await kit.versions.remove(bucket, "k")
        self.assertEqual(await kit.findings(), [])

    async def test_failure(self) -> None:
        """
        What fails in the middle has changed nothing, and the connection can be used again.
        """
        kit = Kit(await self.open(limits=ONE), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        await kit.put(bucket, etag="old")
        blob = await kit.reserve(bucket)
        self.server.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'not this one'; END$$",
            "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON backend_counts"
            " FOR EACH ROW EXECUTE FUNCTION fail()",
            database=self.database,
        )
        for work in (kit.commit(bucket, blob), kit.versions.remove(bucket, "k"), kit.reserve(bucket)):
            with self.assertRaisesRegex(psycopg2.Error, "not this one"):
                await work
        self.assertEqual((await kit.versions.find(bucket, "k")).etag, "old")
        self.assertEqual(await kit.findings(), [])
        self.server.execute("DROP TRIGGER fail ON backend_counts", database=self.database)
        await kit.commit(bucket, blob, etag="new")
        self.assertEqual((await kit.versions.find(bucket, "k")).etag, "new")
        self.assertEqual(kit.ledger.operations.loose_ends, [])
        self.assertEqual(await kit.findings(), [])

    def drop_functions(self) -> None:
        """What is left of them in a database that is from before they were made."""
        made = self.server.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 's3o\\_%'", database=self.database
        )
        self.assertEqual(len(made), 3)
        self.server.execute(*[f"DROP FUNCTION {name}" for (name,) in made], database=self.database)

    async def one_of_each(self, kit: Kit, bucket: Bucket) -> None:
        """Reserve, commit and remove, each by two clients at once, without the functions."""
        self.drop_functions()
        blobs = await gatherResults([start(kit.reserve(bucket, key)) for key in "ab"])
        self.drop_functions()
        await gatherResults([start(kit.commit(bucket, blob)) for blob in blobs])
        self.drop_functions()
        await gatherResults([start(kit.versions.remove(bucket, key)) for key in "ab"])

    async def test_functions_lost(self) -> None:
        """
        A standby that has taken over, or a backup, may be from before the functions were made.
        """
        kit = Kit(await self.open(), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        await kit.put(bucket, "before")
        await self.one_of_each(kit, bucket)
        asked = Asked(self)
        await kit.reserve(bucket)
        self.assertEqual(asked.since(), 1)
        self.assertEqual(kit.ledger.operations.loose_ends, [])
        self.assertEqual(await kit.findings(), [])

    async def test_functions_not_made(self) -> None:
        """
        Where they may not be made any more, everything is done as on any database.
        """
        kit = Kit(await self.open(), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        self.drop_functions()
        self.patch(postgres, "make_functions", self.refuse)
        await kit.put(bucket, "a")
        await kit.put(bucket, "a")
        await kit.versions.remove(bucket, "a")
        self.assertEqual(await kit.findings(), [])

    async def refuse(self, tx: ITransaction) -> None:
        raise psycopg2.errors.InsufficientPrivilege("permission denied for schema public")

    async def test_deleted_bucket(self) -> None:
        """
        Into a bucket that another instance has deleted nothing is written.
        """
        database = await self.open()
        kit = Kit(database, self.reactor)
        bucket = await kit.buckets.adopt("photos")
        blob = await kit.reserve(bucket)
        await Kit(SharedLedger(database), self.reactor).buckets.delete(bucket)
        with self.assertRaises(NoSuchBucket):
            await kit.commit(bucket, blob)
        with self.assertRaises(NoSuchBucket):
            await kit.reserve(bucket)
