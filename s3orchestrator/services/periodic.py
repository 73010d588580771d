"""Work that is done again and again: timing, one instance at a time, no overlap, a clean stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from attrs import define, field, frozen
from prometheus_client import Counter, Gauge
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks
from s3orchestrator.telemetry.logging import make_logger

RESULTS = ("success", "error", "skipped", "cancelled")
TICKS = Counter("s3o_worker_ticks_total", "Runs of background services.", ["service", "result"])
LAST_SUCCESS = Gauge(
    "s3o_worker_last_success_timestamp_seconds", "When a service last ran to its end.", ["service"]
)
FAILURES = Gauge("s3o_worker_consecutive_failures", "Runs that failed since the last success.", ["service"])


@frozen
class Report:
    """How a service fares; times are Unix seconds, `last_result` success, error, skipped or cancelled."""

    name: str
    interval: float
    running: bool
    last_result: str | None = None
    last_success: float | None = None
    consecutive_failures: int = 0


@define(eq=False)
class Periodic(Service):
    """
    Runs `work` every `interval` seconds, on one instance at a time where `locks` are given.

    The first tick comes after one interval and up to half of another, as `chance` has it, so that
    instances started together do not tick together. A tick never raises, never overlaps the next,
    and is skipped while another instance holds the lock. Stopping cancels the tick in progress and
    waits for it to let go.
    """

    log = make_logger()
    name: str
    interval: float
    _work: Callable[[], Awaitable[object]]
    _clock: IReactorTime
    _locks: ILocks | None = field(default=None, kw_only=True)
    _chance: Callable[[], float] = field(default=lambda: 0.0, kw_only=True)
    _loop: LoopingCall | None = field(default=None, init=False)
    _delayed: IDelayedCall | None = field(default=None, init=False)
    _tick: Deferred[None] | None = field(default=None, init=False)
    _last_result: str | None = field(default=None, init=False)
    _last_success: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)

    def startService(self) -> None:
        """Begin to tick."""
        super().startService()  # type: ignore[no-untyped-call]
        for result in RESULTS:
            TICKS.labels(self.name, result)
        FAILURES.labels(self.name).set(self._failures)
        delay = self._chance() * self.interval / 2
        if delay:
            self._delayed = self._clock.callLater(delay, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._delayed = None
        self._loop = LoopingCall(self.trigger)
        self._loop.clock = self._clock
        self._loop.start(self.interval, now=False)

    def set_interval(self, interval: float) -> None:
        """Tick at another pace from now on; the next tick is one of these intervals away."""
        if interval == self.interval:
            return
        self.interval = interval
        if self._delayed is not None and self._delayed.active():
            self._delayed.cancel()
            self._begin()
        elif self._loop is not None and self._loop.running:
            self._loop.stop()
            self._begin()

    def stopService(self) -> Deferred[None]:
        """Stop ticking; fires when the tick in progress has ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        return start(self._stop())

    async def _stop(self) -> None:
        if self._delayed is not None and self._delayed.active():
            self._delayed.cancel()
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._tick is not None:
            tick = self._tick
            tick.cancel()
            await tick

    def trigger(self) -> Deferred[None]:
        """Run one tick now; one that is in progress is not joined by a second."""
        if self._tick is None:
            self._tick = start(self._run_once())
            if self._tick.called:
                self._tick = None
                return start(_nothing())
        waiting: Deferred[None] = Deferred()

        def ended(result: None) -> None:
            waiting.callback(None)
            return result

        self._tick.addCallback(ended)  # a tick never fails
        return waiting

    def report(self) -> Report:
        """Tell how it fares."""
        return Report(
            self.name,
            self.interval,
            self._tick is not None,
            self._last_result,
            self._last_success,
            self._failures,
        )

    def _hold(self) -> AbstractAsyncContextManager[bool]:
        return nullcontext(True) if self._locks is None else self._locks.hold(self.name)

    async def _run_once(self) -> None:
        result = "error"
        try:
            async with self._hold() as held:
                if held:
                    await self._work()
                result = "success" if held else "skipped"
        except CancelledError:
            result = "cancelled"
        except StoreUnavailable as error:
            # Whoever watches the ledger has said so already.
            self.log.debug("{service}: put off: {error}", service=self.name, error=str(error))
        except Exception:
            self.log.failure("{service}: tick failed", service=self.name)
        finally:
            self._tick = None
            self._note(result)

    def _note(self, result: str) -> None:
        self._last_result = result
        TICKS.labels(self.name, result).inc()
        if result == "success":
            self._last_success = self._clock.seconds()
            self._failures = 0
            LAST_SUCCESS.labels(self.name).set(self._last_success)
        elif result == "error":
            self._failures += 1
        FAILURES.labels(self.name).set(self._failures)


async def _nothing() -> None:
    return None
