"""
The one connection that changes an SQLite ledger, and what it does when a disk is full.

Transactions are committed in groups; what one member raises is undone for it alone. A full
disk may roll a whole transaction back without saying so, and a failed COMMIT says nothing about
what is on the disk. So every group writes its number; when one is in doubt, the connection
is opened anew, the log is moved into the database, and the number that is found there
tells whether the group happened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from s3orchestrator.errors import Conflict, OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.sql import positional

T = TypeVar("T")
Work = Callable[[ITransaction], Awaitable[T]]

MARK = "UPDATE ledger SET commits = :number"
READ_MARK = "SELECT commits FROM ledger"


@define(eq=False)
class Outcome(Generic[T]):
    """How a member of a group ended: `error` is None for one that is committed."""

    value: T | None = None
    error: BaseException | None = None

    def get(self) -> T:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class _RolledBackAsAWhole(Exception):
    """The database has left the transaction by itself; whatever comes next would be alone."""


@implementer(ITransaction)
class SqliteTransaction:
    """Statements on one connection; awaiting them never waits."""

    __slots__ = ("_cursor", "has_written")

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.has_written = False

    async def run(self, statement: str, **parameters: object) -> int:
        """Execute; returns the number of rows changed."""
        sql, pick = positional(statement)
        if not sql:
            return 0
        changed = self._cursor.execute(sql, pick(parameters)).rowcount
        if changed:
            self.has_written = True
        return changed

    async def soon(self, statement: str, **parameters: object) -> None:
        """Execute; there is nothing to wait for here."""
        await self.run(statement, **parameters)

    async def insert(self, statement: str, **parameters: object) -> int:
        """Execute an INSERT of one row; returns the `id` it was given."""
        sql, pick = positional(statement)
        self.has_written = True
        return self._cursor.execute(sql, pick(parameters)).lastrowid or 0

    async def one(self, statement: str, **parameters: object) -> Row | None:
        """Execute; returns the first row, or None."""
        sql, pick = positional(statement)
        row = self._cursor.execute(sql, pick(parameters)).fetchone()
        if row is not None and not sql.startswith("SELECT"):
            self.has_written = True
        return row

    async def all(self, statement: str, **parameters: object) -> list[Row]:
        """Execute; returns all rows."""
        sql, pick = positional(statement)
        rows = self._cursor.execute(sql, pick(parameters)).fetchall()
        if rows and not sql.startswith("SELECT"):
            self.has_written = True
        return rows


def _nobody_reads() -> None:
    """Nobody is in the way."""


@define(eq=False)
class Writer:
    """
    Commits groups of transactions. All calls but `is_away` must come from one thread at a time.

    While a group's outcome cannot be found out the ledger is away: each new group tries to
    get it back first. Before that `make_way` is called: whoever reads keeps the log from being emptied.
    """

    _connect: Callable[[], sqlite3.Connection]
    _make_way: Callable[[], object] = _nobody_reads
    is_away: bool = field(init=False, default=True)
    _connection: sqlite3.Connection | None = field(init=False, default=None)
    _cursor: sqlite3.Cursor = field(init=False)
    _transaction: SqliteTransaction = field(init=False)
    _number: int = field(init=False, default=0)
    _log = Logger()

    def open(self) -> None:
        """
        Connect, and bring what is possible of the log into the database.

        Somebody's long report on the ledger may keep some of it from being moved. That does no
        harm: nobody waits to hear what has happened.

        :raises sqlite3.Error: that did not work; the ledger stays away.
        """
        self._open("PRAGMA wal_checkpoint(PASSIVE)")
        self.is_away = False

    def _open(self, checkpoint: str) -> bool:
        """Connect and move the log; tell whether somebody was in the way."""
        self.close()
        self._connection = self._connect()
        self._cursor = self._connection.cursor()
        self._transaction = SqliteTransaction(self._cursor)
        busy, _, _ = self._cursor.execute(checkpoint).fetchone()
        return bool(busy)

    def close(self) -> None:
        """Roll back what is open and let go of the file."""
        self.is_away = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def cursor(self) -> sqlite3.Cursor:
        """Another cursor on the same connection, for a database that nobody else can open."""
        return self._cursor.connection.cursor()

    def setup(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own, before there is a ledger to speak of."""
        self._cursor.execute("BEGIN IMMEDIATE")
        try:
            result = drive(work(self._transaction))
            self._cursor.execute("COMMIT")
        except BaseException:
            if self._cursor.connection.in_transaction:
                self._cursor.execute("ROLLBACK")
            raise
        self._number = self._read_mark()
        return result

    def commit(self, group: Sequence[Work[Any]]) -> list[Outcome[Any]]:
        """Run all of `group` in one transaction; what they raise is theirs alone."""
        if self.is_away and not self._come_back():
            return [Outcome(error=StoreUnavailable("the ledger cannot be written")) for _ in group]
        outcomes: list[Outcome[Any]] = []
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # with an operator's tool nothing is in doubt
                self.close()
            return [Outcome(error=StoreUnavailable(f"ledger: {error}")) for _ in group]
        try:
            self._run_all(group, outcomes)
            self._number += 1
            self._cursor.execute(MARK, {"number": self._number})
            self._cursor.execute("COMMIT")
        except (sqlite3.Error, _RolledBackAsAWhole) as error:
            return self._settle(group, outcomes, error)
        return outcomes

    def _run_all(self, group: Sequence[Work[Any]], outcomes: list[Outcome[Any]]) -> None:
        """
        Run the members one after the other; the first that must be undone brings savepoints.

        Most that fail have written nothing, and savepoints are a third of all statements. So
        the whole is undone and run again, carefully, when one fails that did write.
        """
        for work in group:
            outcome = self._member(work)
            if outcome.error is not None and self._transaction.has_written:
                break
            outcomes.append(outcome)
        else:
            return
        outcomes.clear()
        self._cursor.execute("ROLLBACK")
        self._cursor.execute("BEGIN IMMEDIATE")
        for work in group:
            self._cursor.execute("SAVEPOINT member")
            outcome = self._member(work)
            if outcome.error is not None:
                self._cursor.execute("ROLLBACK TO member")
            self._cursor.execute("RELEASE member")
            outcomes.append(outcome)

    def _member(self, work: Work[Any]) -> Outcome[Any]:
        transaction = self._transaction
        transaction.has_written = False
        try:
            outcome = Outcome(drive(work(transaction)))
        except BaseException as error:
            outcome = Outcome(error=translated(error))
        if not self._cursor.connection.in_transaction:
            # Whatever came next would be committed alone, and RELEASE would commit by itself.
            raise _RolledBackAsAWhole(str(outcome.error or "the database ended the transaction"))
        return outcome

    def _settle(
        self, group: Sequence[Work[Any]], outcomes: list[Outcome[Any]], error: Exception
    ) -> list[Outcome[Any]]:
        """Find out whether a group that failed has happened; it did all or nothing."""
        self._log.error("a group of transactions failed: {error}", error=str(error))
        attempted = self._number
        if not self._come_back():
            return [Outcome(error=TransactionUnclear(f"it may have happened: {error}")) for _ in group]
        if len(outcomes) == len(group) and self._number == attempted:
            return outcomes
        return [Outcome(error=StoreUnavailable(f"it was rolled back: {error}")) for _ in group]

    def _come_back(self) -> bool:
        """Connect anew once all of the log is in the database, so that what is read next is on the disk."""
        self._make_way()
        try:
            if self._open("PRAGMA wal_checkpoint(TRUNCATE)"):
                raise sqlite3.OperationalError("the log cannot be moved into the database")
            self._number = self._read_mark()
            self.is_away = False
        except sqlite3.Error as error:
            self.is_away = True
            self._log.error("the ledger is away: {error}", error=str(error))
        return not self.is_away

    def _read_mark(self) -> int:
        return int(self._cursor.execute(READ_MARK).fetchone()[0])


def drive(work: Awaitable[T]) -> T:
    """Run a coroutine that awaits nothing but its transaction, which never waits."""
    coroutine = work.__await__()
    try:
        next(coroutine)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a transaction may await nothing but its own statements")


def translated(error: BaseException) -> BaseException:
    if isinstance(error, OrchestratorError) or not isinstance(error, sqlite3.Error):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        translated: OrchestratorError = Conflict(f"the ledger refuses: {error}")
    elif isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
        return error  # ours, and nothing that trying again would mend
    else:
        translated = StoreUnavailable(f"ledger: {error}")
    translated.__cause__ = error
    return translated
