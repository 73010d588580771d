"""How many requests are taken from one address, before anything else is known of them."""

from __future__ import annotations

from math import ceil

from attrs import define, field
from prometheus_client import Counter
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.domain.rates import Rate, TokenBuckets
from s3orchestrator.protocol.errors import RateLimited

REJECTIONS = Counter(
    "s3o_rate_limit_rejections_total", "Requests refused because their address had sent too many."
)


class RateLimitRejected(RateLimited):
    """An address has sent more than it may; another than the usage limits that are answered alike."""


@define(eq=False)
class RateLimit:
    """Counts the requests of each address, as long as the settings in force say so."""

    _settings: Live[RateLimitConfig]
    _clock: IReactorTime
    _buckets: TokenBuckets = field(factory=TokenBuckets)
    _seen: RateLimitConfig | None = field(default=None, init=False)
    _rate: Rate = field(init=False)

    def check(self, address: str) -> None:
        """:raises RateLimitRejected: with the whole seconds after which there will be room."""
        settings = self._settings.now
        if settings is not self._seen:
            self._seen = settings
            if not settings.enabled:
                self._buckets.clear()
            self._rate = Rate(
                settings.requests_per_sec,
                settings.burst,
                settings.cleanup_max_age,
                settings.cleanup_interval,
            )
        if not settings.enabled:
            return
        wait = self._buckets.take(address, self._clock.seconds(), self._rate)
        if wait:
            REJECTIONS.inc()
            raise RateLimitRejected(retry_after=ceil(wait))

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)
