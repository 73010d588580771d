"""How the processes that serve have the ledger of the one that keeps them going."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field

from s3orchestrator.app.core import Core
from s3orchestrator.app.ledgers import share_ledger
from s3orchestrator.concurrency import deadline, shield
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import Traits
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.owners import end
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.workers.ledger_server import Client, LedgerServer
from s3orchestrator.workers.pool import Member

PATIENCE = 5.0  # seconds for the ledger; without it a lease lapses by itself

_log = make_logger()


class ILending(Protocol):
    """Sees to it that a process has the ledger, and that nothing of it is left there when it has died."""

    @property
    def descriptors(self) -> Sequence[int]:
        """What it is to inherit, and to keep open."""

    def admit(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """Let it in; returns who answers what it asks of us."""

    async def gone(self, member: Member) -> None:
        """Nothing of the process is left: what it was doing need not wait for its lease to lapse."""


def lending(core: Core, database: ILedger) -> ILending:
    """Return the way for an open ledger, which `core` works on."""
    if not isinstance(database, SqliteDatabase):
        return Apart(core)

    known = {backend.name: backend for backend in core.backends.all()}

    def traits_of(name: str) -> Traits | None:
        return core.owners.traits_of(name, known[name].traits) if name in known else None

    return Shared(database, share_ledger(core.config, database, traits_of))


@define(eq=False)
class Apart:
    """PostgreSQL: each process connects by itself."""

    _core: Core
    descriptors: Sequence[int] = ()

    def admit(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """See `ILending`."""
        return {}

    async def gone(self, member: Member) -> None:
        """See `ILending`; whoever has left in order has nothing there."""
        if member.report.owners and not member.has_left:
            ending = end(self._core.ledger.database, member.report.owners)
            try:
                await deadline(PATIENCE, shield(ending), self._core.reactor, _too_late)
            except StoreUnavailable as error:
                _log.warn(
                    "what worker {number} was doing is left until its lease lapses: {error}",
                    number=member.number,
                    error=str(error),
                )


@define(eq=False)
class Shared:
    """SQLite: this process writes for all."""

    _database: SqliteDatabase
    _server: LedgerServer
    _clients: dict[Member, Client] = field(factory=dict, init=False)

    @property
    def descriptors(self) -> Sequence[int]:
        """See `ILending`: while one of us lives, nobody else may have the file."""
        return (self._database.held,)

    def admit(self, member: Member) -> Mapping[str, Callable[..., Any]]:
        """See `ILending`."""
        self._database.operations.is_alone = False
        client = self._clients[member] = self._server.admit(member.link.tell)
        return client.answers

    async def gone(self, member: Member) -> None:
        """See `ILending`."""
        await self._server.gone(self._clients.pop(member))


def _too_late() -> Exception:
    return StoreUnavailable("no answer in time")
