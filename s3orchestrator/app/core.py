"""
Ledger, backends and engine: everything but the doors.

What a class needs is what its constructor asks for, and here it is given it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from attrs import define, frozen

from s3orchestrator.backends.building import backend_of
from s3orchestrator.backends.guards import Guards
from s3orchestrator.config.features import CircuitBreakerConfig
from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import Config
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.fleet import Fleet, Member
from s3orchestrator.domain.records import Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBackend, ICounters, ILocks
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.copying import ObjectCopier
from s3orchestrator.objects.degraded import DegradedReads, DegradedSettings
from s3orchestrator.objects.deleting import ObjectDeleter
from s3orchestrator.objects.doubting import Doubts
from s3orchestrator.objects.engine import Objects
from s3orchestrator.objects.listing import ObjectLister
from s3orchestrator.objects.locations import Forget, Locations
from s3orchestrator.objects.multipart import MultipartUploads
from s3orchestrator.objects.parts import PartWriter
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import Committer, ObjectWriter
from s3orchestrator.services.usage_flush import UsageFlush
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.guarded import GuardedLedger
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.usage import UsageLedger
from s3orchestrator.store.versions import Versions


def _as_it_is(wrapped: Any) -> Any:
    return wrapped


@frozen
class Wrapping:
    """What somebody puts around the ledger and around each backend, to watch them or to let them fail."""

    ledger: Callable[[ILedger], ILedger] = _as_it_is
    backend: Callable[[IBackend], IBackend] = _as_it_is


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


@define(eq=False)
class Core:
    """Ledger, backends and engine."""

    config: Config
    reactor: Any
    ledger: Ledger
    backends: Backends
    cleaner: Cleaner
    objects: Objects
    guards: Guards
    counters: ICounters
    usage_flush: UsageFlush
    locations: Locations

    @property
    def ledger_id(self) -> str:
        """Which ledger this is, as stamps on the backends say."""
        return self.ledger.database.ledger_id

    async def left_out(self) -> list[Usage]:
        """Backends that hold bytes and are not in the configuration (any more)."""
        configured = {settings.name for settings in self.config.backends}
        usage = await self.ledger.blobs.usage()
        return [known for known in usage if known.taken and known.backend not in configured]

    async def close(self) -> None:
        """Let go of the backends, record what was used of them, and let go of the ledger."""
        for backend in self.backends.all():
            await backend.close()
        with suppress(StoreUnavailable):
            await self.usage_flush.run_once()
        await self.ledger.database.close()


async def open_ledger(config: Config, reactor: Any) -> ILedger:
    """
    Open the ledger the configuration names. SQLite blocks for as long as migrations take.

    :raises LedgerInUse: another process has it.
    :raises StoreUnavailable: it cannot be reached, or there is no such database.
    """
    if config.database.engine == "postgres":
        # Whoever has SQLite need not load libpq.
        from s3orchestrator.store.postgres import PostgresDatabase

        return await PostgresDatabase.of(config.database, reactor).open()
    return SqliteDatabase(config.database.path, reactor).open()


async def build_core(
    config: Config,
    reactor: Any,
    database: ILedger,
    stand_ins: Mapping[str, IBackend] | None = None,
    wrapping: Wrapping | None = None,
) -> Core:
    """Build the engine on an open ledger; `stand_ins` are used for backends of their names."""
    wrapping = wrapping or Wrapping()
    live = Live.fixed(config)
    counters = LocalCounters(reactor)
    guards = Guards(live, counters, reactor, Random().random)
    by_name: dict[str, IBackend] = {}
    guarded = _guarded(config, wrapping.ledger(database), reactor)
    ledger = _ledger(config, guarded, database.locks, by_name)
    usage = await ledger.blobs.usage()
    holding = {known.backend for known in usage if known.taken}
    for settings in config.backends:
        backend = (stand_ins or {}).get(settings.name) or backend_of(
            settings, config.server, reactor, holds_data=settings.name in holding
        )
        by_name[settings.name] = guards.around(wrapping.backend(backend))
    fleet = Fleet(
        tuple(Member(settings.name, settings.max_object_size) for settings in config.backends),
        config.routing_strategy,
    )
    backends = Backends(fleet, by_name, ledger.blobs, reactor, guards)
    cleaner = Cleaner(backends, ledger.blobs, ledger.uploads, reactor, database.ledger_id)
    flush = UsageFlush(
        counters,
        ledger.usage,
        ledger.blobs,
        live.part(lambda config: config.usage_flush),
        lambda: guards.limits.now,
        reactor,
    )
    locations = Locations(config.circuit_breaker.cache_ttl, reactor, Random().random)
    absent = {known.backend for known in usage if known.live} - set(by_name)
    degraded = DegradedReads(
        backends, database.ledger_id, locations, _degraded_settings(config.circuit_breaker), absent
    )
    guarded.on_back(locations.clear)
    guarded.on_back(cleaner.tell_again)
    objects = _objects(config, ledger, backends, cleaner, degraded, locations.forget)
    return Core(config, reactor, ledger, backends, cleaner, objects, guards, counters, flush, locations)


def _guarded(config: Config, database: ILedger, reactor: Any) -> GuardedLedger:
    breaker = config.circuit_breaker
    return GuardedLedger(database, reactor, breaker.failure_threshold, breaker.open_timeout, Random().random)


def _degraded_settings(settings: CircuitBreakerConfig) -> DegradedSettings:
    at_once = settings.degraded_broadcast_parallelism if settings.parallel_broadcast else 1
    return DegradedSettings(at_once, settings.allow_stale)


def _ledger(
    config: Config, database: GuardedLedger, locks: ILocks, by_name: Mapping[str, IBackend]
) -> Ledger:
    def traits_of(name: str) -> Any:
        backend = by_name.get(name)
        return backend.traits if backend is not None else None

    return Ledger(
        database,
        Buckets(database),
        Blobs(database, traits_of=traits_of, quiet_period=config.write_path.quiet_period),
        Versions(database),
        Uploads(database, traits_of=traits_of),
        UsageLedger(database),
        locks,
    )


def _objects(
    config: Config,
    ledger: Ledger,
    backends: Backends,
    cleaner: Cleaner,
    degraded: DegradedReads,
    forget: Forget,
) -> Objects:
    ledger_id, keep = ledger.database.ledger_id, config.write_path.replay_limit
    committer = Committer(ledger.versions, ledger.blobs, cleaner, forget)
    reader = ObjectReader(ledger.versions, backends, Doubts(ledger.blobs, cleaner), degraded)
    writer = ObjectWriter(backends, ledger.blobs, committer, cleaner, ledger_id, keep)
    return Objects(
        Catalog(ledger.buckets, cleaner),
        reader,
        writer,
        ObjectDeleter(ledger.versions, cleaner, forget),
        ObjectCopier(backends, ledger.blobs, reader, writer, committer, cleaner, ledger_id),
        MultipartUploads(backends, ledger.uploads, committer, cleaner, ledger_id),
        PartWriter(backends, ledger.blobs, ledger.uploads, reader, cleaner, keep),
        ObjectLister(ledger.versions, ledger.uploads),
    )
