"""
Writing usage to the ledger, and showing it.

What a process has counted is recorded every interval, more often while a backend is close
to a limit: other instances learn of it only from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field
from prometheus_client import Gauge
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.concurrency import finish
from s3orchestrator.config.features import UsageFlushConfig
from s3orchestrator.config.live import Live
from s3orchestrator.domain.records import Inventory, Usage
from s3orchestrator.domain.usage import Counters, Limits, is_close
from s3orchestrator.interfaces import IBlobs, ICounters, IUsageLedger
from s3orchestrator.telemetry.logging import make_logger

COUNT_EVERY = 60.0  # objects and uploads: a row per bucket, and one per upload, are read for it
NEARLY_FULL = 0.8  # of a quota
WARN_EVERY = 3600.0
# A timer may come a little early by the clock of another; it must not wait for its next turn then.
TOLERANCE = 0.5


def _gauge(name: str, meaning: str) -> Gauge:
    return Gauge(f"s3o_{name}", meaning, ["backend"])


BYTES_USED = _gauge(
    "quota_bytes_used", "Bytes of objects; what is being written counts against what is available only."
)
BYTES_LIMIT = _gauge("quota_bytes_limit", "The quota; 0 if there is none.")
BYTES_ORPHAN = _gauge("quota_orphan_bytes", "Bytes that are still to be deleted.")
BYTES_AVAILABLE = _gauge("quota_bytes_available", "What the quota leaves; 0 if there is none.")
OBJECTS = _gauge("objects_count", "Objects, each copy counted.")
UPLOADS = _gauge("active_multipart_uploads", "Multipart uploads in progress.")
API_REQUESTS = _gauge("usage_api_requests", "Requests this month, of all instances.")
EGRESS = _gauge("usage_egress_bytes", "Bytes read this month, by all instances.")
INGRESS = _gauge("usage_ingress_bytes", "Bytes written this month, by all instances.")

MOST_COUNTED = 10_000
PENDING = Gauge("s3o_pending_intents_depth", "Objects being written; counted up to 10000.")
DOOMED = Gauge("s3o_cleanup_queue_depth", "What waits to be deleted; counted up to 10000.")
DEAD = Gauge("s3o_cleanup_dlq_depth", "What nobody tries to delete any more; counted up to 10000.")


@define(eq=False)
class UsageFlush:
    """
    Records usage when it is due.

    `limits` gives the monthly limits in force, by backend; its keys are the backends there are.
    """

    log = make_logger()
    _counters: ICounters
    _ledger: IUsageLedger
    _blobs: IBlobs
    _settings: Live[UsageFlushConfig]
    _limits: Callable[[], Mapping[str, Limits]]
    _clock: IReactorTime
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _last: float | None = field(default=None, init=False)
    _is_fast: bool = field(default=False, init=False)
    _counted: float | None = field(default=None, init=False)
    _warned: dict[str, float] = field(factory=dict, init=False)

    @property
    def tick(self) -> float:
        """How often `run_if_due` wants to be called, in seconds."""
        settings = self._settings.now
        return min(settings.fast_interval, settings.interval)

    async def run_if_due(self) -> None:
        """Flush if it is time; asking costs no query."""
        if self._last is None or self._clock.seconds() - self._last >= self._interval() - TOLERANCE:
            await self.run_once()

    async def run_once(self) -> None:
        """
        Record what was counted, learn what others have recorded, and show it.

        At start this makes limits hold from the first request on; at the end nothing is lost. An
        operator may ask for it while it is under way: then it is done once more.
        """
        async with self._turn:
            self._last = self._clock.seconds()
            # Cancelled in the middle, nobody would know whether it was recorded.
            await finish(self._flush())
            await self._show()

    async def _flush(self) -> None:
        taken = self._counters.take()
        try:
            if taken:
                await self._ledger.record(taken)
        except BaseException:
            # After an unclear COMMIT it may be counted twice. Too much is on the safe side of a limit.
            self._counters.give_back()
            raise
        self._counters.recorded()
        period = self._counters.period
        self._counters.rebase(period, await self._ledger.totals(period))

    def _interval(self) -> float:
        settings = self._settings.now
        is_fast = settings.adaptive_enabled and any(
            is_close(self._counters.used(name), limits, settings.adaptive_threshold)
            for name, limits in self._limits().items()
            if limits
        )
        interval = settings.fast_interval if is_fast else settings.interval
        if is_fast is not self._is_fast:
            self._is_fast = is_fast
            self.log.info("usage is recorded every {seconds} s from now on", seconds=interval)
        return interval

    # --- showing it

    async def _show(self) -> None:
        usage = {known.backend: known for known in await self._blobs.usage()}
        for name in self._limits():
            known = usage.get(name, Usage(name))
            self._show_room(known)
            _show_usage(name, self._counters.used(name))
            self._warn(known)
        now = self._clock.seconds()
        if self._counted is None or now - self._counted >= COUNT_EVERY - TOLERANCE:
            self._counted = now
            await self._show_inventory()
            await self._show_backlog()

    @staticmethod
    def _show_room(known: Usage) -> None:
        BYTES_USED.labels(known.backend).set(known.live)
        BYTES_ORPHAN.labels(known.backend).set(known.orphan)
        BYTES_LIMIT.labels(known.backend).set(known.limit or 0)
        BYTES_AVAILABLE.labels(known.backend).set(max((known.limit or 0) - known.taken, 0))

    async def _show_inventory(self) -> None:
        inventory = await self._ledger.inventory()
        for name in self._limits():
            held = inventory.get(name, Inventory())
            OBJECTS.labels(name).set(held.objects)
            UPLOADS.labels(name).set(held.uploads)

    async def _show_backlog(self) -> None:
        backlog = await self._ledger.backlog(MOST_COUNTED)
        PENDING.set(backlog.pending)
        DOOMED.set(backlog.doomed)
        DEAD.set(backlog.dead)

    def _warn(self, known: Usage) -> None:
        """Say once an hour that a backend is nearly full."""
        now = self._clock.seconds()
        if not known.limit or known.taken < NEARLY_FULL * known.limit:
            self._warned.pop(known.backend, None)
        elif now - self._warned.get(known.backend, -WARN_EVERY) >= WARN_EVERY:
            self._warned[known.backend] = now
            self.log.warn(
                "{backend} is {percent} % full: {taken} of {limit} bytes",
                backend=known.backend,
                percent=known.taken * 100 // known.limit,
                taken=known.taken,
                limit=known.limit,
            )


def _show_usage(name: str, used: Counters) -> None:
    API_REQUESTS.labels(name).set(used.api_requests)
    EGRESS.labels(name).set(used.egress_bytes)
    INGRESS.labels(name).set(used.ingress_bytes)
