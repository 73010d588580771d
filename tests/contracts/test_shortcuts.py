"""Reserving, committing and deleting in one round trip: the same as in several, and as certain."""

from __future__ import annotations

import os
import re
from typing import Any

import psycopg2
import psycopg2.errors
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Bucket, NewVersion
from s3orchestrator.errors import NoSuchBucket, NoSuchKey, TransactionUnclear
from s3orchestrator.interfaces import ITransaction, Stored
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store import postgres
from s3orchestrator.store.connections import Connection
from s3orchestrator.store.operations import ILedger, Left
from s3orchestrator.store.pool import Limits
from tests.contracts.store_kit import ABSENT, Kit, SharedLedger
from tests.contracts.store_postgres import LosesAnswer, PostgresCase

ONE = Limits(at_least=0, at_most=1)

# What is a sign in SQL, in the driver's statements, in ours, in the functions, or in the protocol.
NASTY = (
    "'; DROP TABLE versions; --",
    "\\",
    "\\'",
    "a\\\\'' OR 1=1",
    "\"quoted\" 'twice'",
    "%s %(key)s %% %",
    ":key :bucket_id ::text",
    "$body$ $$ $1 $shard ${shard}",
    "line\r\nbreak\ttab\x01\x7f",
    "NULL",
    "{1,2} (3,4) [5]",
    "\u00e9\U0001f600\ufeff\u202e",
    "E'\\x41'",
    "/* */",
    "x" * 900,
)

TABLES = {
    "versions": "bucket_id, key, version_id, is_latest, is_delete_marker, size, etag, modified_ms, metadata,"
    " storage_class, checksum_algorithm, checksum_value, checksum_kind, parts, sha256",
    "blobs": "backend, split_part(name, '~', 1), state, size, created_ms, bucket_id, key, etag,"
    " backend_version, is_plain, was_live, unclear, suspect, attempts, upload_id, multipart,"
    " version IS NOT NULL, owner IS NOT NULL, operation, due_ms, doomed_ms, reason, seen_ms",
    "backend_guards": "backend, taken, bytes_limit",
    "byte_counts": "backend, bucket_id, sum(live), sum(reserved), sum(orphan), sum(objects), sum(held)",
    "backend_counts": "backend, sum(live), sum(reserved), sum(orphan)",
}
GROUPED = {"byte_counts": " GROUP BY backend, bucket_id", "backend_counts": " GROUP BY backend"}


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


async def everything(kit: Kit) -> dict[str, list[tuple[Any, ...]]]:
    """What is in the ledger, but for numbers given by it and what is drawn by lot."""
    return {
        table: sorted(await kit.rows(f"SELECT {columns} FROM {table}{GROUPED.get(table, '')}"), key=repr)
        for table, columns in TABLES.items()
    }


def _alike(answer: object) -> str:
    """An answer without the numbers of rows and what is drawn by lot."""
    return re.sub(r"~\w{26}", "~", re.sub(r"\bid=\d+", "id=", repr(answer)))


class SameTests(PostgresCase):
    """Two ledgers that are told the same; only one of them takes the shortcuts."""

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

    async def one_life(self, kit: Kit) -> list[object]:
        """Write, overwrite and delete in many ways; returns what was answered."""
        kit.traits["b"] = None
        bucket = await kit.buckets.adopt("photos")
        await kit.blobs.set_limits({"a": 1000, "b": None, "u": 50})
        told: list[object] = []

        async def tell(work: Any) -> Any:
            try:
                result = await work
            except Exception as error:
                told.append((type(error), str(error).partition("~")[0]))
                return None
            told.append(result)
            return result

        for key in ("a", "b", "a/b", "a", "c", "a"):
            await tell(kit.put(bucket, key, len(key) * 7, etag=key))
            assert isinstance(kit.clock, Clock)
            kit.clock.advance(0.25 if key == "c" else 0)
        for backends in (("u",), ("u", "a"), ("f",), ("b",), ("u", "u")):
            await tell(kit.put(bucket, "d", 40, *backends))
        await tell(kit.put(bucket, "a", 5, condition=ABSENT))
        await tell(kit.put(bucket, "e", 5, condition=ABSENT))
        await tell(kit.put(bucket, "too large", 2000))
        await tell(kit.blobs.reserve(bucket, "f", 3, ["a"], avoid_plain=True))
        await tell(kit.commit(bucket, await kit.reserve(bucket, "g", 9), size=4))
        pending = await kit.reserve(bucket, "h", 9)
        await kit.blobs.abandon(pending, unclear=False)
        await tell(kit.commit(bucket, pending))
        await tell(self.with_copy(kit, bucket))
        for key in ("copied", "a", "a", "nothing", "a/b"):
            await tell(kit.versions.remove(bucket, key))
        await tell(kit.versions.remove(bucket, "d", None, ABSENT))
        await tell(kit.versions.remove_many(bucket, [("b", None, None), ("c", None, None)]))
        await kit.buckets.delete(await kit.buckets.adopt("gone"))
        return told

    async def with_copy(self, kit: Kit, bucket: Bucket) -> None:
        """Write a key whose version has two blobs, and overwrite it."""
        await kit.put(bucket, "copied", 8, "a")
        (version,) = await kit.rows("SELECT id FROM versions WHERE key = 'copied'")
        spare = await kit.reserve(bucket, "copied", 6, "b")
        await kit.execute(
            "UPDATE blobs SET state = 'live', version = :version, was_live = TRUE WHERE id = :id",
            version=version[0],
            id=spare.id,
        )
        for table, more in (("byte_counts", ", objects = objects + 1"), ("backend_counts", "")):
            await kit.execute(
                f"UPDATE {table} SET live = live + 6, reserved = reserved - 6{more} WHERE backend = 'b'"
            )
        await kit.put(bucket, "copied", 8, "a")

    async def test_same(self) -> None:
        """
        Answers, refusals and rows are the same.
        """
        short, long = await self.kits()
        answers = [await self.one_life(kit) for kit in (short, long)]
        self.assertEqual(*(list(map(_alike, told)) for told in answers))
        self.assertEqual(await everything(short), await everything(long))
        self.assertEqual(await short.findings(), [])

    async def test_nasty(self) -> None:
        """
        Whatever a client calls its objects, and says of them, is kept as it is.
        """
        kit = Kit(await self.open(), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        for number, nasty in enumerate(NASTY):
            metadata = ObjectMetadata(content_type=nasty, user={"colour": nasty})
            for _ in range(2):
                blob = await kit.reserve(bucket, nasty, number)
                new = NewVersion(number, nasty, metadata)
                stored = Stored(nasty, version_id=nasty)
                committed = await kit.versions.commit(bucket, blob, stored, new)
            found = await kit.versions.find(bucket, nasty)
            self.assertEqual(found, committed.version)
            self.assertEqual((found.key, found.etag, found.metadata), (nasty, nasty, metadata))
            self.assertEqual((found.blobs[0].etag, found.blobs[0].backend_version), (nasty, nasty))
            self.assertEqual([gone.backend_version for gone in committed.displaced], [nasty])
        for nasty in NASTY:
            self.assertEqual((await kit.versions.remove(bucket, nasty)).doomed[0].key, nasty)
        self.assertEqual(await kit.findings(), [])


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
