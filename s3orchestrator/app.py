"""
The composition root: from a configuration to something that serves.

Everything is built here by calling constructors; what a class needs is what its
constructor asks for.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from signal import SIGHUP, signal
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from s3orchestrator.backends.building import backend_of
from s3orchestrator.bodies.sockets import Port
from s3orchestrator.concurrency import deadline
from s3orchestrator.concurrency import start as begin
from s3orchestrator.config.sections import Config
from s3orchestrator.domain.fleet import Fleet, Member
from s3orchestrator.domain.records import Finding, Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBackend
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.objects.checking import BackendChecker
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.copying import ObjectCopier
from s3orchestrator.objects.deleting import ObjectDeleter
from s3orchestrator.objects.engine import Objects
from s3orchestrator.objects.listing import ObjectLister
from s3orchestrator.objects.multipart import MultipartUploads
from s3orchestrator.objects.parts import PartWriter
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import Committer, ObjectWriter
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.services.prober import Prober
from s3orchestrator.services.sweeper import Sweeper
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.fsck import check, repair
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.versions import Versions
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.admission import Admission, Pool
from s3orchestrator.web.health import Health
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.root import Root
from s3orchestrator.web.s3.access import AccessControl, Credentials
from s3orchestrator.web.s3.dispatch import dispatch_table
from s3orchestrator.web.s3.multipart import MultipartOperations
from s3orchestrator.web.s3.object import ObjectOperations
from s3orchestrator.web.s3.patience import Patience
from s3orchestrator.web.s3.resource import S3Resource
from s3orchestrator.web.s3.service import BucketOperations
from s3orchestrator.web.site import StreamingSite, listen
from s3orchestrator.web.tls import ServerTls

SWEEP_EVERY = 60.0
DRAIN_LIMIT = 30.0  # seconds that requests in flight have to finish once we are told to stop
CLEAN_LIMIT = 3.0  # and cleaning up; the next start goes on with it


@define(eq=False)
class Ledger:
    """The store's roles over one database."""

    database: SqliteDatabase
    buckets: Buckets
    blobs: Blobs
    versions: Versions
    uploads: Uploads


@define(eq=False)
class Core:
    """Ledger, backends and engine: everything but the doors."""

    config: Config
    reactor: Any
    ledger: Ledger
    backends: Backends
    cleaner: Cleaner
    objects: Objects

    @property
    def ledger_id(self) -> str:
        """Which ledger this is, as stamps on the backends say."""
        return self.ledger.database.ledger_id

    async def left_out(self) -> list[Usage]:
        """Backends that hold bytes and are not in the configuration (any more)."""
        configured = {settings.name for settings in self.config.backends}
        usage = await self.ledger.blobs.usage()
        return [known for known in usage if known.taken and known.backend not in configured]


def open_ledger(config: Config, reactor: Any) -> SqliteDatabase:
    """
    Open the ledger the configuration names. Blocks for as long as migrations take.

    :raises LedgerInUse: another process has it.
    """
    return SqliteDatabase(config.database.path, reactor).open()


async def build_core(
    config: Config, reactor: Any, database: SqliteDatabase, stand_ins: Mapping[str, IBackend] | None = None
) -> Core:
    """Build the engine on an open ledger; `stand_ins` are used for backends of their names."""
    by_name: dict[str, IBackend] = {}

    def traits_of(name: str) -> Any:
        backend = by_name.get(name)
        return backend.traits if backend is not None else None

    blobs = Blobs(database, traits_of=traits_of, quiet_period=config.write_path.quiet_period)
    ledger = Ledger(
        database,
        Buckets(database),
        blobs,
        Versions(database),
        Uploads(database, traits_of=traits_of),
    )
    holding = {known.backend for known in await blobs.usage() if known.taken}
    for settings in config.backends:
        by_name[settings.name] = (stand_ins or {}).get(settings.name) or backend_of(
            settings, config.server, reactor, holds_data=settings.name in holding
        )
    fleet = Fleet(
        tuple(Member(settings.name, settings.max_object_size) for settings in config.backends),
        config.routing_strategy,
    )
    backends = Backends(fleet, by_name, blobs, reactor)
    cleaner = Cleaner(backends, blobs, ledger.uploads, reactor, database.ledger_id)
    return Core(config, reactor, ledger, backends, cleaner, _objects(config, ledger, backends, cleaner))


def _objects(config: Config, ledger: Ledger, backends: Backends, cleaner: Cleaner) -> Objects:
    ledger_id, keep = ledger.database.ledger_id, config.write_path.replay_limit
    committer = Committer(ledger.versions, ledger.blobs, cleaner)
    reader = ObjectReader(ledger.versions, backends)
    writer = ObjectWriter(backends, ledger.blobs, committer, cleaner, ledger_id, keep)
    return Objects(
        Catalog(ledger.buckets, cleaner),
        reader,
        writer,
        ObjectDeleter(ledger.versions, cleaner),
        ObjectCopier(backends, ledger.blobs, reader, writer, committer, cleaner, ledger_id),
        MultipartUploads(backends, ledger.uploads, committer, cleaner, ledger_id),
        PartWriter(backends, ledger.blobs, ledger.uploads, reader, cleaner, keep),
        ObjectLister(ledger.versions, ledger.uploads),
    )


@define(eq=False)
class Orchestrator:
    """A whole orchestrator: `start` it, and it serves until `stop`."""

    log = make_logger()
    config: Config
    reactor: Any
    _core: Core | None = field(default=None, init=False)
    _health: Health | None = field(default=None, init=False)
    _site: StreamingSite | None = field(default=None, init=False)
    _port: Port | None = field(default=None, init=False)
    _sweep: Periodic | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        """The URL that clients use; once started."""
        assert self._port is not None
        address = self._port.getHost()  # type: ignore[no-untyped-call]
        host = "127.0.0.1" if address.host in ("0.0.0.0", "::") else address.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.config.server.tls.enabled else 'http'}://{host}:{address.port}"

    @property
    def core(self) -> Core:
        """Ledger, backends and engine; once started."""
        assert self._core is not None
        return self._core

    async def start(self) -> None:
        """
        Open everything, tidy up after the last process, and listen.

        :raises OrchestratorError: something cannot be opened; what was opened is closed again.
        :raises CancelledError: it was told to stop meanwhile; likewise.
        """
        self._starting = begin(self._start())
        try:
            await self._starting
        finally:
            self._starting = None

    async def _start(self) -> None:
        core = self._core = await build_core(
            self.config, self.reactor, open_ledger(self.config, self.reactor)
        )
        try:
            await self._prepare(core)
            self._listen(core)
        except BaseException:
            await self._close(core)
            raise
        assert self._sweep is not None and self._health is not None
        self._sweep.startService()
        self._health.ready = True
        self.log.info("serving at {endpoint}", endpoint=self.endpoint)

    async def _prepare(self, core: Core) -> None:
        limits = {settings.name: settings.quota_bytes or None for settings in self.config.backends}
        await core.ledger.blobs.set_limits(limits)
        doomed = await core.ledger.blobs.recover()
        if doomed:
            self.log.info("{doomed} unfinished writes of the last run are being removed", doomed=doomed)
        for known in await core.left_out():
            self.log.warn(
                "{backend} holds {bytes} bytes, which nobody can read: it is not in the configuration",
                backend=known.backend,
                bytes=known.taken,
            )
        await core.objects.catalog.load(bucket.name for bucket in self.config.buckets)
        prober = Prober(core.backends, core.ledger.blobs, core.cleaner, self.reactor)
        await prober.run_once()
        sweeper = Sweeper(
            core.ledger.database,
            core.ledger.blobs,
            core.ledger.uploads,
            core.backends,
            core.cleaner,
            core.ledger_id,
            self.config.multipart.stale_after,
        )

        async def sweep() -> None:
            await sweeper.run_once()
            await prober.run_once()

        self._sweep = Periodic(
            "sweep", min(SWEEP_EVERY, self.config.write_path.quiet_period), sweep, self.reactor
        )
        core.cleaner.background(sweeper.run_once())

    def _listen(self, core: Core) -> None:
        server = self.config.server
        self._health = Health()
        self._site = StreamingSite(
            Root(self._health, self._s3(core), server.domains),
            Limits(
                read_header_timeout=server.read_header_timeout,
                read_timeout=server.read_timeout,
                write_timeout=server.write_timeout,
                idle_timeout=server.idle_timeout,
            ),
            self.reactor,
            _most_connections(),
        )
        tls = None
        if server.tls.enabled:
            tls = ServerTls(
                server.tls.cert_file, server.tls.key_file, server.tls.min_version, server.tls.client_ca_file
            )
        self._port = listen(self.reactor, server.listen.host, server.listen.port, self._site, tls)

    def _s3(self, core: Core) -> S3Resource:
        config, server = self.config, self.config.server
        access = AccessControl(Credentials.of(config), core.objects.catalog)
        dispatch = dispatch_table(
            BucketOperations(core.objects, access),
            ObjectOperations(core.objects, access, server.max_object_size),
            MultipartOperations(
                core.objects,
                access,
                server.max_object_size,
                {bucket.name: bucket.max_multipart_uploads for bucket in config.buckets},
            ),
        )
        return S3Resource(
            dispatch, access, self._admission(), server.domains, self.reactor, Patience(self.reactor)
        )

    def _admission(self) -> Admission:
        server, chance = self.config.server, Random().random

        def pool(capacity: int) -> Pool:
            return Pool(capacity, server.admission_wait, server.load_shed_threshold, chance, self.reactor)

        if server.limits_apart:
            return Admission(pool(server.max_concurrent_reads), pool(server.max_concurrent_writes))
        both = pool(server.max_concurrent_requests)
        return Admission(both, both)

    async def stop(self) -> None:
        """Refuse new connections, finish what is in flight within a limit, and close everything."""
        if self._stopping:
            return
        self._stopping = True
        if self._starting is not None:
            await self._give_up_starting(self._starting)
            return
        if self._core is None:
            return
        if self._health is not None:
            self._health.ready = False
        if self.config.server.shutdown_delay:
            await self._sleep(self.config.server.shutdown_delay)
        if self._port is not None:
            await self._port.stopListening()  # type: ignore[no-untyped-call]
        if self._site is not None:
            await self._site.drain(DRAIN_LIMIT)
        if self._sweep is not None and self._sweep.running:
            await self._sweep.stopService()
        await self._close(self._core)
        self.log.info("stopped")

    async def _give_up_starting(self, starting: Deferred[None]) -> None:
        """Whoever waits for the start hears of it; we only wait until everything is closed."""
        ended: Deferred[None] = Deferred()

        def end(result: Any) -> Any:
            self.reactor.callLater(0, ended.callback, None)
            return result

        starting.addBoth(end)
        starting.cancel()
        await ended

    async def _close(self, core: Core) -> None:
        try:
            await deadline(CLEAN_LIMIT, core.cleaner.drained(), self.reactor, _too_slow)
        except StoreUnavailable as error:
            # What is left is in the ledger, and is found at the next start.
            self.log.warn("cleaning up is left to the next start: {error}", error=str(error))
        for backend in core.backends.all():
            await backend.close()
        await core.ledger.database.close()

    def _sleep(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        return waiting


def _too_slow() -> Exception:
    return StoreUnavailable("it takes too long")


def survive_hangups(reactor: Any) -> None:
    """
    Let SIGHUP, at which other daemons read their configuration again, not end this one.

    For programs, in the main thread.
    """

    def tell() -> None:
        Orchestrator.log.warn("the configuration is not read again while we run: that takes a restart")

    signal(SIGHUP, lambda *_: reactor.callFromThread(tell))


def take_descriptors() -> None:
    """
    Raise the limit of open files and connections as far as we may; for programs, before they start.

    The usual 1024 are for the sake of programs that use select.
    """
    hard = getrlimit(RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # the kernel may have come to allow less
        setrlimit(RLIMIT_NOFILE, (hard, hard))


def _most_connections() -> int | None:
    """The rest of the descriptors is for files, and for connections to backends."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return None if soft == RLIM_INFINITY else soft * 3 // 4


def begun() -> None:
    """
    Exempt all that is in memory from garbage collection; for programs, once they serve.

    It lives as long as they do, and looking through it took 40 ms each time, in which nobody was served.
    """
    gc.collect()
    gc.freeze()


def build(config: Config, reactor: Any) -> Orchestrator:
    """Return an orchestrator that has not been started."""
    return Orchestrator(config, reactor)


@define(eq=False)
class Offline:
    """A ledger that no daemon holds, for commands that look at it."""

    _core: Core
    checker: BackendChecker

    @property
    def backends(self) -> Sequence[IBackend]:
        """Every configured backend."""
        return self._core.backends.all()

    async def check(self) -> list[Finding]:
        """Return what is wrong within the ledger."""
        return await check(self._core.ledger.database)

    async def left_out(self) -> list[Finding]:
        """Return the backends that cannot be compared, because nothing is known of them."""
        message = "holds {} bytes, and is not in the configuration"
        left_out = await self._core.left_out()
        return [Finding("unreachable", known.backend, message.format(known.taken)) for known in left_out]

    async def repair(self, findings: Sequence[Finding]) -> None:
        """Mend what can be mended without losing data."""
        await repair(self._core.ledger.database, findings)

    async def close(self) -> None:
        """Let go of the ledger and the backends."""
        for backend in self.backends:
            await backend.close()
        await self._core.ledger.database.close()


async def open_offline(config: Config, reactor: Any) -> Offline:
    """
    Open a ledger and its backends without serving and without tidying up.

    :raises LedgerInUse: a daemon has it.
    """
    core = await build_core(config, reactor, open_ledger(config, reactor))
    return Offline(core, BackendChecker(core.ledger.blobs, core.ledger.uploads, reactor))
