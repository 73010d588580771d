"""
How many requests are served at a time, and what happens to the others.

A request beyond the limit waits at most `admission_wait` for a slot, then hears 503
SlowDown. Above the load-shed threshold requests are refused at random, the more the fuller
it is, so that clients back off before everything waits; a full pool is a matter of waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field
from prometheus_client import Counter
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.protocol.errors import SlowDown

REJECTIONS = Counter("s3o_admission_rejections_total", "Requests refused because no slot came free in time.")
SHED = Counter("s3o_load_shed_total", "Requests refused at random while slots were becoming scarce.")
LEFT = Counter("s3o_admission_client_canceled_total", "Clients that left while they waited for a slot.")

# Each may hold a head and 64 KiB of body that nobody has asked for: about 80 MB, and longer queues only let
# everybody wait in vain.
MOST_WAITING = 1000


class LoadShed(SlowDown):
    """Refused by chance, before all slots were taken."""


class AdmissionRejected(SlowDown):
    """Refused because all slots were taken."""


@define(eq=False)
class Pool:
    """
    A number of slots, and those who wait for one.

    `chance` gives numbers from 0 to below 1. A waiting request that is cancelled leaves the queue.
    """

    capacity: int
    _wait: float
    _shed_above: float
    _chance: Callable[[], float]
    _clock: IReactorTime
    taken: int = field(default=0, init=False)
    _waiting: deque[Deferred[None]] = field(factory=deque, init=False)

    async def take(self) -> None:
        """:raises SlowDown: `LoadShed` or `AdmissionRejected`."""
        if self._sheds():
            SHED.inc()
            raise LoadShed
        if self.taken < self.capacity:
            self.taken += 1
            return
        if not self._wait or len(self._waiting) >= MOST_WAITING:
            REJECTIONS.inc()
            raise AdmissionRejected
        await self._queue()

    def give_back(self) -> None:
        """Free a slot, or hand it to whoever has waited longest."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.called:
                waiting.callback(None)
                return
        self.taken -= 1

    def _sheds(self) -> bool:
        if not self._shed_above or self.taken >= self.capacity:
            return False  # a full pool is a matter of waiting, not of chance
        threshold = int(self._shed_above * self.capacity)
        excess = self.taken - threshold
        return excess > 0 and self._chance() < excess / (self.capacity - threshold)

    async def _queue(self) -> None:
        waiting: Deferred[None] = Deferred(self._leave)
        self._waiting.append(waiting)
        expiry = self._clock.callLater(self._wait, self._expire, waiting)
        try:
            await waiting
        except CancelledError:
            LEFT.inc()
            raise
        finally:
            if expiry.active():
                expiry.cancel()

    def _leave(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _expire(self, waiting: Deferred[None]) -> None:
        if not waiting.called:
            self._leave(waiting)
            REJECTIONS.inc()
            waiting.errback(AdmissionRejected())


@define(eq=False)
class Admission:
    """The pools for reads and writes; they may be one and the same."""

    _reads: Pool
    _writes: Pool

    async def enter(self, *, is_write: bool) -> Pool:
        """
        Take a slot; the caller gives it back to the pool that is returned.

        :raises SlowDown: `LoadShed` or `AdmissionRejected`.
        """
        pool = self._writes if is_write else self._reads
        await pool.take()
        return pool
