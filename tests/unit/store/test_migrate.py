"""Tests for bringing a ledger's schema up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import LedgerTooNew, StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.migrate import Migration, level, migrate, migrations
from s3orchestrator.store.sqlite import SqliteDatabase

LEVEL = level()
SECOND = Migration(
    LEVEL + 1, "second", LEVEL, ("CREATE TABLE second (id integer)", "INSERT INTO second VALUES (7)")
)


class MigrateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.database = self.opened()

    def opened(self) -> SqliteDatabase:
        database = SqliteDatabase(self.path, Clock(), threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(database.close()))
        return database

    def reopen(self) -> SqliteDatabase:
        self.successResultOf(self.database.close())
        return self.opened()

    def applying(self, *steps: Migration) -> Coroutine[Any, Any, int]:
        async def work(tx: ITransaction) -> int:
            return await migrate(tx, [*migrations(), *steps], now_ms=5, ledger_id="another")

        return self.database.transact(work)

    def apply(self, *steps: Migration) -> int:
        return self.successResultOf(self.applying(*steps))

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.successResultOf(self.database.query(statement))]

    def test_once(self) -> None:
        """
        What was applied is not applied again, and the ledger keeps its identity.
        """
        first = self.database.ledger_id
        self.database = self.reopen()
        self.assertEqual(self.database.ledger_id, first)
        applied = self.rows("SELECT version FROM schema_versions")
        self.assertEqual(applied, [(step.version,) for step in migrations()])

    def test_missing_steps(self) -> None:
        """
        Later steps are added in order, each once.
        """
        self.assertEqual(self.apply(SECOND), 1)
        self.assertEqual(self.apply(SECOND), 0)
        self.assertEqual(self.rows("SELECT id FROM second"), [(7,)])

    def test_all_or_nothing(self) -> None:
        """
        A step that fails half-way leaves no trace.
        """
        broken = evolve(SECOND, statements=(*SECOND.statements, "INSERT INTO nowhere VALUES (1)"))
        self.failureResultOf(self.applying(broken), StoreUnavailable)
        self.assertEqual(self.rows("SELECT name FROM sqlite_master WHERE name = 'second'"), [])
        self.assertEqual(self.rows("SELECT max(version) FROM schema_versions"), [(LEVEL,)])

    def test_newer_and_compatible(self) -> None:
        """
        A newer schema that says it may be used by us is used.
        """
        self.apply(SECOND)
        self.reopen()

    def test_too_new(self) -> None:
        """
        A schema that older code would damage is refused, and left alone.
        """
        self.apply(evolve(SECOND, compatible_with=SECOND.version))
        self.successResultOf(self.database.close())
        refused = self.assertRaises(LedgerTooNew, SqliteDatabase(self.path, Clock(), threaded=False).open)
        self.assertIn(f"schema level {SECOND.version}", str(refused))
        with sqlite3.connect(self.path) as connection:
            self.assertEqual(
                connection.execute("SELECT max(version) FROM schema_versions").fetchone(), (SECOND.version,)
            )

    def test_numbered_without_gaps(self) -> None:
        """
        The files are numbered from 1, so that a level says which steps were applied.
        """
        self.assertEqual([step.version for step in migrations()], list(range(1, level() + 1)))
