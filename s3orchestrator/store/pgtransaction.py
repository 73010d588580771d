"""A transaction on PostgreSQL, the rows it gives, and what the server's errors mean to us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors
from psycopg2 import errorcodes
from twisted.internet.error import ConnectionClosed
from zope.interface import implementer

from s3orchestrator.errors import Conflict, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.connections import Connection, one_line
from s3orchestrator.store.sql import pyformat

T = TypeVar("T")

BEGIN = b"BEGIN"
ROLLBACK = b"ROLLBACK"
# With synchronous replicas a timeout would end the wait for them and call that a success. And where
# a statement's failure was ignored, SET fails: COMMIT would undo everything and not call that a failure.
COMMIT = b"SET LOCAL statement_timeout = 0; COMMIT"


class ConnectionLost(ConnectionClosed):
    """A connection ended by itself; if it was in a transaction, nothing of that has happened."""


FAILURES = (psycopg2.Error, ConnectionClosed)

# What else went on may make a transaction fail that would succeed alone.
_LOST_A_RACE = {errorcodes.SERIALIZATION_FAILURE, errorcodes.DEADLOCK_DETECTED}
_AWAY_CLASSES = {
    errorcodes.CLASS_CONNECTION_EXCEPTION,
    errorcodes.CLASS_TRANSACTION_ROLLBACK,
    errorcodes.CLASS_INSUFFICIENT_RESOURCES,
    errorcodes.CLASS_OPERATOR_INTERVENTION,  # a statement's timeout, too
    errorcodes.CLASS_SYSTEM_ERROR,
    errorcodes.CLASS_INTERNAL_ERROR,
}
_AWAY = {errorcodes.READ_ONLY_SQL_TRANSACTION, errorcodes.LOCK_NOT_AVAILABLE}


class _Row(tuple[Any, ...]):
    """A row that can also be read by column name; there is a class for each statement."""

    __slots__ = ()
    columns: dict[str, int]

    def __getitem__(self, column: Any) -> Any:
        return tuple.__getitem__(self, self.columns[column] if type(column) is str else column)

    def keys(self) -> Sequence[str]:
        """The names of the columns."""
        return list(self.columns)


_kinds: dict[str, type[_Row]] = {}


def rows_of(cursor: Any, statement: str) -> list[Row]:
    """Return what a statement gave; `statement` as it is written in the source."""
    kind = _kinds.get(statement)
    if kind is None:
        columns = {column[0]: number for number, column in reversed(list(enumerate(cursor.description)))}
        kind = _kinds[statement] = type("Row", (_Row,), {"__slots__": (), "columns": columns})
    return list(map(kind, cursor.fetchall()))


@implementer(ITransaction)
class PostgresTransaction:
    """
    Statements on one connection.

    What gives nothing that anybody waits for (BEGIN, a lock, what is to happen `soon`) is sent
    together with what comes next. Within one string, too, each statement sees what was
    committed before it began.
    """

    __slots__ = ("_ahead", "_connection", "has_begun")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ahead = [BEGIN]
        self.has_begun = False

    async def run(self, statement: str, **parameters: object) -> int:
        """Execute; returns the number of rows changed."""
        sql = pyformat(statement)
        if not sql:
            return 0
        written = self._connection.written(sql, parameters)
        if sql.startswith(_FOR_EFFECT):
            self._ahead.append(written)
            return 0
        changed: int = (await self._ask(written)).rowcount
        return changed

    async def soon(self, statement: str, **parameters: object) -> None:
        """Execute together with what comes next, be it COMMIT."""
        if sql := pyformat(statement):
            self._ahead.append(self._connection.written(sql, parameters))

    async def add(self, statement: str, row: dict[str, object], amounts: Mapping[str, int]) -> None:
        """Execute together with what comes next."""
        await self.soon(statement, **row, **amounts)

    async def insert(self, statement: str, **parameters: object) -> int:
        """Execute an INSERT of one row; returns the `id` it was given."""
        written = self._connection.written(pyformat(statement), parameters)
        given: int = (await self._ask(written + b" RETURNING id")).fetchone()[0]
        return given

    async def one(self, statement: str, **parameters: object) -> Row | None:
        """Execute; returns the first row, or None."""
        rows = await self.all(statement, **parameters)
        return rows[0] if rows else None

    async def all(self, statement: str, **parameters: object) -> list[Row]:
        """Execute; returns all rows."""
        written = self._connection.written(pyformat(statement), parameters)
        return rows_of(await self._ask(written), statement)

    async def whole(self, statements: str, **parameters: object) -> list[Row]:
        """
        Execute statements that are a transaction by themselves; returns the rows of the last one.

        To the server a string without BEGIN is one transaction, which is committed before the last answer
        is complete. A COMMIT at its end would have an answer, too, and psycopg2 keeps only the last one.

        This must be asked first; other statements may follow, and are another transaction.

        :raises TransactionUnclear: the server may have committed, and did not say so.
        """
        assert self._ahead == [BEGIN] and not self.has_begun
        written = self._connection.written(pyformat(statements), parameters)
        self._connection.verify()
        try:
            answer = await self._connection.ask(written)
        except FAILURES as error:
            raise self._unless_unclear(error) from error
        return rows_of(answer, statements)

    async def _ask(self, statement: bytes) -> Any:
        self._ahead.append(statement)
        return await self._send()

    async def _send(self) -> Any:
        statements, self._ahead = b";".join(self._ahead), []
        self.has_begun = True
        return await self._connection.ask(statements)

    async def commit(self) -> None:
        """
        Commit, with what was to be executed before.

        :raises TransactionUnclear: the server may have committed, and did not say so.
        """
        if self._ahead == [BEGIN]:
            return
        try:
            await self._ask(COMMIT)
        except FAILURES as error:
            raise self._unless_unclear(error) from error

    def _unless_unclear(self, error: Exception) -> Exception:
        """Return the failure of what was to commit, if it is certain that this has not happened."""
        if not self._connection.is_closed and _is_refusal(error):
            return error
        return TransactionUnclear(f"COMMIT got no answer: {one_line(error)}")

    async def roll_back(self) -> None:
        """Undo everything; a connection on which that fails is closed, which comes to the same."""
        if not self.has_begun or self._connection.is_closed:
            return
        try:
            await self._connection.ask(ROLLBACK)
        except FAILURES:
            self._connection.close()


# What changes no row, and so is run for something else.
_FOR_EFFECT = ("SELECT", "SET", "LOCK")

# The server ends connections; what it says then may come after the COMMIT that was asked for.
_ENDINGS = (errorcodes.CLASS_CONNECTION_EXCEPTION, "57P")


def _is_refusal(error: Exception) -> bool:
    """Tell whether it is the server's word that nothing has happened."""
    return isinstance(error, psycopg2.Error) and not (error.pgcode or "08").startswith(_ENDINGS)


async def in_transaction(connection: Connection, work: Callable[[ITransaction], Awaitable[T]]) -> T:
    """Run `work`, and commit; what it raises rolls back."""
    tx = PostgresTransaction(connection)
    try:
        result = await work(tx)
        await tx.commit()
    except BaseException:
        await tx.roll_back()
        raise
    return result


def may_succeed(error: Exception, tried: int) -> bool:
    """Tell whether a transaction that failed, and has been run again `tried` times, is worth another try."""
    if isinstance(error, psycopg2.errors.UniqueViolation):
        # A row that was not there when it looked; the next time it will see it.
        return not tried
    if isinstance(error, psycopg2.Error):
        return bool(error.pgcode in _LOST_A_RACE)
    return isinstance(error, ConnectionLost)


def lacks_function(error: Exception) -> bool:
    """Tell whether something was called that the server does not have."""
    return isinstance(error, psycopg2.errors.UndefinedFunction)


def is_standby(error: Exception) -> bool:
    """Tell whether the server may only be read: after a failover the former primary may still answer."""
    return isinstance(error, psycopg2.errors.ReadOnlySqlTransaction)


def translated(error: Exception) -> Exception:
    """Return what a failure means to the roles; mistakes of ours stay as they are."""
    told = _meaning(error)
    if told is None:
        return error
    told.__cause__ = error
    return told


def _meaning(error: Exception) -> Exception | None:
    if isinstance(error, ConnectionLost):
        return StoreUnavailable(f"ledger: {one_line(error)}")
    if isinstance(error, ConnectionClosed):
        return StoreUnavailable("ledger: no answer in time")
    if isinstance(error, psycopg2.IntegrityError):
        return Conflict(f"the ledger refuses: {one_line(error)}")
    if isinstance(error, psycopg2.Error) and _is_away(error):
        return StoreUnavailable(f"ledger: {one_line(error)}")
    return None


def _is_away(error: Any) -> bool:
    if error.pgcode is None:  # not the server's word: there is no connection, or we were mistaken
        return not isinstance(error, psycopg2.ProgrammingError)
    return error.pgcode[:2] in _AWAY_CLASSES or error.pgcode in _AWAY
