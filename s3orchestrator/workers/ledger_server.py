"""
The ledger for other processes of ours: what they cannot do themselves is done for them here.

Each is an owner of its own, with operations and a lease of its own, as if it had a database of its own
to ask. Its transactions are committed in groups with everybody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError
from zope.interface import implementer

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks, ITransaction, Row
from s3orchestrator.store.guarded import nothing
from s3orchestrator.store.operations import NOBODY, UNHEARD, ILedger, Left, LooseEnd, Operations
from s3orchestrator.store.owners import Registration
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.sqliteshortcuts import SqliteShortcuts
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.workers import ledger as names
from s3orchestrator.workers.duties import DUTIES
from s3orchestrator.workers.ledger import Ends
from s3orchestrator.workers.link import Handler

T = TypeVar("T")

Tell = Callable[..., object]
Roles = Mapping[str, Any]
RolesOn = Callable[[ILedger], Roles]


@implementer(ILedger)
@define(eq=False)
class View:
    """A ledger as another process's: the same rows, operations of its own."""

    _ledger: SqliteDatabase
    operations: Operations = field(factory=lambda: Operations(NOBODY, is_shared=True))
    clock_skew_ms: int = 0

    def __attrs_post_init__(self) -> None:
        self.operations.shortcuts = SqliteShortcuts(self)

    @property
    def ledger_id(self) -> str:
        """See `ILedger`."""
        return self._ledger.ledger_id

    @property
    def locks(self) -> ILocks:
        """See `ILedger`."""
        return self._ledger.locks

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """See `IDatabase`."""
        return await self._ledger.transact(work)

    async def at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """See `IDatabase`."""
        return await self._ledger.at_length(work)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        """See `IDatabase`."""
        return await self._ledger.query(statement, **parameters)

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """See `IDatabase`."""
        return await self._ledger.snapshot(work)

    def now_ms(self) -> int:
        """See `IDatabase`."""
        return self._ledger.now_ms()

    async def measure_time(self) -> None:
        """There is only one clock."""

    def on_notice(self, hear: Callable[[str], object]) -> None:
        """See `ILedger`."""
        self._ledger.on_notice(hear)

    async def close(self) -> None:
        """It is not ours to close."""


@define(eq=False)
class Client:
    """
    One other process, from its start until it is `gone`.

    `answers` are what its link must answer, and `tell` is the link's.
    """

    log = make_logger()
    _ledger: SqliteDatabase
    _roles_on: RolesOn
    tell: Tell
    has_entered: bool = field(init=False, default=False)
    view: View = field(init=False)
    answers: Mapping[str, Handler] = field(init=False)
    _roles: Roles = field(init=False)
    _locks: dict[str, AsyncExitStack] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.view = View(self._ledger)
        self._roles = self._roles_on(self.view)
        self.answers = {
            names.ENTER: self._enter,
            names.DO: self._do,
            names.TRY: self._try,
            names.LOCK: self._lock,
            names.UNHEARD: self._unheard,
            names.UNLOCK: self._unlock,
        }

    async def _enter(self, lease: float) -> tuple[str, int, bool]:
        self.has_entered = True
        self._roles = {**self._roles, "registration": Registration(self.view, lease)}
        owner = await self._renew()
        return self.view.ledger_id, owner, self._ledger.was_away

    async def _renew(self) -> int:
        owner: int = await self._roles["registration"].renew()
        if owner != self.view.operations.owner:
            self.view.operations.become(owner, self.view.now_ms())
        return owner

    async def _do(
        self, role: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Ends]:
        """
        Carry out a method of a role, and tell what it leaves behind if nobody hears of it: as
        plain values, which is half of what saying them costs.

        Whoever asked may have left by the time that the answer comes, or leave meanwhile.
        """
        if method not in DUTIES[role].elsewhere:
            raise ValueError(f"{role}.{method} is nothing that is done for others")
        if (role, method) == ("registration", "renew"):
            return await self._renew(), ()
        ends: list[LooseEnd] = []
        UNHEARD.set(ends)
        try:
            answer = await getattr(self._roles[role], method)(*args, **kwargs)
        except CancelledError:
            self.view.operations.loose_ends.extend(ends)
            raise
        return answer, tuple([(end.left.name, end.number) for end in ends])

    async def _try(self) -> None:
        await self._ledger.transact(nothing)

    def _unheard(self, ends: Ends) -> None:
        self.view.operations.loose_ends.extend(LooseEnd(Left[kind], number) for kind, number in ends)

    async def _lock(self, name: str) -> bool:
        stack = AsyncExitStack()
        is_held = await stack.enter_async_context(self.view.locks.hold(name))
        if is_held:
            self._locks[name] = stack
        return is_held

    async def _unlock(self, name: str) -> None:
        await self._locks.pop(name).aclose()

    async def gone(self) -> None:
        """
        End its lease: the process has ended, and sends nothing any more to anybody.

        What it was writing is the reaper's from now on, and what it had claimed is anybody's. Where
        the ledger is away its lease lapses by itself.
        """
        for name in tuple(self._locks):
            await self._unlock(name)
        try:
            await Registration(self.view, None).end()
        except StoreUnavailable as error:
            self.log.warn("what a process held that has gone is left to its lease: {error}", error=str(error))


@define(eq=False)
class LedgerServer:
    """
    Lets other processes in.

    `roles_on` gives the roles on a view of the ledger, by the names of `duties`.
    """

    _ledger: SqliteDatabase
    _roles_on: RolesOn
    _clients: set[Client] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self._ledger.on_notice(lambda notice: self._tell(names.NOTICE, notice))
        self._ledger.on_away(lambda is_away: self._tell(names.AWAY, is_away))

    def admit(self, tell: Tell) -> Client:
        """Let in the process at the other end of a link, whose `tell` this is."""
        client = Client(self._ledger, self._roles_on, tell)
        self._clients.add(client)
        return client

    async def gone(self, client: Client) -> None:
        """See to what a process held that has ended; to be called when nothing of it is left."""
        self._clients.discard(client)
        await client.gone()

    def _tell(self, name: str, what: object) -> None:
        for client in tuple(self._clients):
            if client.has_entered:  # others do not listen yet, and have read nothing
                client.tell(name, what)
