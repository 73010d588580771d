"""Tests for the SQLite engine: groups, isolation of their members, cancellation, closing."""

from __future__ import annotations

import os
import resource
import sqlite3
from contextlib import closing
from itertools import count
from threading import Event, get_ident

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import (
    Conflict,
    InsufficientStorage,
    LedgerInUse,
    StoreUnavailable,
    TransactionUnclear,
)
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store import sqlite
from s3orchestrator.store.sql import NOTIFY
from s3orchestrator.store.sqlite import IN_MEMORY, LEDGER_ID, SqliteDatabase

ADD = "INSERT INTO backends (name) VALUES (:name)"
NAMES = "SELECT name FROM backends ORDER BY name"


def adding(name: str):
    """A transaction that adds a row."""

    async def work(tx: ITransaction) -> str:
        await tx.run(ADD, name=name)
        return name

    return work


async def where(tx: ITransaction) -> int:
    """A transaction that tells which thread it is in."""
    return get_ident()


async def too_late(tx: ITransaction) -> None:
    """A transaction that changes its mind."""
    await tx.run(ADD, name="never")
    raise InsufficientStorage("no")


class InlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = SqliteDatabase(self.path(), self.clock, threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(self.database.close()))

    def path(self) -> str:
        return self.mktemp()

    def names(self) -> list[str]:
        return [row["name"] for row in self.successResultOf(self.database.query(NAMES))]

    def test_committed(self) -> None:
        """
        What a transaction did can be read when it returns, and its value comes back.
        """
        self.assertEqual(self.successResultOf(self.database.transact(adding("a"))), "a")
        self.assertEqual(self.names(), ["a"])

    def test_rolled_back(self) -> None:
        """
        What raises leaves nothing behind and is raised to the caller.
        """
        self.failureResultOf(self.database.transact(too_late), InsufficientStorage)
        self.assertEqual(self.names(), [])

    def test_violated_constraint(self) -> None:
        """
        A row that must not be there twice is a conflict; the driver's error stays inside.
        """
        self.successResultOf(self.database.transact(adding("a")))
        self.failureResultOf(self.database.transact(adding("a")), Conflict)

    def test_awaiting_something_else(self) -> None:
        """
        A transaction that waits for anything but the ledger is told so, and undone.
        """

        async def wrong(tx: ITransaction) -> None:
            await tx.run(ADD, name="a")
            await Deferred()

        failure = self.failureResultOf(self.database.transact(wrong), RuntimeError)
        self.assertIn("await nothing but", failure.getErrorMessage())
        self.assertEqual(self.names(), [])

    def test_time(self) -> None:
        """
        Ledger time is the reactor's, in milliseconds.
        """
        self.clock.advance(12.3456)
        self.assertEqual(self.database.now_ms(), 12345)

    def test_closed(self) -> None:
        """
        Once closed it neither reads nor writes; closing again is harmless.
        """
        self.successResultOf(self.database.close())
        self.successResultOf(self.database.close())
        self.failureResultOf(self.database.transact(adding("a")), StoreUnavailable)
        self.failureResultOf(self.database.query(NAMES), StoreUnavailable)

    def test_unknown_column(self) -> None:
        """
        A read that fails is the ledger's failure.
        """
        self.failureResultOf(self.database.query("SELECT nonsense FROM backends"), StoreUnavailable)


class InMemoryTests(InlineTests):
    def path(self) -> str:
        return IN_MEMORY

    def test_not_shared_with_threads(self) -> None:
        """
        A second connection would see another, empty ledger.
        """
        self.assertRaises(ValueError, SqliteDatabase, IN_MEMORY, self.clock, threaded=True)


class OnDiskTests(SynchronousTestCase):
    def test_nobody_else_may_read(self) -> None:
        """
        All files of a new ledger belong to its owner alone, whatever the process's mask.
        """
        folder = self.mktemp()
        os.mkdir(folder)
        self.addCleanup(os.umask, os.umask(0o022))
        database = SqliteDatabase(f"{folder}/ledger", Clock(), threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(database.close()))
        self.successResultOf(database.transact(adding("a")))
        modes = {name: os.stat(f"{folder}/{name}").st_mode & 0o777 for name in os.listdir(folder)}
        self.assertEqual(modes, dict.fromkeys(("ledger", "ledger.lock", "ledger-wal", "ledger-shm"), 0o600))

    def test_one_process(self) -> None:
        """
        Who opens a ledger that is open is refused.
        """
        path = self.mktemp()
        database = SqliteDatabase(path, Clock(), threaded=False).open()
        self.assertRaises(LedgerInUse, SqliteDatabase(path, Clock(), threaded=False).open)
        self.successResultOf(database.close())
        self.successResultOf(SqliteDatabase(path, Clock(), threaded=False).open().close())

    def test_kept(self) -> None:
        """
        What was committed is there when the file is opened again, by another owner.
        """
        path = self.mktemp()
        database = SqliteDatabase(path, Clock(), threaded=False).open()
        first = database.operations.owner
        self.successResultOf(database.transact(adding("a")))
        self.successResultOf(database.close())
        database = SqliteDatabase(path, Clock(), threaded=False).open()
        self.assertEqual(len(self.successResultOf(database.query(NAMES))), 1)
        self.assertNotEqual(database.operations.owner, first)
        self.successResultOf(database.close())

    def test_reads_leave_nothing_open(self) -> None:
        """
        Between reads the log can be emptied: no read transaction stays open.
        """
        path = self.mktemp()
        database = SqliteDatabase(path, Clock(), threaded=False).open()
        for name in ("a", "b", "c"):
            self.successResultOf(database.transact(adding(name)))
        self.successResultOf(database.query(NAMES))
        self.successResultOf(database.transact(adding("d")))
        with closing(sqlite3.connect(path)) as other:
            busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.assertEqual(busy, 0)
        self.successResultOf(database.close())

    def test_away(self) -> None:
        """
        While it cannot be found out what was committed nothing is read either, until there is room.
        """
        path = self.mktemp()
        database = SqliteDatabase(path, Clock(), threaded=False).open()
        self.successResultOf(database.transact(adding("a")))
        limit = (4096, resource.RLIM_INFINITY)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        unclear = self.failureResultOf(database.transact(adding("b")))
        reading = self.failureResultOf(database.query(NAMES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        self.assertTrue(unclear.check(TransactionUnclear))
        self.assertTrue(reading.check(StoreUnavailable))
        self.successResultOf(database.transact(adding("c")))
        names = [row["name"] for row in self.successResultOf(database.query(NAMES))]
        self.assertEqual(names, ["a", "c"])
        self.successResultOf(database.close())

    def test_nowhere(self) -> None:
        """
        A path that cannot be opened is reported by name.
        """
        database = SqliteDatabase("/nonexistent/ledger.db", Clock(), threaded=False)
        refused = self.assertRaises(StoreUnavailable, database.open)
        self.assertIn("/nonexistent/ledger.db", str(refused))

    def test_not_a_ledger(self) -> None:
        """
        A file of something else is left as it is.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"something else" * 1000)
        self.assertRaises(StoreUnavailable, SqliteDatabase(path, Clock(), threaded=False).open)
        with open(path, "rb") as file:
            self.assertTrue(file.read().startswith(b"something else"))


class ThreadedTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.database = SqliteDatabase(self.mktemp(), reactor).open()
        self.addCleanup(lambda: start(self.database.close()))
        self.gate = Event()
        self.addCleanup(self.gate.set)

    async def names(self) -> list[str]:
        return [row["name"] for row in await self.database.query(NAMES)]

    def hold_the_writer(self) -> Deferred[int]:
        """Keep the writer busy until `gate` opens: what is queued meanwhile becomes one group."""

        async def wait(tx: ITransaction) -> int:
            self.gate.wait(10)
            return get_ident()

        return start(self.database.at_length(wait))

    async def test_neighbours(self) -> None:
        """
        In one group a member that fails takes nobody with it.
        """
        held = self.hold_the_writer()
        working = [start(self.database.transact(work)) for work in (adding("a"), too_late, adding("b"))]
        self.gate.set()
        await held
        self.assertEqual(await working[0], "a")
        with self.assertRaises(InsufficientStorage):
            await working[1]
        self.assertEqual(await working[2], "b")
        self.assertEqual(await self.names(), ["a", "b"])

    async def test_told_on_the_reactor(self) -> None:
        """
        What may take long runs on the writer's thread, short transactions on the reactor's.
        """

        async def where(tx: ITransaction) -> int:
            return get_ident()

        self.assertNotEqual(await self.database.at_length(where), get_ident())
        self.assertEqual(await self.database.transact(where), get_ident())

    async def test_goes_on_elsewhere(self) -> None:
        """
        Of a group that takes too long, the thread does the rest; it is one transaction all the same.
        """
        self.patch(sqlite, "TURN", 0.0)
        threads: list[int] = []

        async def work(tx: ITransaction) -> None:
            threads.append(get_ident())
            await tx.run(ADD, name="a")
            threads.append(get_ident())

        before = (await self.database.query("SELECT commits FROM ledger"))[0][0]
        await gatherResults([start(self.database.transact(each)) for each in (work, adding("b"))])
        self.assertEqual(threads[0], get_ident())
        self.assertNotEqual(threads[1], get_ident())
        self.assertEqual(await self.names(), ["a", "b"])
        self.assertEqual((await self.database.query("SELECT commits FROM ledger"))[0][0], before + 1)

    async def test_slow_disk(self) -> None:
        """
        After a group that kept the reactor waiting, the thread has everything for a while.
        """
        self.patch(sqlite, "SLOW", 0.0)
        self.patch(sqlite, "waits", count().__next__)
        self.assertEqual(await self.database.transact(where), get_ident())
        self.assertNotEqual(await self.database.transact(where), get_ident())

    async def test_busy_machine(self) -> None:
        """
        A group that took long without waiting for anything says nothing of the disk.
        """
        self.patch(sqlite, "SLOW", 0.0)
        self.patch(sqlite, "waits", lambda: 0)
        for _ in range(2):
            self.assertEqual(await self.database.transact(where), get_ident())

    async def test_operator_in_the_way(self) -> None:
        """
        While somebody else writes, the thread waits for them; the reactor does not.
        """
        tool = sqlite3.connect(self.database.path, isolation_level=None)
        self.addCleanup(tool.close)
        tool.execute("BEGIN IMMEDIATE")
        working = start(self.database.transact(adding("a")))
        turns = 0
        while turns < 10:
            await deferToThread(lambda: None)
            turns += 1
        self.assertFalse(working.called)
        tool.execute("ROLLBACK")
        self.assertEqual(await working, "a")

    async def test_one_commit_for_many(self) -> None:
        """
        What is queued together is committed together.
        """
        before = (await self.database.query("SELECT commits FROM ledger"))[0][0]
        held = self.hold_the_writer()
        working = [start(self.database.transact(adding(str(number)))) for number in range(100)]
        self.gate.set()
        await gatherResults([held, *working])
        after = (await self.database.query("SELECT commits FROM ledger"))[0][0]
        self.assertLessEqual(after - before, 2)
        self.assertEqual(len(await self.names()), 100)

    async def test_left_while_waiting(self) -> None:
        """
        A transaction whose caller leaves before its turn does not happen; the others do.
        """
        self.hold_the_writer()
        leaving = start(self.database.transact(adding("a")))
        staying = start(self.database.transact(adding("b")))
        leaving.cancel()
        self.gate.set()
        with self.assertRaises(CancelledError):
            await leaving
        await staying
        self.assertEqual(await self.names(), ["b"])

    async def test_left_while_running(self) -> None:
        """
        A caller that leaves during its turn does not stop it, nor disturb the group.
        """
        running = Event()

        async def slow(tx: ITransaction) -> None:
            running.set()
            self.gate.wait(10)
            await tx.run(ADD, name="a")

        leaving = start(self.database.at_length(slow))
        staying = start(self.database.transact(adding("b")))
        await deferToThread(running.wait, 10)
        leaving.cancel()
        self.gate.set()
        with self.assertRaises(CancelledError):
            await leaving
        await staying
        self.assertEqual(await self.names(), ["a", "b"])

    async def test_close_finishes(self) -> None:
        """
        Closing waits for what is queued, and frees the file.
        """
        held = self.hold_the_writer()
        working = start(self.database.transact(adding("a")))
        closing = start(self.database.close())
        self.gate.set()
        await gatherResults([held, working, closing])
        again = SqliteDatabase(self.database.path, self.reactor).open()
        self.assertEqual(len(await again.query(NAMES)), 1)
        await again.close()

    async def test_undone_alone(self) -> None:
        """
        Of a group in which several fail after writing, exactly the others are kept, in order.
        """
        held = self.hold_the_writer()
        works = [too_late, adding("a"), too_late, adding("a"), adding("b"), too_late]
        working = [start(self.database.transact(work)) for work in works]
        self.gate.set()
        await held
        ended = []
        for one in working:
            try:
                ended.append(await one)
            except (InsufficientStorage, Conflict) as error:
                ended.append(type(error))
        failed = InsufficientStorage
        self.assertEqual(ended, [failed, "a", failed, Conflict, "b", failed])
        self.assertEqual(await self.names(), ["a", "b"])

    async def test_mistake(self) -> None:
        """
        A statement with a mistake is its author's problem; the writer goes on.
        """

        async def wrong(tx: ITransaction) -> None:
            await tx.run("INSERT INTO nowhere VALUES (1)")

        with self.assertRaises(StoreUnavailable):
            await self.database.transact(wrong)
        await self.database.transact(adding("a"))
        self.assertEqual(await self.names(), ["a"])


class NoticeTests(SynchronousTestCase):
    """What a transaction has to say to others."""

    def setUp(self) -> None:
        self.database = SqliteDatabase(IN_MEMORY, Clock(), threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(self.database.close()))
        self.heard: list[str] = []
        self.database.on_notice(self.heard.append)

    def test_committed(self) -> None:
        """
        It is told once all of it is committed.
        """

        async def work(tx: ITransaction) -> None:
            await tx.soon(NOTIFY, payload="one")
            await tx.run(NOTIFY, payload="two")
            self.assertEqual(self.heard, [])

        self.successResultOf(self.database.transact(work))
        self.assertEqual(self.heard, ["one", "two"])

    def test_undone(self) -> None:
        """
        What is undone is told nobody, nor with what comes next.
        """

        async def work(tx: ITransaction) -> None:
            await tx.soon(NOTIFY, payload="one")
            raise StoreUnavailable("no")

        self.failureResultOf(self.database.transact(work), StoreUnavailable)
        self.successResultOf(self.database.transact(mark))
        self.assertEqual(self.heard, [])


class OperatorTests(SynchronousTestCase):
    """An operator's tool has the ledger open as well."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.patch(sqlite, "BUSY_TIMEOUT", 0.05)
        self.database = self.opened()
        self.tool = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.tool.close)

    def opened(self) -> SqliteDatabase:
        database = SqliteDatabase(self.path, Clock(), threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(database.close()))
        return database

    def query(self) -> list[Row]:
        return self.successResultOf(self.database.query(LEDGER_ID))

    def test_writing(self) -> None:
        """
        While it writes we cannot, but everybody can read.
        """
        self.tool.execute("BEGIN IMMEDIATE")
        self.failureResultOf(self.database.transact(mark), StoreUnavailable)
        self.assertEqual(len(self.query()), 1)
        self.tool.execute("ROLLBACK")
        self.successResultOf(self.database.transact(mark))

    def test_reading(self) -> None:
        """
        A report that it has not finished reading keeps nobody from starting.
        """
        self.tool.execute("BEGIN")
        self.tool.execute(LEDGER_ID).fetchall()
        self.successResultOf(self.database.transact(mark))
        self.successResultOf(self.database.close())
        self.database = self.opened()
        self.successResultOf(self.database.transact(mark))
        self.assertEqual(len(self.query()), 1)


async def mark(tx: ITransaction) -> None:
    """Write something."""
    await tx.run("INSERT INTO backends (name) VALUES ('a') ON CONFLICT DO NOTHING")
