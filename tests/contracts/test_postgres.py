"""PostgreSQL and its driver, with what they do to a reactor when things go wrong."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater

from s3orchestrator.concurrency import start
from s3orchestrator.config.loader import load
from s3orchestrator.config.sections import DatabaseConfig
from s3orchestrator.errors import Conflict, LedgerTooNew, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.dialing import Patience
from s3orchestrator.store.fsck import check
from s3orchestrator.store.pool import Limits
from s3orchestrator.store.postgres import PostgresDatabase
from tests.contracts.store_kit import ABSENT, Kit
from tests.contracts.store_postgres import FEW, Heard, LosesAnswer, PostgresCase, ledger, server_of
from tests.contracts.store_races import outcomes

DOCS = Path(__file__).parent.parent.parent / "docs"

LOCK_KEY = "$lock_key"
NAMES = "SELECT name FROM backends ORDER BY name"
INSERT = "INSERT INTO backends (name) VALUES (:name)"

# A turn of the reactor is much shorter; what libpq blocks for is as long as the server is silent.
STANDSTILL = 0.25
HURRIED = Patience(connect=1.0, statement=0.3, answer=1.0, read=0.5)


class SetClock:
    """A reactor on a machine whose clock has been set `ahead` by so many seconds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.ahead = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def seconds(self) -> float:
        return float(self._reactor.seconds() + self.ahead)


def inserting(name: str) -> Any:
    """A transaction that leaves something behind."""

    async def work(tx: ITransaction) -> str:
        await tx.run(INSERT, name=name)
        return name

    return work


async def names(database: PostgresDatabase) -> list[str]:
    return [row["name"] for row in await database.query(NAMES)]


class StatementTests(PostgresCase):
    async def test_rows(self) -> None:
        """
        Columns are read by name and by position; numbers are numbers, bytes are bytes.
        """
        database = await self.open()
        statement = (
            "SELECT 7 AS one, sum(n) AS two, '\\x00ff'::bytea AS three, '%' AS four FROM (SELECT :n AS n) x"
        )
        (row,) = await database.query(statement, n=1 << 40)
        one, two, three, four = row
        self.assertEqual((one, two, three, four), (row["one"], row["two"], row[2], row["four"]))
        self.assertEqual(tuple(row), (7, 1 << 40, b"\x00\xff", "%"))
        self.assertEqual((type(two), type(three), len(row)), (int, bytes, 4))

    async def test_coroutine(self) -> None:
        """
        A transaction's coroutine is run to its end, and is committed then.
        """
        database = await self.open()
        self.assertEqual(await database.transact(inserting("a")), "a")
        self.assertEqual(await names(database), ["a"])

    async def test_nothing_done(self) -> None:
        """
        A transaction without a statement is none.
        """
        database = await self.open()

        async def work(tx: ITransaction) -> int:
            return 1

        self.assertEqual(await database.transact(work), 1)

    async def test_raises(self) -> None:
        """
        What a transaction raises undoes it, and is raised; the connection can be used again.
        """
        database = await self.open(limits=Limits(at_least=0, at_most=1))

        async def work(tx: ITransaction) -> None:
            await tx.run(INSERT, name="a")
            raise Conflict("no")

        with self.assertRaises(Conflict):
            await database.transact(work)
        self.assertEqual(await names(database), [])

    async def test_mistake(self) -> None:
        """
        A mistake of ours is not taken for a database that is away.
        """
        database = await self.open()
        with self.assertRaises(psycopg2.ProgrammingError):
            await database.query("SELECT nothing FROM nowhere")

        async def work(tx: ITransaction) -> None:
            await tx.one("SELECT nothing FROM nowhere")

        with self.assertRaises(psycopg2.ProgrammingError):
            await database.transact(work)

    async def test_taken(self) -> None:
        """
        A row that is there already is a conflict.
        """
        database = await self.open()
        await database.transact(inserting("a"))
        with self.assertRaises(Conflict):
            await database.transact(inserting("a"))

    async def test_failure_ignored(self) -> None:
        """
        A transaction that goes on after a failed statement is not taken for committed.
        """
        database = await self.open()

        async def work(tx: ITransaction) -> None:
            await tx.run(INSERT, name="a")
            with self.assertRaises(psycopg2.ProgrammingError):
                await tx.one("SELECT nothing FROM nowhere")

        with self.assertRaises(psycopg2.InternalError):
            await database.transact(work)
        self.assertEqual(await names(database), [])

    async def test_caller_leaves(self) -> None:
        """
        A caller that leaves hears so at once; what it asked for happens nevertheless.
        """
        database = await self.open()
        asked: Deferred[None] = Deferred()

        async def work(tx: ITransaction) -> None:
            await tx.run(INSERT, name="a")
            asked.callback(None)
            await tx.one("SELECT pg_sleep(0.05)")

        working = start(database.transact(work))
        await asked
        working.cancel()
        with self.assertRaises(CancelledError):
            await working
        await database.close()
        self.assertEqual(await names(await self.open()), ["a"])

    async def test_time(self) -> None:
        """
        Ledger time is the server's.
        """
        database = await self.open()
        await database.measure_time()
        (row,) = await database.query("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now")
        self.assertLess(abs(database.now_ms() - row["now"]), 1000)
        self.assertLess(abs(database.clock_skew_ms), 1000)

    async def test_clock_set(self) -> None:
        """
        When somebody sets our clock, the ledger's time goes on; how far ours is off is seen later.
        """
        reactor = SetClock(self.reactor)
        database = await self.opened(PostgresDatabase(server_of(self.database), reactor, limits=FEW))
        for seconds in (7200.0, -7200.0):
            reactor.ahead = seconds
            (row,) = await database.query("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now")
            self.assertLess(abs(database.now_ms() - row["now"]), 1000)
            await database.measure_time()
            self.assertLess(abs(database.clock_skew_ms + seconds * 1000), 1000)
            self.assertLess(abs(database.now_ms() - row["now"]), 1000)


class RaceTests(PostgresCase):
    async def test_deadlock(self) -> None:
        """
        Of transactions that wait for each other one is run again, and both succeed.
        """
        database = await self.open()
        have_locked: list[Deferred[None]] = [Deferred(), Deferred()]
        tries = []

        def crossing(first: str, second: str, here: int) -> Any:
            async def work(tx: ITransaction) -> None:
                tries.append(first)
                await tx.run(LOCK_KEY, bucket_id=1, key=first)
                await tx.one("SELECT 1")
                if not have_locked[here].called:
                    have_locked[here].callback(None)
                await have_locked[1 - here]
                await tx.run(LOCK_KEY, bucket_id=1, key=second)
                await tx.run(INSERT, name=first)

            return work

        await gatherResults(
            [start(database.transact(crossing(*how))) for how in (("a", "b", 0), ("b", "a", 1))]
        )
        self.assertEqual(await names(database), ["a", "b"])
        self.assertGreater(len(tries), 2)

    async def test_two_instances(self) -> None:
        """
        Of writers in two instances that want to be the first, exactly one is.
        """
        kits = [Kit(await self.open(), self.reactor) for _ in range(2)]
        bucket = await kits[0].buckets.adopt("photos")
        for attempt in range(5):
            key = f"key {attempt}"
            writing = [
                start(kit.put(bucket, key, 1, etag=f"{number} {instance}", condition=ABSENT))
                for number in range(10)
                for instance, kit in enumerate(kits)
            ]
            ended = await outcomes(writing)
            (winner,) = [one for one in ended if not isinstance(one, Exception)]
            found = await kits[1].versions.find(bucket, key)
            self.assertEqual(found.etag, winner.version.etag)
        for kit in kits:
            self.assertEqual(await kit.findings(), [])

    async def test_waiting_writers(self) -> None:
        """
        Writers who wait for a key leave connections for others.
        """
        holder = await self.open()
        kit = Kit(await self.open(limits=Limits(at_least=0, at_most=2)), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        held: Deferred[None] = Deferred()
        release: Deferred[None] = Deferred()

        async def holding(tx: ITransaction) -> None:
            await tx.run(LOCK_KEY, bucket_id=bucket.id, key="k")
            await tx.one("SELECT 1")
            held.callback(None)
            await release

        keeping = start(holder.transact(holding))
        await held
        waiting = [start(kit.put(bucket, "k", 1)) for _ in range(10)]
        await kit.put(bucket, "other", 1)
        release.callback(None)
        await gatherResults([keeping, *waiting])

    async def test_same_bucket(self) -> None:
        """
        Instances that make a bucket at the same time make one.
        """
        kits = [Kit(await self.open(), self.reactor) for _ in range(3)]
        made = await gatherResults([start(kit.buckets.adopt("photos")) for kit in kits])
        self.assertEqual(len({bucket.id for bucket in made}), 1)

    async def test_folders(self) -> None:
        """
        Of an object and a folder of its name, wanted at once on a directory, one gets a hashed name.
        """
        kits = [Kit(await self.open(), self.reactor) for _ in range(2)]
        bucket = await kits[0].buckets.adopt("photos")
        for attempt in range(10):
            keys = (f"{attempt}/a", f"{attempt}/a/b")
            blobs = await gatherResults(
                [start(kit.reserve(bucket, key, 1, "f")) for kit, key in zip(kits, keys, strict=True)]
            )
            self.assertEqual(sorted(blob.plain for blob in blobs), [False, True])

    async def test_parts_and_abort(self) -> None:
        """
        Parts that begin and end while their upload is aborted leave the counters right.
        """
        kits = [Kit(await self.open(), self.reactor) for _ in range(2)]
        bucket = await kits[0].buckets.adopt("photos")
        await kits[0].blobs.set_limits({"a": 1 << 40})
        for attempt in range(6):
            upload = await kits[0].upload(bucket, f"{attempt}")
            working = [start(kits[number % 2].part(upload, number // 2 + 1)) for number in range(12)]
            working.append(start(kits[1].uploads.abort(bucket, upload.key, upload.id)))
            unforeseen = [
                one
                for one in await outcomes(working)
                if isinstance(one, Exception) and type(one).__name__ != "NoSuchUpload"
            ]
            self.assertEqual(unforeseen, [])
        self.assertEqual(await kits[0].findings(), [])

    async def test_limits_change(self) -> None:
        """
        A guard that is made while bytes are taken and given back counts them all.
        """
        kits = [Kit(await self.open(), self.reactor) for _ in range(2)]
        bucket = await kits[0].buckets.adopt("photos")
        for attempt in range(6):
            working = [start(kits[0].put(bucket, f"{number}", 5)) for number in range(10)]
            limit = None if attempt % 2 else 1 << 30
            working.append(start(kits[1].blobs.set_limits({"a": limit})))
            await gatherResults(working)
            doomed = [one.result.displaced for one in working[:-1] if one.result]
            freeing = [start(kits[0].blobs.forget_many([(b, False) for b in blobs])) for blobs in doomed]
            freeing.append(start(kits[1].blobs.set_limits({"a": None if limit else 1 << 30})))
            await gatherResults(freeing)
            self.assertEqual(await kits[0].findings(), [])


class CheckingTests(PostgresCase):
    async def test_slow(self) -> None:
        """
        A check of a large ledger may take longer than any statement of a client's request.
        """
        database = await self.open(patience=HURRIED)
        self.server.execute("ALTER TABLE parts RENAME TO parts_kept", database=self.database)
        self.server.execute(
            f"CREATE VIEW parts AS SELECT p.* FROM parts_kept p RIGHT JOIN pg_sleep({2 * HURRIED.statement})"
            " ON true WHERE p.upload_id IS NOT NULL",
            database=self.database,
        )
        self.assertEqual(await check(database), [])

    async def test_slow_change(self) -> None:
        """
        What an operator's command changes may take longer, too, and is committed.
        """
        database = await self.open(patience=HURRIED)

        async def work(tx: ITransaction) -> None:
            await tx.one(f"SELECT pg_sleep({2 * HURRIED.statement}) AS slept")
            await tx.run(INSERT, name="a")

        await database.at_length(work)
        self.assertEqual(await names(database), ["a"])


class HungTests(PostgresCase):
    """COMMITs that the server has not carried out yet when nobody waits for their answer any more."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ledger = await self.open(patience=HURRIED)
        self.kit = Kit(self.ledger, self.reactor)
        self.bucket = await self.kit.buckets.adopt("photos")
        self.other = self.server.connect(self.database)
        self.addCleanup(self.other.close)

    def hang(self) -> None:
        """From now on COMMITs of new blobs or changed ones take until we let `other` go."""
        with self.other.cursor() as cursor:
            cursor.execute(
                """
                CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN PERFORM pg_advisory_xact_lock_shared(99, 0); RETURN NULL; END$$;
                CREATE CONSTRAINT TRIGGER hang AFTER INSERT OR UPDATE ON blobs
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang();
                """
            )
            cursor.execute("SELECT pg_advisory_lock(99, 0)")

    async def go_on(self) -> None:
        """Let them end, and wait until they have."""
        with self.other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(99, 0)")
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        while (await self.ledger.query(busy))[0][0] > 1:
            await deferLater(self.reactor, 0.01)

    async def tied_up(self) -> None:
        """Other databases of this server may be busy as well."""
        await self.kit.blobs.tie_up()
        while self.ledger.operations.loose_ends:
            await deferLater(self.reactor, 0.01)
            await self.kit.blobs.tie_up()

    async def test_reservation(self) -> None:
        """
        What is reserved by a COMMIT that ends only after it was looked for goes all the same.
        """
        self.hang()
        with self.assertRaises(TransactionUnclear):
            await self.kit.reserve(self.bucket)
        await self.kit.blobs.tie_up()
        await self.go_on()
        await self.tied_up()
        self.assertEqual(await self.kit.rows("SELECT id FROM blobs"), [])
        self.assertEqual(await self.kit.findings(), [])

    async def test_claim(self) -> None:
        """
        What is claimed by such a COMMIT is due again.
        """
        await self.kit.put(self.bucket)
        self.hang()
        with self.assertRaises(TransactionUnclear):
            await self.kit.versions.remove(self.bucket, "k")
        await self.kit.blobs.tie_up()
        await self.go_on()
        await self.tied_up()
        self.assertEqual(len(await self.kit.blobs.claim_doomed(10)), 1)


class OpeningTests(PostgresCase):
    async def test_together(self) -> None:
        """
        Instances that start at once on an empty database make one ledger, and each its own owner.
        """
        opened = await gatherResults([start(self.open()) for _ in range(4)])
        self.assertEqual(len({database.ledger_id for database in opened}), 1)
        self.assertEqual(len({database.operations.owner for database in opened}), 4)

    async def test_too_new(self) -> None:
        """
        A ledger that a newer release has changed is left alone.
        """
        await (await self.open()).close()
        self.server.execute(
            "INSERT INTO schema_versions VALUES (9999, 'later', 9999, 0)", database=self.database
        )
        with self.assertRaises(LedgerTooNew):
            await ledger(database=self.database).open()

    async def test_no_database(self) -> None:
        """
        What libpq says about a database that does not exist is one line.
        """
        with self.assertRaises(StoreUnavailable) as raised:
            await ledger(database="nowhere").open()
        self.assertRegex(str(raised.exception), r'^[^\n]*database "nowhere" does not exist$')

    async def test_encoding(self) -> None:
        """
        A database that cannot hold every key is refused.
        """
        name = f"{self.database}_ascii"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'")
        self.addCleanup(self.server.drop, name)
        with self.assertRaisesRegex(StoreUnavailable, "SQL_ASCII, and must be in UTF8"):
            await ledger(database=name).open()

    async def test_connect_timeout(self) -> None:
        """
        A server that accepts and says nothing costs the connect timeout.
        """
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            opening = self.open_at(silent.getsockname()[1], patience=HURRIED)
            took, stood_still = await self.took(opening, StoreUnavailable)
        self.assertLess(abs(took - HURRIED.connect), STANDSTILL)
        self.assertLess(stood_still, STANDSTILL)

    async def test_name(self) -> None:
        """
        A host may have a name, or several; the first that can be used is.
        """
        with closing(socket.socket()) as closed:
            closed.bind(("127.0.0.1", 0))
            database = await self.open_at(self.server.port, host=f"{self.server.host},localhost")
        self.assertEqual(await names(database), [])

    async def test_unknown_name(self) -> None:
        """
        A host that does not exist is a database that cannot be asked.
        """
        with self.assertRaisesRegex(StoreUnavailable, "there is no host"):
            await self.open_at(self.server.port, host="nowhere.invalid")


class DocumentedTests(PostgresCase):
    async def test_quickstart(self) -> None:
        """
        What the quickstart shows for PostgreSQL works as it is, over TLS, for a user who owns that database.
        """
        self.addCleanup(self.server.execute, "DROP ROLE s3orchestrator")
        self.addCleanup(self.server.drop, "s3orchestrator")
        self.server.execute(*(DOCS / "postgresql.sql").read_text().strip().split("\n"))
        os.environ["PGSSLROOTCERT"] = self.server.authority
        self.addCleanup(os.environ.pop, "PGSSLROOTCERT")
        there = evolve(self.documented(), host=self.server.host, port=self.server.port)
        database = await self.opened(PostgresDatabase.of(there, self.reactor))
        (row,) = await database.query("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        self.assertTrue(row["ssl"])
        self.assertEqual(await names(database), [])

    def documented(self) -> DatabaseConfig:
        """The settings in the docs, in the midst of those of the quickstart."""
        text, shown = ((DOCS / name).read_text() for name in ("quickstart.yaml", "postgresql.yaml"))
        before, _, after = text.partition("database:\n")
        path = Path(self.mktemp())
        path.write_text(before + shown + after[after.index("\n\n") :])
        variables = re.findall(r"\$\{(\w+)\}", path.read_text())
        return load(path, {name: f"value of {name}" for name in variables}).config.database


class LossTests(PostgresCase):
    async def test_killed(self) -> None:
        """
        When every connection has been ended, whatever is asked next is answered.
        """
        database = await self.open(limits=Limits(at_least=3, at_most=5))
        await gatherResults([start(database.query("SELECT pg_sleep(0.02)")) for _ in range(5)])
        self.kill()
        for number in range(20):
            await database.query(NAMES)
            await database.transact(inserting(f"{number}"))
        self.assertEqual(len(await names(database)), 20)

    async def test_killed_in_transaction(self) -> None:
        """
        A transaction whose connection ends before its COMMIT is run again.
        """
        database = await self.open()
        tries = []

        async def work(tx: ITransaction) -> None:
            await tx.run(INSERT, name="a")
            tries.append(1)
            if len(tries) == 1:
                self.kill()
            await tx.one("SELECT 1")

        await database.transact(work)
        self.assertEqual((len(tries), await names(database)), (2, ["a"]))

    async def test_idle_connection_ends(self) -> None:
        """
        Connections that end while nobody uses them leave no traceback, and others are told of.
        """
        database, heard = await self.open(), Heard()
        database.on_notice(heard.hear)
        again = heard.wait_for("")
        self.kill()
        await again
        self.assertEqual(self.flushLoggedErrors(), [])
        await database.query(NAMES)

    async def test_frozen(self) -> None:
        """
        A server that stops in the middle costs the deadline, and the reactor goes on meanwhile.

        A client waits for a read, which can be made without the ledger: that has a deadline of its own.
        """
        database = await self.open(patience=HURRIED)
        for ask, limit in (
            (lambda: database.query(NAMES), HURRIED.read),
            (lambda: database.transact(inserting("a")), HURRIED.answer),
        ):
            await database.query(NAMES)
            self.freeze()
            took, stood_still = await self.took(ask(), StoreUnavailable)
            self.assertLess(abs(took - limit), STANDSTILL)
            self.assertLess(stood_still, STANDSTILL)
            self.thaw()
        self.assertEqual(await names(database), [])

    async def test_all_frozen(self) -> None:
        """
        A server that does not even take a connection costs the connect timeout at most.
        """
        database = await self.open(patience=HURRIED, limits=Limits(at_least=0, at_most=4))
        self.freeze(self.server.process)
        for _ in range(2):
            asking = gatherResults([start(database.query(NAMES)) for _ in range(8)], consumeErrors=True)
            took, stood_still = await self.took(asking, FirstError)
            self.assertLess(took, HURRIED.connect + STANDSTILL)
            self.assertLess(stood_still, STANDSTILL)
        self.thaw()
        await database.query(NAMES)

    async def test_frozen_in_commit(self) -> None:
        """
        A server that stops before it answers COMMIT leaves open whether it happened.
        """
        database = await self.open(patience=HURRIED)

        async def work(tx: ITransaction) -> None:
            await tx.run(INSERT, name="a")
            self.freeze()

        took, _ = await self.took(database.transact(work), TransactionUnclear)
        self.assertLess(abs(took - HURRIED.answer), STANDSTILL)

    async def test_standby(self) -> None:
        """
        A connection to what has become a standby is not used again.
        """
        database = await self.open(limits=Limits(at_least=0, at_most=1))

        async def becoming_one(tx: ITransaction) -> None:
            await tx.run("SET default_transaction_read_only = on")
            await tx.one("SELECT 1")

        await database.transact(becoming_one)
        with self.assertRaisesRegex(StoreUnavailable, "read-only"):
            await database.transact(inserting("a"))
        await database.transact(inserting("a"))

    async def test_statement_timeout(self) -> None:
        """
        A statement that takes too long is a database that cannot be asked, not a caller that left.
        """
        database = await self.open(patience=HURRIED)
        with self.assertRaisesRegex(StoreUnavailable, "statement timeout"):
            await database.query("SELECT pg_sleep(5)")

        async def work(tx: ITransaction) -> None:
            await tx.one("SELECT pg_sleep(5)")

        with self.assertRaisesRegex(StoreUnavailable, "statement timeout"):
            await database.transact(work)

    async def test_lost_answer(self) -> None:
        """
        A COMMIT whose answer is lost may have happened, and here it has.
        """
        relay = LosesAnswer()
        port = self.reactor.listenTCP(0, relay, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        database = await self.open_at(port.getHost().port)
        relay.word = b"COMMIT"
        with self.assertRaises(TransactionUnclear):
            await database.transact(inserting("a"))
        relay.word = None
        self.assertEqual(await names(database), ["a"])

    async def test_lost_before(self) -> None:
        """
        A connection that is lost before COMMIT has changed nothing, and that is known.
        """
        relay = LosesAnswer()
        port = self.reactor.listenTCP(0, relay, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        database = await self.open_at(port.getHost().port)
        relay.word = b"INSERT"
        with self.assertRaises(StoreUnavailable) as raised:
            await database.transact(inserting("a"))
        self.assertNotIsInstance(raised.exception, TransactionUnclear)
        self.assertEqual(await names(database), [])


class PoolTests(PostgresCase):
    async def count(self) -> int:
        return len(self.server.backends(self.database))

    async def test_at_most(self) -> None:
        """
        No more connections are opened than may be, however many ask at once.
        """
        database = await self.open(limits=Limits(at_least=0, at_most=3))
        rows = await gatherResults(
            [start(database.query("SELECT pg_backend_pid(), pg_sleep(0.01)")) for _ in range(30)]
        )
        self.assertEqual(len({row[0][0] for row in rows}), 3)

    async def test_waits_in_vain(self) -> None:
        """
        Who waits too long for a connection is told so.
        """
        database = await self.open(limits=Limits(at_least=0, at_most=1, patience=0.1))
        sleeping = start(database.query("SELECT pg_sleep(0.5)"))
        with self.assertRaisesRegex(StoreUnavailable, "became free"):
            await database.query(NAMES)
        await sleeping

    async def test_lifetime(self) -> None:
        """
        A connection that has grown old is replaced.
        """
        database = await self.open(limits=Limits(at_least=0, at_most=1, lifetime=0.01))
        pids = set()
        for _ in range(3):
            (row,) = await database.query("SELECT pg_backend_pid() AS pid")
            pids.add(row["pid"])
            await deferLater(self.reactor, 0.02)
        self.assertEqual(len(pids), 3)

    async def test_no_room_for_more(self) -> None:
        """
        Where the server has no room for more connections, those that are open are shared.
        """
        self.server.execute(f"ALTER DATABASE {self.database} CONNECTION LIMIT 3")
        self.server.execute("CREATE ROLE guest LOGIN", f"ALTER DATABASE {self.database} OWNER TO guest")
        self.addCleanup(self.server.execute, "DROP ROLE guest")
        self.addCleanup(self.server.drop, self.database)
        database = await self.open_at(self.server.port, user="guest")
        rows = await gatherResults([start(database.query(NAMES)) for _ in range(30)])
        self.assertEqual(len(rows), 30)

    async def test_closed(self) -> None:
        """
        Closing waits for what is being done, and leaves no connection.
        """
        database = await self.open()
        working = start(database.query("SELECT pg_sleep(0.1) AS slept"))
        await database.close()
        self.assertEqual(len(await working), 1)
        with self.assertRaises(StoreUnavailable):
            await database.query(NAMES)


class ListeningTests(PostgresCase):
    async def test_told(self) -> None:
        """
        What one instance says all hear, if it is committed.
        """
        one, other, heard = await self.open(), await self.open(), Heard()
        other.on_notice(heard.hear)

        def saying(payload: str, *, fails: bool) -> Any:
            async def work(tx: ITransaction) -> None:
                await tx.run("$notify", payload=payload)
                if fails:
                    raise Conflict("no")

            return work

        with self.assertRaises(Conflict):
            await one.transact(saying("never", fails=True))
        told = heard.wait_for("buckets")
        await one.transact(saying("buckets", fails=False))
        await told
        self.assertEqual(heard.payloads, ["buckets"])

    async def test_after_reconnect(self) -> None:
        """
        An instance that was deaf for a while is told so, and hears again.
        """
        one, other, heard = await self.open(), await self.open(), Heard()
        other.on_notice(heard.hear)
        again = heard.wait_for("")
        self.kill()
        await again
        told = heard.wait_for("photos")

        async def work(tx: ITransaction) -> None:
            await tx.run("$notify", payload="photos")

        await one.transact(work)
        await told

    async def test_buckets(self) -> None:
        """
        Making and deleting a bucket is told to all.
        """
        one, other, heard = Kit(await self.open(), self.reactor), await self.open(), Heard()
        other.on_notice(heard.hear)
        for change in (one.buckets.adopt("photos"), one.buckets.create("music", "me")):
            told = heard.wait_for("buckets")
            bucket = await change
            await told
        told = heard.wait_for("buckets")
        await one.buckets.delete(bucket)
        await told
