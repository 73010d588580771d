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
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from time import monotonic
from types import coroutine
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from s3orchestrator.errors import Conflict, OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.sql import NOTIFY, positional
from s3orchestrator.store.sums import Sums

T = TypeVar("T")
Work = Callable[[ITransaction], Awaitable[T]]

BUSY_TIMEOUT = 5.0  # seconds; nobody but an operator's tool can be in our way

MARK = "UPDATE ledger SET commits = :number"
READ_MARK = "SELECT commits FROM ledger"


@define(eq=False)
class Outcome(Generic[T]):
    """
    How a member of a group ended: `error` is None for one that is committed.

    `notices` are what it had to say to other processes.
    """

    value: T | None = None
    error: BaseException | None = None
    notices: Sequence[str] = ()

    def get(self) -> T:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


# What a group asks of whoever goes on with it: that somebody who may wait does the rest.
_ELSEWHERE = object()

Steps = Coroutine[object, None, "list[Outcome[Any]]"]


@coroutine
def elsewhere() -> Generator[object, None, None]:
    """Awaited where what comes next may take long."""
    yield _ELSEWHERE


class _RolledBackAsAWhole(Exception):
    """The database has left the transaction by itself; whatever comes next would be alone."""


@implementer(ITransaction)
class SqliteTransaction:
    """Statements on one connection; awaiting them never waits."""

    __slots__ = ("_cursor", "_known", "_sums", "has_written", "notices", "sums_up", "until")

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._sums = Sums()
        self._known: dict[tuple[str, object], Row] = {}
        self.has_written = False
        self.sums_up = False  # whether all that follows is undone together or not at all
        self.notices: list[str] = []
        self.until: float | None = None  # on the monotonic clock; what comes later is done elsewhere

    async def _execute(self, sql: str, parameters: Sequence[object]) -> sqlite3.Cursor:
        if self.until is not None and monotonic() > self.until:
            await elsewhere()
        if self._sums and self._sums.concern(sql):
            self.has_written = True  # what is lost where this fails are the sums of others, too
            self.write_sums()
        if self._known and not sql.startswith("SELECT"):
            self._known.clear()
        return self._cursor.execute(sql, parameters)

    async def turn(self) -> None:
        """Let somebody who may wait go on, if it has taken long; before `change`, `rows` and `look_up`."""
        if self.until is not None and monotonic() > self.until:
            await elsewhere()

    def change(self, statement: str, **parameters: object) -> int:
        """Execute, as `run` does, what neither looks at counters nor changes what is being looked up."""
        sql, pick = positional(statement)
        changed = self._cursor.execute(sql, pick(parameters)).rowcount
        if changed:
            self.has_written = True
        return changed

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """Execute such a statement that returns the rows it changes."""
        sql, pick = positional(statement)
        rows = self._cursor.execute(sql, pick(parameters)).fetchall()
        if rows:
            self.has_written = True
        return rows

    @property
    def last_id(self) -> int:
        """The `id` that was given to the last row that was inserted."""
        return self._cursor.lastrowid or 0

    def look_up(self, statement: str, **parameter: object) -> Row:
        """
        Return the row that a SELECT with one parameter gives.

        It is remembered for the members of a group that come next, until one of them writes with
        anything but `change`, `rows` and `add`.
        """
        (asked_for,) = parameter.values()
        row = self._known.get((statement, asked_for))
        if row is None:
            sql, pick = positional(statement)
            row = self._known[statement, asked_for] = self._cursor.execute(sql, pick(parameter)).fetchone()
        return row

    def look_again(self) -> None:
        """Remember nothing: somebody else may have written, or what was written is undone."""
        self._known.clear()

    def write_sums(self) -> None:
        """Execute what was given to `add` and not yet executed."""
        for statement, parameters in self._sums.take():
            sql, pick = positional(statement)
            self._cursor.execute(sql, pick(parameters))

    def forget_sums(self) -> None:
        """Execute nothing of it: all that has happened is being undone."""
        self._sums.take()

    async def run(self, statement: str, **parameters: object) -> int:
        """Execute; returns the number of rows changed."""
        sql, pick = positional(statement)
        if not sql:
            if statement == NOTIFY:
                self.notices.append(str(parameters["payload"]))
            return 0
        changed = (await self._execute(sql, pick(parameters))).rowcount
        if changed:
            self.has_written = True
        return changed

    async def soon(self, statement: str, **parameters: object) -> None:
        """Execute; there is nothing to wait for here."""
        await self.run(statement, **parameters)

    async def add(self, statement: str, row: dict[str, object], amounts: Mapping[str, int]) -> None:
        """Execute, once for all that is added to a row before somebody looks at it or it is committed."""
        self.has_written = True
        if self.sums_up:
            self._sums.add(statement, row, amounts)
        else:
            await self.run(statement, **row, **amounts)

    async def insert(self, statement: str, **parameters: object) -> int:
        """Execute an INSERT of one row; returns the `id` it was given."""
        sql, pick = positional(statement)
        self.has_written = True
        return (await self._execute(sql, pick(parameters))).lastrowid or 0

    async def one(self, statement: str, **parameters: object) -> Row | None:
        """Execute; returns the first row, or None."""
        sql, pick = positional(statement)
        row: Row | None = (await self._execute(sql, pick(parameters))).fetchone()
        if row is not None and not sql.startswith("SELECT"):
            self.has_written = True
        return row

    async def all(self, statement: str, **parameters: object) -> list[Row]:
        """Execute; returns all rows."""
        sql, pick = positional(statement)
        rows = (await self._execute(sql, pick(parameters))).fetchall()
        if rows and not sql.startswith("SELECT"):
            self.has_written = True
        return rows


def _nobody_reads() -> None:
    """Nobody is in the way."""


@define(eq=False)
class Writer:
    """
    Commits groups of transactions. All calls but `is_away` must come from one thread at a time.

    A group may begin where nobody may wait, with `go_on`, and be finished by a thread: statements
    are short, and what a thread pays for them is mostly the changes between it and the others.

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
    _is_hurried: bool = field(init=False, default=False)
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
        return self.finish(self.begin(group))

    def begin(self, group: Sequence[Work[Any]]) -> Steps:
        """Return the steps of committing `group`; none has been taken yet."""
        return self._commit(group)

    def go_on(self, steps: Steps, until: float) -> list[Outcome[Any]] | None:
        """
        Take steps until then (on the monotonic clock), but none that waits for the disk or for others.

        None means that the rest is for `finish`.
        """
        return self._go_on(steps, until)

    def finish(self, steps: Steps) -> list[Outcome[Any]]:
        """Take all steps that are left."""
        outcomes = self._go_on(steps, None)
        assert outcomes is not None
        return outcomes

    def _go_on(self, steps: Steps, until: float | None) -> list[Outcome[Any]] | None:
        self._is_hurried = until is not None
        if not self.is_away:
            self._transaction.until = until
        try:
            asked = steps.send(None)
            while asked is not _ELSEWHERE:
                asked = steps.throw(RuntimeError("a transaction may await nothing but its own statements"))
        except StopIteration as stop:
            outcomes: list[Outcome[Any]] = stop.value
            return outcomes
        return None

    async def _elsewhere(self) -> None:
        if self._is_hurried:
            await elsewhere()

    async def _commit(self, group: Sequence[Work[Any]]) -> list[Outcome[Any]]:
        if self.is_away:
            await self._elsewhere()
            if not self._come_back():
                return [Outcome(error=StoreUnavailable("the ledger cannot be written")) for _ in group]
        outcomes: list[Outcome[Any]] = []
        try:
            await self._begin()
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # with an operator's tool nothing is in doubt
                self.close()
            return [Outcome(error=StoreUnavailable(f"ledger: {error}")) for _ in group]
        try:
            await self._run_all(group, outcomes)
            self._number += 1  # first, so that whatever fails from here on is not taken for committed
            self._transaction.sums_up = False
            self._transaction.write_sums()
            self._cursor.execute(MARK, {"number": self._number})
            await self._elsewhere()
            self._cursor.execute("COMMIT")
        except (sqlite3.Error, _RolledBackAsAWhole) as error:
            await self._elsewhere()
            return self._settle(group, outcomes, error)
        return outcomes

    async def _begin(self) -> None:
        """Begin a transaction that may write; who is in a hurry does not wait for an operator's tool."""
        self._transaction.look_again()
        if self._is_hurried:
            self._cursor.execute("PRAGMA busy_timeout = 0")
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            finally:
                self._cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
            await self._elsewhere()
        self._cursor.execute("BEGIN IMMEDIATE")

    async def _run_all(self, group: Sequence[Work[Any]], outcomes: list[Outcome[Any]]) -> None:
        """
        Run the members one after the other; the first that must be undone brings savepoints.

        Most that fail have written nothing, and savepoints are a third of all statements. So
        the whole is undone and run again, carefully, when one fails that did write.
        """
        self._transaction.sums_up = True
        for work in group:
            outcome = await self._member(work)
            if outcome.error is not None and self._transaction.has_written:
                break
            outcomes.append(outcome)
        else:
            return
        outcomes.clear()
        self._transaction.sums_up = False
        self._transaction.forget_sums()
        self._transaction.look_again()
        self._cursor.execute("ROLLBACK")
        await self._elsewhere()
        self._cursor.execute("BEGIN IMMEDIATE")
        for work in group:
            self._cursor.execute("SAVEPOINT member")
            outcome = await self._member(work)
            if outcome.error is not None:
                self._transaction.look_again()
                self._cursor.execute("ROLLBACK TO member")
            self._cursor.execute("RELEASE member")
            outcomes.append(outcome)

    async def _member(self, work: Work[Any]) -> Outcome[Any]:
        transaction = self._transaction
        transaction.has_written = False
        try:
            outcome = Outcome(await work(transaction))
            if transaction.notices:
                outcome.notices, transaction.notices = transaction.notices, []
        except BaseException as error:
            outcome = Outcome(error=translated(error))
            transaction.notices.clear()
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
