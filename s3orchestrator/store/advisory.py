"""Named locks among all instances on one PostgreSQL ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from attrs import define, field
from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from s3orchestrator.concurrency import keep, shield
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks
from s3orchestrator.store.connections import Connection
from s3orchestrator.store.locks import LocalLocks
from s3orchestrator.store.pgtransaction import FAILURES, rows_of, translated
from s3orchestrator.store.pool import Dial
from s3orchestrator.store.sql import pyformat
from s3orchestrator.telemetry.logging import make_logger

# Of the two key spaces that advisory locks have this is the one of a class and 32 bits; see `sql`.
TRY = "SELECT pg_try_advisory_lock(4, hashtext(:name)) AS is_ours"
UNLOCK = "SELECT pg_advisory_unlock(4, hashtext(:name)) AS was_ours"


@implementer(ILocks)
@define(eq=False)
class AdvisoryLocks:
    """
    Advisory locks of one session, which is opened when a lock is first wanted.

    If it ends, so do all its locks, and whoever holds one does not hear of it: see `ILocks`. A
    session may take its own locks again, so those of this process are kept apart here.
    """

    log = make_logger()
    _dial: Dial
    _ours: LocalLocks = field(factory=LocalLocks, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _session: Connection | None = field(default=None, init=False)
    _is_closed: bool = field(default=False, init=False)

    def hold(self, name: str) -> AbstractAsyncContextManager[bool]:
        """
        See `ILocks`.

        :raises StoreUnavailable: the database does not say who has the lock.
        """
        return self._hold(name)

    @asynccontextmanager
    async def _hold(self, name: str) -> AsyncIterator[bool]:
        async with self._ours.hold(name) as is_free:
            if not is_free:
                yield False
                return
            # Whoever leaves while the database is asked may have been given the lock all the same.
            session = await keep(self._take(name), partial(self._not_wanted, name))
            if session is None:
                yield False
                return
            try:
                yield True
            finally:
                await shield(self._give_back(session, name))

    async def _take(self, name: str) -> Connection | None:
        """Return the session that holds the lock now, None if another instance has it."""
        await self._turn.acquire()
        try:
            if self._is_closed:
                raise StoreUnavailable("the ledger is closed")
            if self._session is None or self._session.is_closed:
                self._session = await self._dial()
            return self._session if await self._ask(self._session, TRY, name) else None
        finally:
            self._turn.release()

    def _not_wanted(self, name: str, session: Connection | None) -> None:
        if session is not None:
            shield(self._give_back(session, name))

    async def _give_back(self, session: Connection, name: str) -> None:
        await self._turn.acquire()
        try:
            if not session.is_closed:
                await self._ask(session, UNLOCK, name)
        except StoreUnavailable as error:
            session.close()  # which gives everything back
            self.log.info("locks were given back with their session: {error}", error=str(error))
        finally:
            self._turn.release()

    @staticmethod
    async def _ask(session: Connection, statement: str, name: str) -> bool:
        try:
            written = session.written(pyformat(statement), {"name": name})
            (row,) = rows_of(await session.ask(written), statement)
        except FAILURES as error:
            raise translated(error) from error
        return bool(row[0])

    def close(self) -> None:
        """Give everything back, and take nothing more."""
        self._is_closed = True
        if self._session is not None:
            self._session.close()
