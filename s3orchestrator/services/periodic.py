"""Work that is done again and again: timing, no overlap, a clean stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from s3orchestrator.concurrency import start
from s3orchestrator.telemetry.logging import make_logger


@define(eq=False)
class Periodic(Service):
    """
    Runs `work` every `interval` seconds, the first time after one interval.

    A tick never raises and never overlaps the next. Stopping cancels the tick in progress
    and waits for it to let go.
    """

    log = make_logger()
    name: str
    interval: float
    _work: Callable[[], Awaitable[object]]
    _clock: IReactorTime
    _loop: LoopingCall | None = field(default=None, init=False)
    _tick: Deferred[None] | None = field(default=None, init=False)

    def startService(self) -> None:
        """Begin to tick."""
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = LoopingCall(self.trigger)
        self._loop.clock = self._clock
        self._loop.start(self.interval, now=False)

    async def _stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._tick is not None:
            tick = self._tick
            tick.cancel()
            await tick

    def stopService(self) -> Deferred[None]:
        """Stop ticking; fires when the tick in progress has ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        return start(self._stop())

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

    async def _run_once(self) -> None:
        try:
            await self._work()
        except CancelledError:
            pass
        except Exception:
            self.log.failure("{service}: tick failed", service=self.name)
        finally:
            self._tick = None


async def _nothing() -> None:
    return None
