"""
Writing usage to the ledger, and showing it.

What a process has counted is recorded every interval, more often while a backend is close
to a limit: other instances learn of it only from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.concurrency import finish
from s3orchestrator.config.live import Live
from s3orchestrator.config.upkeep import UsageFlushConfig
from s3orchestrator.domain.records import Usage
from s3orchestrator.domain.usage import Limits, is_close
from s3orchestrator.interfaces import IBlobs, ICounters, IUsageLedger
from s3orchestrator.services.showing import MOST_COUNTED, Showing
from s3orchestrator.telemetry.logging import make_logger

COUNT_EVERY = 60.0  # objects and uploads: a row per bucket, and one per upload, are read for it
NEARLY_FULL = 0.8  # of a quota
WARN_EVERY = 3600.0
# A timer may come a little early by the clock of another; it must not wait for its next turn then.
TOLERANCE = 0.5


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
    _showing: Showing = field(factory=Showing, init=False)
    _is_showing: bool = field(default=True, init=False)

    def leave_showing_to_another(self) -> None:
        """Neither show what the ledger says nor warn of it: one process of several does that for all."""
        self._is_showing = False

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
            if self._is_showing:
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
        limits_by_name = self._limits()
        self._showing.only(limits_by_name.keys())
        for name, limits in limits_by_name.items():
            known = usage.get(name, Usage(name))
            self._showing.room(known)
            self._showing.usage(name, self._counters.used(name), limits)
            self._warn(known)
        now = self._clock.seconds()
        if self._counted is None or now - self._counted >= COUNT_EVERY - TOLERANCE:
            self._counted = now
            self._showing.inventory(await self._ledger.inventory())
            self._showing.backlog(await self._ledger.backlog(MOST_COUNTED))

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
