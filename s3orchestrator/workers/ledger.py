"""
The ledger as a process sees it that serves clients for the one that has it.

It reads the file on a connection of its own. Every answer of the other process was given after its
COMMIT, and a statement sees what was committed before it began: so whoever hears that something
is written can read it, here and in every other process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks, ITransaction
from s3orchestrator.store.guarded import nothing
from s3orchestrator.store.hearing import Hearers
from s3orchestrator.store.operations import ILedger, Operations
from s3orchestrator.store.reading import SqliteReading
from s3orchestrator.workers.link import Handler, Link

T = TypeVar("T")

Ends = Sequence[tuple[str, int]]  # loose ends, by the names of their kinds

# What is asked of the process that has the ledger,
ENTER = "ledger.enter"
DO = "ledger.do"
TRY = "ledger.try"
LOCK = "ledger.lock"
# what it is told,
UNHEARD = "ledger.unheard"
UNLOCK = "ledger.unlock"
# and what it tells.
NOTICE = "ledger.notice"
AWAY = "ledger.away"


@implementer(ILocks)
@define(eq=False)
class RemoteLocks:
    """Locks of the process at the other end; they are lost with the link."""

    _link: Link

    def hold(self, name: str) -> AbstractAsyncContextManager[bool]:
        """
        See `ILocks`.

        :raises StoreUnavailable: there is nobody to ask.
        """
        return self._hold(name)

    @asynccontextmanager
    async def _hold(self, name: str) -> AsyncIterator[bool]:
        def not_wanted(is_held: bool) -> None:
            if is_held:
                self._link.tell(UNLOCK, name)

        is_held = await self._link.ask(LOCK, name, unheard=not_wanted)
        try:
            yield is_held
        finally:
            not_wanted(is_held)


@implementer(ILedger)
@define(eq=False)
class SharedLedger(SqliteReading):
    """
    A ledger whose writer is at the other end of a link.

    `lease` is for how many seconds at a time we may act on what we hold. `answers` are what the
    link must answer; nothing happens before `open`.
    """

    _link: Link = field(kw_only=True)
    _lease: float = field(kw_only=True)
    ledger_id: str = field(init=False, default="")
    operations: Operations = field(init=False)
    locks: RemoteLocks = field(init=False)
    clock_skew_ms: int = field(init=False, default=0)
    answers: Mapping[str, Handler] = field(init=False)
    _writer_is_away: bool = field(init=False, default=False)
    _hearers: Hearers[str] = field(init=False, factory=Hearers)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.locks = RemoteLocks(self._link)
        self.answers = {NOTICE: self._hearers.tell, AWAY: self._went}

    async def open(self) -> SharedLedger:
        """
        Become an owner, and connect.

        :raises StoreUnavailable: that was not possible.
        """
        entered = self._link.ask(ENTER, self._lease)
        self.ledger_id, owner, self._writer_is_away = await entered
        self.operations = Operations(owner, is_shared=True)
        try:
            self._reader = self._connect_aside().cursor()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
        return self

    @property
    def is_away(self) -> bool:
        """Tell whether the writer cannot write, or has gone: what is read then may not last."""
        return self._writer_is_away or not self._link.is_connected

    async def change(self, role: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have a method of a role carried out; see `duties`."""
        answer, _ = await self._link.ask(DO, role, method, args, kwargs, unheard=self._not_heard)
        return answer

    def _not_heard(self, answer: tuple[Any, Ends]) -> None:
        """Whoever asked has left, and what it asked for was done all the same."""
        _, ends = answer
        if ends:
            self._link.tell(UNHEARD, ends)

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        Find out whether the ledger answers, which is the only transaction that can be asked for as one.

        Everything else is a method of a role; see `change`.
        """
        if work is not nothing:
            raise RuntimeError("a transaction cannot be sent to another process")
        result: T = await self._link.ask(TRY)
        return result

    async def at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """As `transact`."""
        return await self.transact(work)

    def on_notice(self, hear: Callable[[str], object]) -> None:
        """Call `hear` with what any process says in a transaction, this one included."""
        self._hearers.add(hear)

    async def close(self) -> None:
        """Read no more. What is being asked for is not waited for, and the link is not ours."""
        await self._snapshots.close()
        if self._reader is not None:
            self._reader.connection.close()
            self._reader = None

    def _went(self, is_away: bool) -> None:
        self._writer_is_away = is_away
        if is_away:
            # It comes back once nobody reads what it must empty.
            self._snapshots.stop()
