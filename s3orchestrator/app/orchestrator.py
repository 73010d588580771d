"""A whole orchestrator: started, serving, stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from s3orchestrator.app.background import HOUR, Background, Services
from s3orchestrator.app.closing import close
from s3orchestrator.app.core import Core, Wrapping, build_core
from s3orchestrator.app.doors import Doors, IDoors
from s3orchestrator.app.gate import Gate
from s3orchestrator.app.ledgers import open_ledger
from s3orchestrator.app.lending import lending
from s3orchestrator.app.notifying import Notifier
from s3orchestrator.app.office import Office
from s3orchestrator.app.process import processes
from s3orchestrator.app.reloading import Reloader, Source, TakingOver, quotas_of
from s3orchestrator.app.supervisor import Supervisor
from s3orchestrator.concurrency import start as begin
from s3orchestrator.config.live import InForce
from s3orchestrator.config.sections import Config
from s3orchestrator.config.shares import with_part_of_pool
from s3orchestrator.services.pending import note_dropped
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.store.operations import ILedger
from s3orchestrator.telemetry.logging import LogForm, make_logger
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited


def _nothing(reason: str) -> None:
    """Whoever runs us does not want to know."""


@define(eq=False)
class Orchestrator:
    """
    `start` it, and it serves until `stop`.

    `failed` is called if it comes to serve nobody any more by itself; to be set, and then to be stopped.
    """

    log = make_logger()
    in_force: InForce
    reactor: Any
    _wrapping: Wrapping | None
    _source: Source | None
    _notifier: Notifier
    _inherited: Inherited
    _log_form: LogForm
    failed: Callable[[str], object] = field(default=_nothing, init=False)
    _database: ILedger | None = field(default=None, init=False)
    _core: Core | None = field(default=None, init=False)
    _doors: IDoors | None = field(default=None, init=False)
    _background: Background | None = field(default=None, init=False)
    _reloader: Reloader | None = field(default=None, init=False)
    _is_reload_wanted: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)

    @property
    def config(self) -> Config:
        """The configuration as it is now."""
        return self.in_force.config

    @property
    def endpoint(self) -> str:
        """The first of the URLs that clients use; once started."""
        assert self._doors is not None
        return self._doors.endpoints[0]

    @property
    def _places(self) -> str:
        assert self._doors is not None
        return ", ".join(self._doors.endpoints)

    @property
    def _processes(self) -> int:
        """How many serve. Who has put something around ledger or backends wants everything here."""
        return processes(self.config) if self._wrapping is None else 1

    @property
    def core(self) -> Core:
        """Ledger, backends and engine; once started."""
        assert self._core is not None
        return self._core

    @property
    def background(self) -> Background:
        """The services; once started."""
        assert self._background is not None
        return self._background

    async def start(self) -> None:
        """
        Open everything, tidy up after the last process, and listen.

        :raises OrchestratorError: something cannot be opened; what was opened is closed again.
        :raises CancelledError: it was told to stop meanwhile; likewise.
        """
        self._starting = begin(self._start())
        try:
            await self._starting
        except CancelledError:
            raise
        except Exception as error:
            self._notifier.say(f"cannot start: {error}")
            raise
        finally:
            self._starting = None

    async def _start(self) -> None:
        core = await self._open()
        try:
            services = Services.of(core)
            await self._prepare(core, services)
            self._background = services.build()
            self._doors = self._build_doors(core, self._background)
            await self._doors.open()
        except BaseException:
            await close(core)
            raise
        self._core = core
        self._background.start()
        # What waited while nobody was there must not wait for the first tick.
        self._background.run_all()
        self._doors.say_ready(True)
        self._begin_to_listen_for_reloads(core, self._doors, self._background)
        self._notifier.ready(f"serving at {self._places}")
        self.log.info("serving at {endpoints}", endpoints=self._places)
        if self._is_reload_wanted:
            self.reload()

    def _build_doors(self, core: Core, background: Background) -> IDoors:
        database, places, number = core.ledger.database, self.config.server.places, self._processes
        health = Health(lambda: database.is_away, lambda: database.takes_changes)
        doors: IDoors
        if number > 1:
            assert self._database is not None
            lent = lending(core, self._database)
            supervisor = Supervisor(core, number, lent, self._log_form, self._fail)
            office = Office(core, background, health, supervisor.as_one)
            doors = Gate(core, health, office, supervisor, self._inherited)
        else:
            doors = Doors(core, health, Office(core, background, health), places, self._inherited)
        if any(listener.tls.enabled for listener in places):
            background.add(Periodic("certificates", HOUR, doors.certificates.run_once, self.reactor))
        return doors

    def _fail(self, reason: str) -> None:
        self._notifier.say(reason)
        self.failed(reason)

    def _begin_to_listen_for_reloads(self, core: Core, doors: IDoors, background: Background) -> None:
        if self._source is None:
            return
        self._reloader = Reloader(
            self._source,
            core,
            TakingOver(core, doors.prepare_certificates, background.take_over_intervals),
            self._notifier.reloading,
            lambda outcome: self._notifier.ready(f"serving at {self._places}; {outcome}"),
            doors.prepare_others,
        )

    def reload(self) -> None:
        """Read the configuration again, now or as soon as we serve; nobody waits for it."""
        if self._stopping:
            return
        if self._source is None:
            self.log.warn("SIGHUP received, but there is no file that could be read again")
        elif self._reloader is None:
            self._is_reload_wanted = True
        else:
            self._reloader.ask()

    async def _open(self) -> Core:
        number = self._processes
        shared = with_part_of_pool(self.config, number)
        self._database = database = await open_ledger(shared, self.reactor, is_shared=number > 1)
        try:
            return await build_core(self.in_force, self.reactor, database, wrapping=self._wrapping)
        except BaseException:
            await database.close()
            raise

    async def _prepare(self, core: Core, services: Services) -> None:
        await core.lease.renew()
        await core.ledger.blobs.set_limits(quotas_of(self.config))
        doomed = await core.ledger.blobs.recover()
        if doomed:
            note_dropped(doomed, "left_at_start")
            self.log.info("{doomed} unfinished writes of the last run are being removed", doomed=doomed)
        for known in await core.left_out():
            self.log.warn(
                "{backend} holds {bytes} bytes, which nobody can read: it is not in the configuration",
                backend=known.backend,
                bytes=known.taken,
            )
        await core.usage_flush.run_once()  # from now on limits know what this month has used
        core.ledger.database.on_notice(core.objects.catalog.heard)
        await core.objects.catalog.load(bucket.name for bucket in self.config.buckets)
        await core.owners.run_once()  # before anything is written or deleted
        await services.prober.run_once()

    async def stop(self) -> None:
        """
        Say that we are not ready, go on for `shutdown_delay` so that balancers notice, then refuse new
        connections, finish what is in flight within a limit, and close everything, the ledger last.
        """
        if self._stopping:
            return
        self._stopping = True
        self._notifier.stopping()
        try:
            await self._stop()
        finally:
            self._notifier.close()

    async def _stop(self) -> None:
        if self._starting is not None:
            await self._give_up_starting(self._starting)
            self.log.info("stopped before it served")
            return
        if self._core is None or self._doors is None or self._background is None:
            return
        self._doors.say_ready(False)
        if self._reloader is not None:
            await self._reloader.stop()
        if self.config.server.shutdown_delay:
            await self._sleep(self.config.server.shutdown_delay)
        await self._doors.close()
        await self._background.stop()
        await close(self._core)
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

    def _sleep(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        return waiting


def build(
    config: Config,
    reactor: Any,
    wrapping: Wrapping | None = None,
    source: Source | None = None,
    notifier: Notifier | None = None,
    inherited: Inherited | None = None,
    log_form: LogForm = "json",
) -> Orchestrator:
    """
    Return an orchestrator that has not been started.

    `source` is where `config` was read, and can be read again; `notifier`, `inherited`, sockets that
    were opened for us, and `log_form`, as which the log is written, are for programs.
    """
    told = notifier or Notifier("", 0.0, reactor)
    passed = inherited or Inherited()
    return Orchestrator(InForce(config), reactor, wrapping, source, told, passed, log_form)
