"""
The ledger in a PostgreSQL database, for any number of processes.

Transactions run at READ COMMITTED on connections of a pool, and once more where they lost a
race or their connection. A caller that leaves changes nothing: what was begun goes on.
"""

from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from random import random
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any, TypeVar

from attrs import define, evolve, field
from psycopg2.errors import InsufficientPrivilege
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from s3orchestrator.concurrency import shield, start
from s3orchestrator.config.sections import DatabaseConfig
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.store.advisory import AdvisoryLocks
from s3orchestrator.store.connections import Connection, one_line
from s3orchestrator.store.dialing import ENDLESS, Patience, Server, dial
from s3orchestrator.store.finding import together
from s3orchestrator.store.listening import Hear, Listener
from s3orchestrator.store.migrate import migrate, migrations
from s3orchestrator.store.operations import ILedger, Operations, Shortened, UnderWay
from s3orchestrator.store.owners import register
from s3orchestrator.store.pgfunctions import make_functions
from s3orchestrator.store.pgtransaction import (
    FAILURES,
    ConnectionLost,
    PostgresTransaction,
    in_transaction,
    is_standby,
    lacks_function,
    may_succeed,
    rows_of,
    translated,
)
from s3orchestrator.store.pool import Limits, Pool
from s3orchestrator.store.shortcuts import Shortcuts
from s3orchestrator.store.sql import IN_ONE_SNAPSHOT, MIGRATING, pyformat
from s3orchestrator.store.together import Parameters, Together
from s3orchestrator.store.turns import Turns

T = TypeVar("T")

OLDEST_SERVER = 14_00_00

_BEGUN_WITHIN = 0.75  # of the time that we wait for an answer

_DELAYS = (0.0, 0.01, 0.02, 0.04, 0.08)  # seconds, before a transaction is run again

ABOUT = """
    SELECT current_setting('server_version_num')::integer AS version,
           current_setting('server_encoding') AS encoding
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now_ms"
IS_THERE = "SELECT to_regclass('schema_versions') IS NULL AS missing"
LEDGER_ID = "SELECT id FROM ledger"


@implementer(ILedger)
@define(eq=False)
class PostgresDatabase:
    """
    A ledger on a PostgreSQL server. Nothing happens before `open`.

    Ledger time is the server's clock, or `clock` where one is given: measured now and then, and in
    between told by a clock that nobody sets, and that goes on while the machine is suspended.
    `lease` is for how many seconds others leave alone what we hold, until a `Lease` is renewed;
    None: for ever.
    """

    _log = Logger()
    _server: Server
    _reactor: Any
    _limits: Limits = field(factory=Limits, kw_only=True)
    _patience: Patience = field(factory=Patience, kw_only=True)
    _clock: IReactorTime | None = field(default=None, kw_only=True)
    _lease: float | None = field(default=None, kw_only=True)
    _random: Callable[[int], bytes] = field(default=os.urandom, kw_only=True)
    ledger_id: str = field(init=False, default="")
    operations: Operations = field(init=False)
    clock_skew_ms: int = field(init=False, default=0)
    _booted_ms: int = field(init=False, default=0)  # the ledger's time when the machine was started
    locks: AdvisoryLocks = field(init=False)
    _pool: Pool = field(init=False)
    _listener: Listener = field(init=False)
    _finding: dict[str, Together] = field(init=False)
    _looking: set[Connection] = field(init=False, factory=set)
    _is_open: bool = field(init=False, default=False)
    _working: UnderWay = field(init=False, factory=UnderWay)
    _closing: Deferred[None] | None = field(init=False, default=None)

    @classmethod
    def of(cls, config: DatabaseConfig, reactor: Any, lease: float | None = None) -> PostgresDatabase:
        """Return the ledger that a configuration names."""
        server = Server(
            config.host,
            config.port,
            config.database,
            config.user,
            str(config.password),
            config.ssl_mode,
        )
        limits = Limits(config.min_conns, config.max_conns, config.max_conn_lifetime)
        return cls(server, reactor, limits=limits, lease=lease)

    def __attrs_post_init__(self) -> None:
        async def connect() -> Connection:
            return await dial(self._server, self._reactor, self._patience)

        self._pool = Pool(connect, self._reactor, self._limits)
        self._listener = Listener(connect, self._reactor)
        self.locks = AdvisoryLocks(connect)

        async def query(statement: str, parameters: Parameters) -> list[Row]:
            return await self._counted(self._query(statement, parameters))

        self._finding = together(query, self._later)

    async def open(self, *, make: bool = True) -> PostgresDatabase:
        """
        Connect, and bring the schema up to date; several instances may do so at once.

        `make`: whether a database without a ledger gets one.

        :raises LedgerTooNew: a newer release has changed it.
        :raises StoreUnavailable: there is no such database, or it is none for us.
        """
        connection = await dial(self._server, self._reactor, evolve(ENDLESS, connect=self._patience.connect))
        try:
            await self._look_at(connection)
            await self._measure(connection)
            await self._prepare(connection, make)
            await self._listener.open()
        except FAILURES as error:
            raise translated(error) from error
        finally:
            connection.close()
        self._is_open = True
        self._pool.start()
        return self

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction; see `IDatabase`. Who waits for a shortcut may leave without harm."""
        if isinstance(work, Shortened):
            done: T | None = await self._counted(work.short(None))
            if done is not None:
                return done
            work = work.work
        return await shield(self._counted(self._transact(work)))

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        """Read with one statement; see `IDatabase`."""
        finding = self._finding.get(statement)
        if finding is not None:
            return await finding.ask(parameters)
        return await shield(self._counted(self._query(statement, parameters)))

    async def at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction without time limits; see `IDatabase`."""
        return await shield(self._counted(self._at_length(work)))

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Read at length, as of one moment; see `IDatabase`. A caller that leaves ends it."""
        looking = start(self._counted(self._snapshot(work)))

        async def ended() -> T:
            return await looking

        try:
            return await shield(ended())
        except CancelledError:
            looking.cancel()
            raise

    def _later(self, call: Callable[[], None]) -> None:
        """Call when all has been heard that has come, which is the end of this turn of the reactor."""
        self._reactor.callLater(0, call)

    def now_ms(self) -> int:
        """Ledger time."""
        if self._clock is not None:
            return int(self._clock.seconds() * 1000)
        return self._server_ms()

    def _server_ms(self) -> int:
        """What the server's clock says."""
        return self._booted_ms + int(clock_gettime(CLOCK_BOOTTIME) * 1000)

    def _until_ms(self) -> int:
        """
        When the server must have begun with what is sent now: while we wait for the answer.

        What is left of the wait is for clocks that do not agree.
        """
        return self._server_ms() + int(self._patience.answer * 1000 * _BEGUN_WITHIN)

    async def measure_time(self) -> None:
        """
        Find out how far the server's clock is ahead of ours, which is `clock_skew_ms`.

        :raises StoreUnavailable: it does not answer.
        """
        await shield(self._counted(self._measure_again()))

    def on_notice(self, hear: Hear) -> None:
        """
        Call `hear` with what any instance says through the word `$notify`, this one included.

        After a time of deafness it is called with "": anything may have been said.
        """
        self._listener.add(hear)

    async def close(self) -> None:
        """Finish what is being done, then let go."""
        if not self._is_open:
            return
        self._is_open = False
        for connection in tuple(self._looking):
            connection.close()
        if self._working:
            self._closing = Deferred()
            await self._closing
        self._listener.close()
        self.locks.close()
        self._pool.close()

    async def _counted(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_open:
            work.close()
            raise StoreUnavailable("the ledger is closed")
        return await self._finished(work)

    async def _finished(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what has been asked for before closing; `close` waits for it."""
        number = self._working.begin()
        try:
            return await work
        finally:
            self._working.end(number)
            if self._closing is not None and not self._working:
                self._closing.callback(None)

    async def _share(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        return await self._finished(self._transact(work))

    async def _transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        for tried, delay in enumerate(_DELAYS):
            try:
                return await self._once(work)
            except FAILURES as error:
                if lacks_function(error) and not tried:
                    await self._make_functions()
                elif not may_succeed(error, tried):
                    raise translated(error) from error
            if delay:
                await deferLater(self._reactor, delay * (0.5 + random()))
        try:
            return await self._once(work)
        except FAILURES as error:
            raise translated(error) from error

    async def _make_functions(self) -> None:
        """Make them anew: a standby that took over, or a backup, may be from before they were made."""

        async def work(tx: ITransaction) -> None:
            await tx.run(MIGRATING)
            await make_functions(tx)

        try:
            await self._once(work)
        except InsufficientPrivilege as error:
            self._log.warn("{error}: everything takes more round trips", error=one_line(error))
            self.operations.shortcuts = None
        except FAILURES as error:
            raise translated(error) from error

    async def _once(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        async def working(connection: Connection) -> T:
            return await in_transaction(connection, work)

        return await self._lent(working)

    async def _snapshot(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        async with self._own_connection() as connection:
            tx = PostgresTransaction(connection)
            await tx.run(IN_ONE_SNAPSHOT)
            return await work(tx)  # nothing is changed, so nothing need be committed

    async def _at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        async with self._own_connection() as connection:
            return await in_transaction(connection, work)

    @asynccontextmanager
    async def _own_connection(self) -> AsyncIterator[Connection]:
        """Have one without time limits: those of the pool are for what is over soon, and are watched."""
        connection = await dial(self._server, self._reactor, evolve(ENDLESS, connect=self._patience.connect))
        self._looking.add(connection)
        try:
            if not self._is_open:
                raise StoreUnavailable("the ledger is closed")
            yield connection
        except FAILURES as error:
            raise translated(error) from error
        finally:
            self._looking.discard(connection)
            connection.close()

    async def _query(self, statement: str, parameters: Parameters) -> list[Row]:
        try:
            return await self._ask(statement, parameters)
        except FAILURES as error:
            if not isinstance(error, ConnectionLost):
                raise translated(error) from error
        try:
            return await self._ask(statement, parameters)
        except FAILURES as error:
            raise translated(error) from error

    async def _ask(self, statement: str, parameters: Parameters) -> list[Row]:
        async def asking(connection: Connection) -> list[Row]:
            written = connection.written(pyformat(statement), parameters)
            return rows_of(await connection.ask(written, self._patience.read), statement)

        return await self._lent(asking)

    async def _lent(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """
        Run `work` with a connection of the pool.

        :raises ConnectionLost: it ended, and not because we had waited long enough.
        """
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        except FAILURES as error:
            if is_standby(error):
                connection.close()
            elif connection.is_closed and not connection.is_late:
                self._pool.distrust()
                raise ConnectionLost(one_line(error)) from error
            raise
        finally:
            self._pool.release(connection)

    async def _look_at(self, connection: Connection) -> None:
        (about,) = rows_of(await connection.ask(ABOUT), ABOUT)
        if about["version"] < OLDEST_SERVER:
            raise StoreUnavailable(f"{self._server.host} is older than PostgreSQL {OLDEST_SERVER // 10000}")
        if about["encoding"] != "UTF8":
            raise StoreUnavailable(
                f"database {self._server.database} is encoded in {about['encoding']}, and must be in UTF8"
            )

    async def _measure(self, connection: Connection) -> None:
        before = clock_gettime(CLOCK_BOOTTIME)
        (row,) = rows_of(await connection.ask(CLOCK), CLOCK)
        after, ours = clock_gettime(CLOCK_BOOTTIME), self._reactor.seconds()
        # It was read at some time in between; half of the way there and back is the best guess.
        back = (after - before) / 2
        self._booted_ms = round(row["now_ms"] - (after - back) * 1000)
        self.clock_skew_ms = round(row["now_ms"] - (ours - back) * 1000)

    async def _measure_again(self) -> None:
        try:
            await self._lent(self._measure)
        except FAILURES as error:
            raise translated(error) from error

    async def _prepare(self, connection: Connection, make: bool) -> None:
        async def work(tx: ITransaction) -> None:
            now_ms = self.now_ms()
            fresh_id = b32encode(self._random(15)).decode("ascii").lower()
            await tx.run(MIGRATING)
            if not make and (await tx.all(IS_THERE))[0]["missing"]:
                raise StoreUnavailable(
                    f"there is no ledger in database {self._server.database}: is database.database right?"
                )
            await migrate(tx, migrations(), now_ms=now_ms, ledger_id=fresh_id)
            owner = await register(tx, now_ms, self._lease)
            ledger = await tx.one(LEDGER_ID)
            await make_functions(tx)
            shortcuts = Shortcuts(self, self._share, self._later, self._until_ms)
            self.operations = Operations(
                owner, Turns(), is_shared=True, shortcuts=shortcuts, under_way=self._working
            )
            self.ledger_id = ledger[0] if ledger else ""

        await in_transaction(connection, work)
