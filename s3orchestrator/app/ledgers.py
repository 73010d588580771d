"""The ledger: opened as the configuration says, behind a breaker, with its roles."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define

from s3orchestrator.config.sections import Config
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks, Traits
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.guarded import GuardedLedger
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.usage import UsageLedger
from s3orchestrator.store.versions import Versions


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


async def open_ledger(config: Config, reactor: Any, *, make: bool = True) -> ILedger:
    """
    Open the ledger the configuration names. SQLite blocks for as long as migrations take.

    `make`: whether one that is not there is made; a command that only looks would find an empty one in order.

    :raises LedgerInUse: another process has it.
    :raises StoreUnavailable: it cannot be reached, or there is no such database.
    """
    if config.database.engine == "postgres":
        # Whoever has SQLite need not load libpq.
        from s3orchestrator.store.postgres import PostgresDatabase

        lease = config.cleanup_queue.claim_grace_period
        return await PostgresDatabase.of(config.database, reactor, lease).open(make=make)
    path = config.database.path
    if not make and not os.path.exists(path):
        raise StoreUnavailable(f"there is no ledger at {path}: is database.path right?")
    return SqliteDatabase(path, reactor).open()


def ledger_on(
    config: Config, database: ILedger, reactor: Any, traits_of: Callable[[str], Traits | None]
) -> Ledger:
    """Build the roles on an open database; `traits_of` tells what a backend can be relied on for."""
    breaker = config.circuit_breaker
    guarded = GuardedLedger(
        database, reactor, breaker.failure_threshold, breaker.open_timeout, Random().random
    )
    return Ledger(
        guarded,
        Buckets(guarded),
        Blobs(guarded, traits_of=traits_of, quiet_period=config.write_path.quiet_period),
        Versions(guarded),
        Uploads(guarded, traits_of=traits_of),
        UsageLedger(guarded),
        database.locks,
    )
