"""No statement of a service or a request reads a whole table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from types import ModuleType

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store import (
    attempts,
    blobs,
    browse,
    buckets,
    committing,
    completing,
    counting,
    dooming,
    owners,
    pages,
    reaping,
    recovering,
    removing,
    reserving,
    resting,
    reviving,
    uploads,
    usage,
    versions,
)
from s3orchestrator.store.sql import SQLITE, Dialect
from s3orchestrator.store.sqlite import SqliteDatabase

ROLES = (
    attempts,
    blobs,
    browse,
    buckets,
    committing,
    completing,
    counting,
    dooming,
    owners,
    pages,
    reaping,
    recovering,
    removing,
    reserving,
    resting,
    reviving,
    uploads,
    usage,
    versions,
)
BIG = {"blobs", "versions", "uploads", "parts", "outbox", "buckets"}
SCAN = re.compile(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?")
ALIAS = re.compile(r"\b(?:FROM|JOIN)\s+(\w+) ([a-z])\b")
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b")

# Sorted although nothing asks for it in that order: few rows, or the order in which locks are taken.
MAY_SORT = {"blobs.USAGE", "browse.COPIES"}


def named(value: object) -> Iterator[tuple[object, object]]:
    """A statement, or several in a dictionary or tuple."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, tuple):
        yield from enumerate(value)
    else:
        yield "", value


def statements(module: ModuleType, dialect: Dialect = SQLITE) -> Iterator[tuple[str, str]]:
    """All SQL of a module, by name; fragments that others are made of begin with `_`."""
    short = module.__name__.rpartition(".")[2]
    for name, value in vars(module).items():
        if not name.isupper() or name.startswith("_"):
            continue
        for key, text in named(value):
            if isinstance(text, str) and STATEMENT.match(text):
                yield f"{short}.{name}{key}", dialect.render(text)


class PlansTests(SynchronousTestCase):
    def setUp(self) -> None:
        path = self.mktemp()
        self.successResultOf(SqliteDatabase(path, Clock(), threaded=False).open().close())
        self.connection = sqlite3.connect(path)
        self.addCleanup(self.connection.close)

        partial = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
        self.partial = {name for (name,) in self.connection.execute(partial)}

    def plan(self, statement: str) -> list[str]:
        parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
        explained = self.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[3] for row in explained]

    def scanned(self, statement: str, plan: list[str]) -> list[str]:
        """The steps that read all of a big table; all of a partial index is what it was made for."""
        tables = {alias: table for table, alias in ALIAS.findall(statement)}
        scans = [scan for step in plan if (scan := SCAN.match(step))]
        big = [scan for scan in scans if tables.get(scan[1], scan[1]) in BIG]
        return [scan[0] for scan in big if scan[2] not in self.partial]

    def test_no_scan(self) -> None:
        """
        Every statement finds its rows by an index, and takes them in the order it gives them.
        """
        seen = 0
        for module in ROLES:
            for name, statement in statements(module):
                seen += 1
                plan = self.plan(statement)
                sorts = any(step.startswith("USE TEMP B-TREE FOR ORDER BY") for step in plan)
                self.assertEqual(self.scanned(statement, plan), [], f"{name}: {plan}")
                self.assertFalse(sorts and name not in MAY_SORT, f"{name}: {plan}")
        self.assertGreater(seen, 70)

    def test_would_notice(self) -> None:
        """
        The test sees a scan where there is one.
        """
        for statement in (
            "SELECT 1 FROM blobs WHERE size = :size",
            "SELECT backend FROM blobs",
            "SELECT b.backend FROM blobs b",
        ):
            self.assertEqual(len(self.scanned(statement, self.plan(statement))), 1)
