"""The services that work in the background, and who of them runs in which mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random

from attrs import Factory, define, field

from s3orchestrator.app.core import Core
from s3orchestrator.services.cleanup import Cleanup
from s3orchestrator.services.leasing import LeaseKeeper, TimelyLocks
from s3orchestrator.services.pending import PendingReaper
from s3orchestrator.services.periodic import Periodic, Report
from s3orchestrator.services.prober import Prober
from s3orchestrator.services.rests import Rests
from s3orchestrator.services.stale_uploads import StaleUploads
from s3orchestrator.services.watchdog import Watchdog

MINUTE = 60.0
HOUR = 3600.0

Work = Callable[[], Awaitable[object]]
Interval = Callable[[], float]  # of seconds, as the configuration has it now


@define(eq=False)
class Background:
    """Services by name, and of those whose interval the configuration may change, what it says now."""

    _services: dict[str, Periodic]
    _intervals: Mapping[str, Interval] = Factory(dict)

    @classmethod
    def of(cls, services: Iterable[Periodic], intervals: Mapping[str, Interval] | None = None) -> Background:
        """Collect services that have not been started."""
        return cls({service.name: service for service in services}, intervals or {})

    def add(self, service: Periodic) -> None:
        """Add one, before all are started."""
        self._services[service.name] = service

    def start(self) -> None:
        """Let all of them tick."""
        for service in self._services.values():
            service.startService()

    def take_over_intervals(self) -> None:
        """Let those whose interval is another now tick at it."""
        for name, interval in self._intervals.items():
            self._services[name].set_interval(interval())

    def run_all(self) -> None:
        """Run each of them now; nobody waits for it."""
        for service in self._services.values():
            service.trigger()

    async def stop(self) -> None:
        """Stop all of them, at once, and wait until each has let go."""
        stopping = [service.stopService() for service in self._services.values() if service.running]
        for stopped in stopping:
            await stopped

    def __getitem__(self, name: str) -> Periodic:
        """:raises KeyError: there is no such service in this mode."""
        return self._services[name]

    def reports(self) -> Sequence[Report]:
        """How each of them fares, by name."""
        return [self._services[name].report() for name in sorted(self._services)]


@define(eq=False)
class Services:
    """Builds the services of a core."""

    _core: Core
    prober: Prober
    _random: Random = field(factory=Random)
    _intervals: dict[str, Interval] = field(factory=dict, init=False)

    @classmethod
    def of(cls, core: Core) -> Services:
        """Begin with the prober, which also has its turn before anybody is served."""
        return cls(core, Prober(core.backends, core.ledger.blobs, core.cleaner, core.reactor))

    def build(self, *, is_one_of_several: bool = False) -> Background:
        """
        Return those of the mode: an `api` instance has only what each instance needs for itself.

        So has one of several processes, for whom another does the rest.
        """
        services = self._of_each()
        if self._core.config.mode != "api" and not is_one_of_several:
            services += self._for_all()
        return Background.of(services, self._intervals)

    def _of_each(self) -> list[Periodic]:
        """What each process needs for itself."""
        config, core = self._core.config, self._core
        watchdog = Watchdog(lambda: core.guards.breakers, core.reactor)
        services = [
            self._lease(),
            self._own("usage-flush", lambda: core.usage_flush.tick, core.usage_flush.run_if_due),
            self._own("watchdog", MINUTE, watchdog.run_once),
            self._own("hand-over", self._often, self._hand_over),
            self._owner(),
            self._own("probe", self._often, self.prober.run_once),
            self._own("locations", min(MINUTE, config.circuit_breaker.cache_ttl), core.locations.evict),
        ]
        if core.ledger.database.operations.is_shared:
            services.append(self._own("buckets", MINUTE, core.objects.catalog.reload))
        return services

    def _lease(self) -> Periodic:
        core = self._core
        lease = self._own("lease", core.lease.interval, LeaseKeeper(core.lease, core.ledger.blobs).run_once)
        # Nothing is sent for longer than need be, and what nobody heard the outcome of is handed back.
        core.ledger.database.on_back(lease.trigger)
        return lease

    def _owner(self) -> Periodic:
        owner = self._own("owner", self._core.owners.interval, self._core.owners.run_once)

        def heard(said: str) -> None:
            if not said:
                owner.trigger()

        # The database may be another one when it is back, or is heard again.
        self._core.ledger.database.on_back(owner.trigger)
        self._core.ledger.database.on_notice(heard)
        return owner

    def _for_all(self) -> list[Periodic]:
        """What one process at a time does for all."""
        core, live = self._core, self._core.live
        ledger, cleaner = core.ledger, core.cleaner
        rests = Rests(ledger.blobs, core.backends, cleaner, core.ledger_id)
        pending = live.part(lambda config: config.write_path.pending_pattern)
        reaper = PendingReaper(ledger.blobs, lambda: pending.now.min_age)
        stale = StaleUploads(ledger.database, ledger.uploads, cleaner, lambda: live.now.multipart.stale_after)
        return [
            self._shared("cleanup", self._often, Cleanup(ledger.blobs, cleaner).run_once),
            self._shared("pending", lambda: pending.now.reaper_interval, reaper.run_once),
            self._shared("rests", self._often, rests.run_once),
            self._shared("stale-uploads", lambda: min(HOUR, live.now.multipart.stale_after), stale.run_once),
        ]

    @property
    def _often(self) -> float:
        # Names that rest for less than a minute are for tests, which do not want to wait.
        return min(MINUTE, self._core.config.write_path.quiet_period)

    async def _hand_over(self) -> None:
        self._core.cleaner.tell_again()

    def _own(self, name: str, interval: float | Interval, work: Work) -> Periodic:
        """A service of each instance."""
        seconds = self._seconds(name, interval)
        return Periodic(name, seconds, work, self._core.reactor, chance=self._random.random)

    def _shared(self, name: str, interval: float | Interval, work: Work) -> Periodic:
        """A service that one instance at a time runs for all; all of these go by time."""
        locks = TimelyLocks(self._core.ledger.locks, self._core.lease)
        seconds = self._seconds(name, interval)
        return Periodic(name, seconds, work, self._core.reactor, locks=locks, chance=self._random.random)

    def _seconds(self, name: str, interval: float | Interval) -> float:
        """Return an interval as it is now, and remember who must be told when it is another."""
        if not callable(interval):
            return interval
        self._intervals[name] = interval
        return interval()
