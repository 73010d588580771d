"""The ledger: opened as the configuration says, behind a breaker, with its roles."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import attrs
from attrs import define, frozen

from s3orchestrator.config.sections import Config
from s3orchestrator.errors import LedgerMisplaced, StoreUnavailable
from s3orchestrator.interfaces import ILocks, Traits
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.guarded import GuardedLedger
from s3orchestrator.store.marking import Marks
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.owners import Registration
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.usage import UsageLedger
from s3orchestrator.store.versions import Versions
from s3orchestrator.workers.duties import sharing
from s3orchestrator.workers.ledger import SharedLedger
from s3orchestrator.workers.ledger_server import LedgerServer
from s3orchestrator.workers.link import Link

R = TypeVar("R")

TraitsOf = Callable[[str], Traits | None]


class Built(Protocol):
    """Says of which class a role is to be made, where there is a choice."""

    def __call__(self, kind: type[R], role: str) -> type[R]: ...


def _as_it_is(kind: type[R], role: str) -> type[R]:
    return kind


@frozen
class Roles:
    """The store's roles, by their names."""

    buckets: Buckets
    blobs: Blobs
    versions: Versions
    uploads: Uploads
    usage: UsageLedger
    marks: Marks

    @classmethod
    def on(cls, config: Config, ledger: ILedger, traits_of: TraitsOf, built: Built = _as_it_is) -> Roles:
        """Build them on a ledger; `traits_of` tells what a backend can be relied on for."""
        return cls(
            built(Buckets, "buckets")(ledger),
            built(Blobs, "blobs")(ledger, traits_of=traits_of, quiet_period=config.write_path.quiet_period),
            built(Versions, "versions")(ledger),
            built(Uploads, "uploads")(ledger, traits_of=traits_of),
            built(UsageLedger, "usage")(ledger),
            built(Marks, "marks")(ledger),
        )


@define(eq=False)
class Ledger:
    """The store's roles over one database."""

    database: GuardedLedger
    buckets: Buckets
    blobs: Blobs
    versions: Versions
    uploads: Uploads
    usage: UsageLedger
    locks: ILocks
    marks: Marks
    registration: Registration


async def open_ledger(config: Config, reactor: Any, *, make: bool = True, is_shared: bool = False) -> ILedger:
    """
    Open the ledger the configuration names. SQLite blocks for as long as migrations take.

    `make`: whether one that is not there is made; a command that only looks would find an empty one in order.
    `is_shared`: whether there will be other processes that have an SQLite ledger from us.

    :raises LedgerInUse: another process has it.
    :raises LedgerMisplaced: it is in the directory of a backend; for who does not make one only.
    :raises StoreUnavailable: it cannot be reached, or there is no such database.
    """
    lease = config.cleanup_queue.claim_grace_period
    if config.database.engine == "postgres":
        # Whoever has SQLite need not load libpq.
        from s3orchestrator.store.postgres import PostgresDatabase

        return await PostgresDatabase.of(config.database, reactor, lease).open(make=make)
    path = config.database.path
    if not make:
        if not os.path.exists(path):
            raise StoreUnavailable(f"there is no ledger at {path}: is database.path right?")
        _keep_apart(config)
    return SqliteDatabase(path, reactor, lease=lease if is_shared else None).open()


def _keep_apart(config: Config) -> None:
    """
    See that an SQLite ledger is in no backend, where it would be a stray and be deleted with the strays.

    The configuration was checked by names; here links are followed. Not for a daemon, which deletes no
    strays: it must start beside a backend whose file system does not answer.
    """
    # `Path.resolve` would fail where links lead in a circle, which is for the backend to say.
    ledger = Path(os.path.realpath(config.database.path))
    for backend in config.backends:
        if backend.type == "directory" and ledger.is_relative_to(os.path.realpath(backend.path)):
            raise LedgerMisplaced(
                f'the ledger, "{ledger}", is inside of backend "{backend.name}", where only objects may be: '
                "move it and the files beside it elsewhere, and change database.path"
            )


def shared_ledger(config: Config, reactor: Any, link: Link) -> SharedLedger:
    """Return the SQLite ledger that the process at the other end of `link` has; it is not open yet."""
    lease = config.cleanup_queue.claim_grace_period
    return SharedLedger(config.database.path, reactor, link=link, lease=lease)


def share_ledger(config: Config, database: SqliteDatabase, traits_of: TraitsOf) -> LedgerServer:
    """Let other processes have an open ledger from us; it was opened for that."""

    def roles_on(ledger: ILedger) -> dict[str, Any]:
        return attrs.asdict(Roles.on(config, ledger, traits_of), recurse=False)

    return LedgerServer(database, roles_on)


def ledger_on(config: Config, database: ILedger, reactor: Any, traits_of: TraitsOf) -> Ledger:
    """Build the roles on an open database; `traits_of` tells what a backend can be relied on for."""
    breaker = config.circuit_breaker
    guarded = GuardedLedger(
        database, reactor, breaker.failure_threshold, breaker.open_timeout, Random().random
    )
    built = _sharing(guarded, database) if isinstance(database, SharedLedger) else _as_it_is
    roles = Roles.on(config, guarded, traits_of, built)
    lease = config.cleanup_queue.claim_grace_period if database.operations.is_shared else None
    registration = built(Registration, "registration")(guarded, lease)
    return Ledger(
        guarded,
        roles.buckets,
        roles.blobs,
        roles.versions,
        roles.uploads,
        roles.usage,
        database.locks,
        roles.marks,
        registration,
    )


def _sharing(guarded: GuardedLedger, database: SharedLedger) -> Built:
    """Have roles ask for what they do not do here, through the breaker."""

    async def elsewhere(role: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await guarded.change(partial(database.change, role, method, args, kwargs))

    def built(kind: type[R], role: str) -> type[R]:
        return sharing(kind, role, elsewhere)

    return built
