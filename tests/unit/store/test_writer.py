"""Tests for what the writer does when the disk is full: nobody is told what did not happen."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from unittest import skipUnless

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.writer import Outcome, Writer

PAGE = 4096
FILL = "INSERT INTO filler (name, bytes) VALUES (:name, :bytes)"


def filling(name: str, pages: int = 1):
    """A transaction that takes some pages."""

    async def work(tx: ITransaction) -> str:
        await tx.run(FILL, name=name, bytes=os.urandom(pages * PAGE))
        return name

    return work


async def names_of(tx: ITransaction) -> list[str]:
    """What is there."""
    return [row["name"] for row in await tx.all("SELECT name FROM filler ORDER BY name")]


class FullDiskTests(SynchronousTestCase):
    """Each way of being full stops writing somewhere else: in a statement, in COMMIT, in a checkpoint."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.make(self.path)
        self.max_pages = 0
        self.writer = Writer(self.connect)
        self.addCleanup(self.writer.close)
        self.names()

    def make(self, path: str) -> None:
        database = SqliteDatabase(path, Clock(), threaded=False).open()

        async def table(tx: ITransaction) -> None:
            await tx.run("CREATE TABLE filler (name text PRIMARY KEY, bytes blob)")

        self.successResultOf(database.transact(table))
        self.successResultOf(database.close())

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        # Few pages stay in memory, so that large statements reach the disk before COMMIT does.
        connection.execute("PRAGMA cache_size = 20")
        if self.max_pages:
            connection.execute(f"PRAGMA max_page_count = {self.max_pages}")
        return connection

    def names(self) -> list[str]:
        return self.writer.commit([names_of])[0].get()

    def assertNothingClaimed(self, outcomes: list[Outcome[str]], before: list[str]) -> None:
        """Who was told of a success finds it; who was told of a failure finds nothing."""
        claimed = [outcome.value for outcome in outcomes if outcome.error is None]
        self.assertEqual(self.names(), sorted([*before, *claimed]))
        for outcome in outcomes:
            if outcome.error is not None:
                self.assertIsInstance(outcome.error, StoreUnavailable)

    def test_database_may_not_grow(self) -> None:
        """
        When the file may not grow the group ends, and what is told is what is there.
        """
        self.writer.commit([filling("before")])[0].get()
        self.max_pages = os.path.getsize(self.path) // PAGE + 20
        self.writer.close()
        outcomes = self.writer.commit([filling("a"), filling("b", 100), filling("c")])
        self.assertIsInstance(outcomes[1].error, StoreUnavailable)
        self.assertNothingClaimed(outcomes, ["before"])

    def test_rolled_back_by_the_database(self) -> None:
        """
        A member that loses the whole transaction takes the group along, and commits nothing alone.
        """

        async def losing(tx: ITransaction) -> str:
            await tx.run(FILL, name="b", bytes=b"")
            await tx.run("ROLLBACK")  # what a full disk does of its own accord
            return "b"

        outcomes = self.writer.commit([filling("a"), losing, filling("c")])
        self.assertEqual([type(outcome.error) for outcome in outcomes], [StoreUnavailable] * 3)
        self.assertEqual(self.names(), [])
        self.assertEqual(self.writer.commit([filling("d")])[0].get(), "d")

    def test_failing_after_a_rollback(self) -> None:
        """
        The same when the member notices and raises.
        """

        async def losing(tx: ITransaction) -> str:
            await tx.run("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

        outcomes = self.writer.commit([filling("a"), losing])
        self.assertEqual([type(outcome.error) for outcome in outcomes], [StoreUnavailable] * 2)
        self.assertEqual(self.names(), [])

    def test_writes_fail(self) -> None:
        """
        Wherever the limit falls, in a statement, in COMMIT or in the checkpoint, nobody is told a
        lie; when there is room again the ledger comes back by itself.
        """
        before: list[str] = []
        for room in range(0, 24, 2):
            with self.subTest(room=room):
                group = [
                    filling(f"{room:02}{member}", pages) for member, pages in (("a", 1), ("b", 8), ("c", 1))
                ]
                self.limit_files_to(os.path.getsize(self.path + "-wal") + room * PAGE)
                outcomes = self.writer.commit(group)
                self.unlimited()
                errors = {type(outcome.error) for outcome in outcomes}
                self.assertLessEqual(errors, {type(None), StoreUnavailable, TransactionUnclear})
                self.assertNothingClaimed(outcomes, before)
                before = self.names()

    def test_away(self) -> None:
        """
        While the outcome cannot be found out, its members are told that, and others are refused.
        """
        self.writer.commit([filling("a", 50)])[0].get()
        self.limit_files_to(PAGE)
        unclear = self.writer.commit([filling("b")])[0].error
        refused = self.writer.commit([filling("c")])[0].error
        self.assertTrue(self.writer.is_away)
        self.unlimited()
        self.assertIsInstance(unclear, TransactionUnclear)
        self.assertIsInstance(refused, StoreUnavailable)
        self.assertNotIsInstance(refused, TransactionUnclear)
        self.assertNotIn("c", self.names())
        self.assertFalse(self.writer.is_away)

    def limit_files_to(self, size: int) -> None:
        """Let the system refuse to write beyond `size`; Python ignores the signal that goes with it."""
        self.addCleanup(self.unlimited)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def unlimited(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@skipUnless(os.geteuid() == 0, "only root may mount a small file system")
class SmallFileSystemTests(FullDiskTests):
    """The same on a file system that is really full."""

    SIZE = 4 << 20

    def setUp(self) -> None:
        self.mounted = os.path.abspath(self.mktemp())
        os.mkdir(self.mounted)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", self.mounted], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.mounted], check=True)
        super().setUp()

    def mktemp(self) -> str:
        if not os.path.isdir(getattr(self, "mounted", "")):
            return super().mktemp()
        return os.path.join(self.mounted, "ledger.db")

    def limit_files_to(self, size: int) -> None:
        """Leave as much room as the log would have to reach `size`."""
        room = size - os.path.getsize(self.path + "-wal")
        free = os.statvfs(self.mounted).f_bavail * os.statvfs(self.mounted).f_frsize
        with open(os.path.join(self.mounted, "ballast"), "wb") as ballast:
            ballast.write(b"." * (free - max(room, 0)))

    def unlimited(self) -> None:
        ballast = os.path.join(self.mounted, "ballast")
        if os.path.exists(ballast):
            os.remove(ballast)
