"""The gates of all backends: made from the settings, and asked how their backends stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from s3orchestrator.backends.guard import Guard
from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.backends.metering import Meter
from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import BackendConfig, Config
from s3orchestrator.domain.breaker import Breaker, State
from s3orchestrator.domain.usage import NO_LIMITS, Counters, Limits
from s3orchestrator.interfaces import IBackend, ICounters, ICountsRequests, IStanding
from s3orchestrator.telemetry.breakers import moved, show
from s3orchestrator.telemetry.logging import make_logger

HOUR = 3600.0


def limits_of(settings: BackendConfig) -> Limits:
    """Return a backend's monthly limits."""
    return Limits(settings.api_request_limit, settings.egress_byte_limit, settings.ingress_byte_limit)


def _shown(counted: Counters | Limits) -> str:
    requests, sent, taken = counted.api_requests, counted.egress_bytes, counted.ingress_bytes
    return f"{requests} requests, {sent} bytes read, {taken} written"


def _nobody(name: str) -> None:
    """Hear nothing."""


@define(eq=False)
class LimitsInForce:
    """The monthly limits by backend, as the settings have them now."""

    _live: Live[Config]
    _read_from: Config | None = field(default=None, init=False)
    _by_name: dict[str, Limits] = field(factory=dict, init=False)

    @property
    def now(self) -> Mapping[str, Limits]:
        """Those in force."""
        config = self._live.now
        if config is not self._read_from:
            self._read_from = config
            self._by_name = {settings.name: limits_of(settings) or NO_LIMITS for settings in config.backends}
        return self._by_name

    def of(self, name: str) -> Limits:
        """Those of one backend, `NO_LIMITS` itself if there are none."""
        return self.now.get(name, NO_LIMITS)


@implementer(IStanding)
@define(eq=False)
class Guards:
    """
    Puts a gate before each backend, and knows how they stand.

    `chance` gives numbers from 0 to 1, so that several instances do not probe at once.
    `on_away` is told of a backend that cannot be reached.
    """

    log = make_logger()
    _live: Live[Config]
    _counters: ICounters
    _clock: IReactorTime
    _chance: Callable[[], float]
    on_away: Callable[[str], object] = field(default=_nobody, kw_only=True)
    _by_name: dict[str, Guard] = field(factory=dict, init=False)
    _tell_again_at: dict[str, float] = field(factory=dict, init=False)
    limits: LimitsInForce = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limits = LimitsInForce(self._live)

    def around(self, backend: IBackend) -> GuardedBackend:
        """Return the backend behind its gate."""
        counting = backend if ICountsRequests.providedBy(backend) else None
        name = backend.name
        meter = Meter(name, self._counters, lambda: self.limits.of(name), counting)
        breaker = self._breaker(name)
        guard = Guard(meter, breaker, self._clock, lambda: self.on_away(name))
        self._by_name[name] = guard
        return GuardedBackend(backend, guard)

    def _breaker(self, name: str) -> Breaker | None:
        settings = self._live.now.backend_circuit_breaker
        if not settings.enabled:
            return None

        def told(before: State, after: State) -> None:
            moved(name, before, after)
            self._tell(name, breaker)
            if after is State.OPEN:
                self.on_away(name)

        breaker = Breaker(settings.failure_threshold, settings.open_timeout, self._chance, told)
        show(name)
        return breaker

    def _tell(self, name: str, breaker: Breaker) -> None:
        if breaker.state is State.CLOSED:
            self.log.info("{backend} answers again", backend=name)
            return
        away = round(breaker.open_for(self._clock.seconds()), 1)
        if breaker.state is State.HALF_OPEN:
            self.log.info("{backend} is tried again after {away} s", backend=name, away=away)
        else:
            self.log.warn(
                "{backend} is left alone: {failures} failures in a row (of {threshold}), away for {away} s",
                backend=name,
                failures=breaker.failures,
                threshold=breaker.threshold,
                away=away,
            )

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breakers by backend, for the watchdog; none if they are switched off."""
        return {name: guard.breaker for name, guard in self._by_name.items() if guard.breaker is not None}

    def may_write(self, name: str, size: int) -> bool:
        """See `IStanding`."""
        return self._is_free(name) or self._may(name, Counters(1, 0, size))

    def may_read(self, name: str, size: int) -> bool:
        """See `IStanding`."""
        return self._is_free(name) or self._may(name, Counters(1, size, 0))

    def _is_free(self, name: str) -> bool:
        guard = self._by_name.get(name)
        return guard is None or not guard.meter.is_limited

    def _may(self, name: str, proposed: Counters) -> bool:
        if self._by_name[name].meter.allows(proposed):
            return True
        self._tell_of_limits(name)
        return False

    def _tell_of_limits(self, name: str) -> None:
        """Once an hour: each request that goes elsewhere would be a line."""
        now = self._clock.seconds()
        if now >= self._tell_again_at.get(name, now):
            self._tell_again_at[name] = now + HOUR
            self.log.warn(
                "{backend} is passed over, for its monthly limits would not hold: {used}, of {limits}",
                backend=name,
                used=_shown(self._counters.used(name)),
                limits=_shown(self.limits.of(name)),
            )

    def is_failing(self, name: str) -> bool:
        """See `IStanding`."""
        guard = self._by_name.get(name)
        return guard is not None and guard.is_failing
