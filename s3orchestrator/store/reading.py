"""
Reading an SQLite ledger, by whoever writes it and by the other processes of a daemon.

Reads of one statement run on the reactor's thread, on a connection of their own, and what requests
look up runs together at the end of a turn; longer looks have threads of theirs. Each statement sees all
that was committed before it began.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.lookups import LookUps
from s3orchestrator.store.snapshots import Snapshots
from s3orchestrator.store.sql import positional
from s3orchestrator.store.versions import LOOK_UPS
from s3orchestrator.store.writer import BUSY_TIMEOUT, SqliteTransaction, drive, translated

T = TypeVar("T")

_MMAP_BYTES = 1 << 30


@define(eq=False)
class SqliteReading:
    """
    The half of a ledger in a file that changes nothing.

    `reactor` gives the time and, if `threaded`, takes calls from the threads of long looks.
    """

    path: str = field(converter=os.fspath)
    _reactor: IReactorTime
    _threaded: bool = field(default=True, kw_only=True)
    _reader: sqlite3.Cursor | None = field(init=False, default=None)
    _snapshots: Snapshots = field(init=False)
    _look_ups: LookUps = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._snapshots = Snapshots(self._connect_aside, self._tell)
        self._look_ups = LookUps(self._readable, lambda turn: self._reactor.callLater(0, turn))

    @property
    def is_away(self) -> bool:
        """Tell whether the ledger cannot be written: what is read then may not last."""
        raise NotImplementedError

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        """Read with one statement; see `IDatabase`."""
        if self._threaded and statement in LOOK_UPS:
            return await self._look_ups.ask(statement, parameters)
        try:
            # All rows at once: no read transaction stays open.
            sql, pick = positional(statement)
            return self._readable().execute(sql, pick(parameters)).fetchall()
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"ledger: {error}") from error

    def _readable(self) -> sqlite3.Cursor:
        if self._reader is None or self.is_away:
            raise StoreUnavailable("the ledger is closed or away")
        return self._reader

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Read at length, as of one moment; see `IDatabase`."""
        reader = self._readable()
        if self._threaded:
            return await self._snapshots.take(work)
        try:
            return drive(work(SqliteTransaction(reader)))
        except sqlite3.Error as error:
            raise translated(error) from error

    def now_ms(self) -> int:
        """Ledger time."""
        return int(self._reactor.seconds() * 1000)

    async def measure_time(self) -> None:
        """There is only one clock."""

    def _connect_aside(self) -> sqlite3.Connection:
        """Connect without being able to write."""
        connection = sqlite3.connect(
            f"file:{quote(self.path)}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        return connection

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Have something called in the reactor's thread; from the others."""
        self._reactor.callFromThread(call, *arguments)  # type: ignore[attr-defined]
