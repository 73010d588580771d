"""A ledger at the other end of a link, for the contracts: both ends in one process, with sockets between."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from s3orchestrator.interfaces import ITransaction, Traits
from s3orchestrator.store.guarded import nothing
from s3orchestrator.store.marking import Marks
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.usage import UsageLedger
from s3orchestrator.workers.duties import sharing
from s3orchestrator.workers.ledger import SharedLedger
from s3orchestrator.workers.ledger_server import Client, LedgerServer
from s3orchestrator.workers.link import Handler, Link, join
from tests.contracts.store_kit import Kit, TimedReactor, all_traits

T = TypeVar("T")
R = TypeVar("R")

LEASE = 300.0


def roles_of(kit: Kit) -> Mapping[str, Any]:
    """The roles of a kit, by name."""
    return {
        "blobs": kit.blobs,
        "buckets": kit.buckets,
        "versions": kit.versions,
        "uploads": kit.uploads,
        "usage": UsageLedger(kit.ledger),
        "marks": Marks(kit.ledger),
    }


@define(eq=False)
class Linked(SharedLedger):
    """
    What another process has of a ledger, and what tests do to it behind the back of its roles.

    Those see the link's other end do the work, in the name of the same owner.
    """

    client: Client = field(kw_only=True)
    parent: Parent = field(kw_only=True)

    async def open(self) -> Linked:
        await super().open()
        # Tests look into these, and add to them.
        self.operations.loose_ends = self.client.view.operations.loose_ends
        return self

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        if work is nothing:
            return await super().transact(work)
        return await self.client.view.transact(work)

    def built(self, kind: type[R], role: str) -> type[R]:
        """The class of a role in this process."""
        return sharing(kind, role, self.change)

    async def hang_up(self) -> None:
        """End as a process does that is killed."""
        await super().close()
        self._link.close()
        await self.parent.lost(self.client)

    async def close(self) -> None:
        await super().close()
        await self.parent.left(self)


@define(eq=False)
class Parent:
    """The process that has the ledger."""

    path: str
    clock: Clock
    reactor: Any
    traits: dict[str, Traits | None] = field(factory=all_traits)
    database: SqliteDatabase = field(init=False)
    server: LedgerServer = field(init=False)
    _ends: dict[Client, tuple[Link, Deferred[None]]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        timed = TimedReactor(self.clock, self.reactor)
        self.database = SqliteDatabase(self.path, timed, lease=LEASE).open()
        self.server = LedgerServer(self.database, self.roles_on)

    def roles_on(self, ledger: ILedger) -> Mapping[str, Any]:
        return roles_of(Kit(ledger, self.clock, self.traits))

    async def child(self, lease: float = LEASE) -> Linked:
        """Another process that has the ledger from us."""
        ours, theirs = socket.socketpair()
        answers: dict[str, Handler] = {}
        gone: Deferred[None] = Deferred()
        end = Link(answers, lambda: gone.callback(None), self.reactor)
        client = self.server.admit(end.tell)
        answers.update(client.answers)
        heard: dict[str, Handler] = {}
        link = Link(heard, lambda: None, self.reactor)
        timed = TimedReactor(self.clock, self.reactor)
        linked = Linked(self.path, timed, link=link, lease=lease, client=client, parent=self)
        heard.update(linked.answers)
        self._ends[client] = end, gone
        join(end, ours, self.reactor)
        join(link, theirs, self.reactor)
        return await linked.open()

    async def lost(self, client: Client) -> None:
        """Wait until it is known here that the other end has gone."""
        if client in self._ends:
            _, gone = self._ends.pop(client)
            await gone
            await self.server.gone(client)

    async def crash(self) -> None:
        """End as a process does that is killed."""
        for end, gone in tuple(self._ends.values()):
            end.close()
            await gone
        self._ends.clear()

    async def left(self, linked: Linked) -> None:
        """When the last has gone, so do we."""
        for client, (end, gone) in tuple(self._ends.items()):
            end.close()
            await gone
            del self._ends[client]
        await self.database.close()
