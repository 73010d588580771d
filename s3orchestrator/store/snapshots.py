"""
Long looks at an SQLite ledger: each on a thread and a connection of its own, at one moment.

Neither the writer nor the reactor waits for them. While one lasts the write-ahead log cannot
be started anew, so that it grows with what is written meanwhile; and when the ledger must be
won back after a failure, which takes an empty log, they are broken off.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.writer import Outcome, SqliteTransaction, drive, translated

T = TypeVar("T")

_INSTRUCTIONS = 10_000  # of SQLite's, between two looks whether to stop; well below a millisecond


@define(eq=False)
class _Look:
    """One of them. It ends soon after `is_unwanted` is set, from whatever thread."""

    work: Callable[[ITransaction], Awaitable[Any]]
    done: Deferred[Any] = field(init=False)
    is_unwanted: bool = field(init=False, default=False)
    has_left: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(self._leave)

    def _leave(self, _: Deferred[Any]) -> None:
        self.has_left = self.is_unwanted = True

    def run(self, connect: Callable[[], sqlite3.Connection]) -> Outcome[Any]:
        """Do all of it; for the thread."""
        try:
            connection = connect()
        except sqlite3.Error as error:
            return Outcome(error=StoreUnavailable(f"ledger: {error}"))
        try:
            connection.set_progress_handler(lambda: self.is_unwanted, _INSTRUCTIONS)
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            return Outcome(drive(self.work(SqliteTransaction(cursor))))
        except BaseException as error:
            if self.is_unwanted:
                return Outcome(error=StoreUnavailable("a long look at the ledger was broken off"))
            return Outcome(error=translated(error))
        finally:
            connection.close()


@define(eq=False)
class Snapshots:
    """
    Starts looks, and knows those that are under way.

    :param connect: opens a connection that cannot write; called in a look's own thread.
    :param tell: runs something in the reactor's thread.
    """

    _connect: Callable[[], sqlite3.Connection]
    _tell: Callable[..., object]
    _looks: set[_Look] = field(init=False, factory=set)
    _idle: Deferred[None] | None = field(init=False, default=None)

    async def take(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work`; see `IDatabase.snapshot`."""
        look = _Look(work)
        self._looks.add(look)
        Thread(target=self._run, args=(look,), name="snapshot", daemon=True).start()
        result: T = await look.done
        return result

    def stop(self) -> None:
        """Break off all of them; from any thread."""
        for look in tuple(self._looks):
            look.is_unwanted = True

    async def close(self) -> None:
        """Break off all of them, and wait until their connections are closed."""
        self.stop()
        if self._looks:
            self._idle = Deferred()
            await self._idle

    def _run(self, look: _Look) -> None:
        self._tell(self._ended, look, look.run(self._connect))

    def _ended(self, look: _Look, outcome: Outcome[Any]) -> None:
        self._looks.discard(look)
        if not self._looks and self._idle is not None:
            self._idle.callback(None)
        if look.has_left:
            return
        if outcome.error is None:
            look.done.callback(outcome.value)
        else:
            look.done.errback(outcome.error)
