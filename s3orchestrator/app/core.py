"""
Ledger, backends and engine: everything but the doors.

What a class needs is what its constructor asks for, and here it is given it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define, frozen

from s3orchestrator.app.leasing import break_off, lease_on
from s3orchestrator.app.ledgers import Ledger, ledger_on
from s3orchestrator.app.owning import Claims
from s3orchestrator.app.process import most_pipes
from s3orchestrator.backends.building import backend_of, make_ready
from s3orchestrator.backends.guards import Guards
from s3orchestrator.bodies.splicing import Pipes, Splicer
from s3orchestrator.concurrency import deadline
from s3orchestrator.config.live import InForce, Live
from s3orchestrator.config.sections import Config
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.fleet import Fleet, Member
from s3orchestrator.domain.records import Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBackend, ICounters, Traits
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.copying import ObjectCopier
from s3orchestrator.objects.degraded import DegradedReads, DegradedSettings
from s3orchestrator.objects.deleting import ObjectDeleter
from s3orchestrator.objects.doubting import Doubts
from s3orchestrator.objects.engine import Objects
from s3orchestrator.objects.listing import ObjectLister
from s3orchestrator.objects.locations import Locations
from s3orchestrator.objects.multipart import MultipartUploads
from s3orchestrator.objects.owners import Owners
from s3orchestrator.objects.parts import PartWriter
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import Committer, ObjectWriter
from s3orchestrator.services.usage_flush import UsageFlush
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.owners import Lease
from s3orchestrator.telemetry.logging import make_logger

# Seconds that a ledger which does not answer may keep us from ending. What it is not told then is what
# would have been lost in a crash: usage since the last flush, and the lease lapses by itself.
FAREWELL = 5.0


def _too_late() -> Exception:
    return StoreUnavailable("no answer in time")


def _as_it_is(wrapped: Any) -> Any:
    return wrapped


@frozen
class Wrapping:
    """What somebody puts around the ledger and around each backend, to watch them or to let them fail."""

    ledger: Callable[[ILedger], ILedger] = _as_it_is
    backend: Callable[[IBackend], IBackend] = _as_it_is


@define(eq=False)
class Core:
    """Ledger, backends and engine."""

    log = make_logger()
    in_force: InForce
    reactor: Any
    ledger: Ledger
    backends: Backends
    cleaner: Cleaner
    objects: Objects
    guards: Guards
    counters: ICounters
    usage_flush: UsageFlush
    locations: Locations
    lease: Lease
    owners: Owners
    splicer: Splicer | None

    @property
    def config(self) -> Config:
        """The configuration as it is now; what may change while we run is better read from `live`."""
        return self.in_force.config

    @property
    def live(self) -> Live[Config]:
        """The configuration, whatever it will be by then."""
        return self.in_force.live

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
        """Let go of the backends, tell the ledger what was used and that nothing is ours, and close it."""
        for backend in self.backends.all():
            await backend.close()
        try:
            await deadline(FAREWELL, self._say_farewell(), self.reactor, _too_late)
        except StoreUnavailable as error:
            self.log.warn("the ledger is not told of our end: {error}", error=str(error))
        await self.ledger.database.close()
        if self.splicer is not None:
            self.splicer.close()

    async def _say_farewell(self) -> None:
        await self.usage_flush.run_once()
        await self.lease.give_back()


async def build_core(
    in_force: InForce,
    reactor: Any,
    database: ILedger,
    stand_ins: Mapping[str, IBackend] | None = None,
    wrapping: Wrapping | None = None,
) -> Core:
    """Build the engine on an open ledger; `stand_ins` are used for backends of their names."""
    wrapping, by_name = wrapping or Wrapping(), dict[str, IBackend]()
    config, live, counters = in_force.config, in_force.live, LocalCounters(reactor)

    def traits_of(name: str) -> Traits | None:
        backend = by_name.get(name)
        return owners.traits_of(name, backend.traits) if backend is not None else None

    guards = Guards(live, counters, reactor, Random().random)
    ledger = ledger_on(config, wrapping.ledger(database), reactor, traits_of)

    def lapsed() -> None:
        cleaner.let_go()
        break_off(by_name.values())

    lease = lease_on(ledger, lapsed)
    claims = Claims(config, ledger, lease, reactor)
    owners = claims.owners
    guards.on_away = owners.stale
    usage = await ledger.blobs.usage()
    holding = {known.backend for known in usage if known.taken}
    splicer = Splicer(Pipes(most_pipes())) if config.server.splice else None
    for settings in config.backends:
        backend = (stand_ins or {}).get(settings.name) or backend_of(
            settings, config.server, reactor, holds_data=settings.name in holding, splicer=splicer
        )
        if settings.name not in holding:
            await make_ready(backend, config.server.backend_timeout, reactor)
        guarded = guards.around(wrapping.backend(backend))
        by_name[settings.name] = claims.around(guarded, forgets=settings.type == "memory")
    backends = Backends(_fleet(config), by_name, ledger.blobs, reactor, guards, ownership=owners)
    at_once = config.cleanup_queue.concurrency
    cleaner = Cleaner(backends, ledger.blobs, ledger.uploads, reactor, database.ledger_id, at_once)
    flush = UsageFlush(
        counters,
        ledger.usage,
        ledger.blobs,
        live.part(lambda config: config.usage_flush),
        lambda: guards.limits.now,
        reactor,
    )
    locations = Locations(config.circuit_breaker.cache_ttl, reactor, Random().random)
    ledger.database.on_back(locations.clear)
    ledger.database.on_back(cleaner.tell_again)
    absent = {known.backend for known in usage if known.live} - set(by_name)
    degraded = DegradedReads(backends, database.ledger_id, locations, _degraded(config), absent)
    return Core(
        in_force=in_force,
        reactor=reactor,
        ledger=ledger,
        backends=backends,
        cleaner=cleaner,
        objects=_objects(config, ledger, backends, cleaner, degraded, locations),
        guards=guards,
        counters=counters,
        usage_flush=flush,
        locations=locations,
        lease=lease,
        owners=owners,
        splicer=splicer,
    )


def _fleet(config: Config) -> Fleet:
    members = tuple(Member(settings.name, settings.max_object_size) for settings in config.backends)
    return Fleet(members, config.routing_strategy)


def _degraded(config: Config) -> DegradedSettings:
    settings = config.circuit_breaker
    at_once = settings.degraded_broadcast_parallelism if settings.parallel_broadcast else 1
    return DegradedSettings(at_once, settings.allow_stale)


def _objects(
    config: Config,
    ledger: Ledger,
    backends: Backends,
    cleaner: Cleaner,
    degraded: DegradedReads,
    locations: Locations,
) -> Objects:
    ledger_id, keep = ledger.database.ledger_id, config.write_path.replay_limit
    committer = Committer(ledger.versions, ledger.blobs, cleaner, locations.forget)
    reader = ObjectReader(ledger.versions, backends, Doubts(ledger.blobs, cleaner), degraded)
    writer = ObjectWriter(backends, ledger.blobs, committer, cleaner, ledger_id, keep)
    return Objects(
        Catalog(ledger.buckets, cleaner, is_shared=ledger.database.operations.is_shared),
        reader,
        writer,
        ObjectDeleter(ledger.versions, cleaner, locations.forget),
        ObjectCopier(backends, ledger.blobs, reader, writer, committer, cleaner, ledger_id),
        MultipartUploads(backends, ledger.uploads, committer, cleaner, ledger_id),
        PartWriter(backends, ledger.blobs, ledger.uploads, reader, cleaner, keep),
        ObjectLister(ledger.versions, ledger.uploads),
    )
