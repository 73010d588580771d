"""Breakers whose probe never came back must not stay half-open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.domain.breaker import Breaker
from s3orchestrator.telemetry.logging import make_logger

EVERY = 60.0


@define(eq=False)
class Watchdog:
    """
    Gives up probes that have taken too long, so that the next call may be one.

    The next caller would do so itself; this is for breakers that nobody comes to.
    """

    log = make_logger()
    _breakers: Callable[[], Mapping[str, Breaker]]
    _clock: IReactorTime

    async def run_once(self) -> None:
        """Look at every breaker."""
        now = self._clock.seconds()
        for name, breaker in self._breakers().items():
            if breaker.give_up_stale(now):
                self.log.warn("{name}: whoever tried it has not come back", name=name)
