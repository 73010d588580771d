"""
Counting what is used of one backend, and holding it to its monthly limits.

What a call may yet use is *held* from before it begins: calls that are under way at the
same time cannot pass a limit together. As requests and bytes really move they are counted,
and no longer held; what is left is let go at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from s3orchestrator.domain.usage import NO_LIMITS, Counters, Limits, allows
from s3orchestrator.errors import UsageLimitExceeded
from s3orchestrator.interfaces import ICounters, ICountsRequests


@define(eq=False)
class Meter:
    """
    The usage of one backend.

    `limits` gives those in force now. A backend that counts its requests itself is believed;
    of others, each call that was sent is one.
    """

    name: str
    _counters: ICounters
    _limits: Callable[[], Limits]
    _counting: ICountsRequests | None = None
    _seen: int = field(default=0, init=False)
    _api: int = field(default=0, init=False)
    _egress: int = field(default=0, init=False)
    _ingress: int = field(default=0, init=False)

    @property
    def is_limited(self) -> bool:
        """Tell whether there is any limit now: without one nothing need be weighed."""
        limits = self._limits()
        return limits is not NO_LIMITS and bool(limits)

    def allows(self, proposed: Counters) -> bool:
        """Tell whether the limits leave room for `proposed` besides what is under way."""
        if not self.is_limited:
            return True
        under_way = Counters(self._api, self._egress, self._ingress)
        return allows(self._counters.used(self.name) + under_way, proposed, self._limits())

    def hold(self, proposed: Counters) -> Held:
        """Set `proposed` aside for a call, whether or not it is allowed."""
        api, egress, ingress = proposed.api_requests, proposed.egress_bytes, proposed.ingress_bytes
        self.change_held(api, egress, ingress)
        return Held(self, api, egress, ingress)

    def check(self, proposed: Counters, *, writing: bool) -> None:
        """:raises UsageLimitExceeded: there is no room for `proposed`."""
        if not self.allows(proposed):
            raise UsageLimitExceeded(f"{self.name}: a monthly usage limit is reached", writing=writing)

    def requests_sent(self, *, call_was_sent: bool) -> int:
        """Return how many requests are to be counted at the end of a call."""
        if self._counting is None:
            return int(call_was_sent)
        # Those of calls that are still under way come along: it is the sum that counts.
        before, self._seen = self._seen, self._counting.requests_sent
        return self._seen - before

    def count(self, used: Counters) -> None:
        """Count what was used; it may have been held before."""
        self._counters.add(self.name, used)

    def change_held(self, api: int, egress: int, ingress: int) -> None:
        """Hold so much more, or less, than before; `Held` keeps the books of each call."""
        self._api += api
        self._egress += egress
        self._ingress += ingress


@define(eq=False)
class Held:
    """What one call may still use."""

    _meter: Meter
    _api: int
    _egress: int
    _ingress: int

    def more(self, proposed: Counters) -> None:
        """Set more aside."""
        self._change(proposed.api_requests, proposed.egress_bytes, proposed.ingress_bytes)

    def used(self, *, egress: int = 0, ingress: int = 0) -> None:
        """Bytes have moved, perhaps more than were held."""
        if egress or ingress:
            self._meter.count(Counters(0, egress, ingress))
            self._change(0, -min(egress, self._egress), -min(ingress, self._ingress))

    def called(self, *, sent: bool) -> None:
        """The request is over, whatever becomes of its body; once."""
        requests = self._meter.requests_sent(call_was_sent=sent)
        if requests:
            self._meter.count(Counters(requests))
        if self._api:
            self._change(-self._api, 0, 0)

    def let_go(self) -> None:
        """Nothing more will be used; may come twice."""
        if self._api or self._egress or self._ingress:
            self._change(-self._api, -self._egress, -self._ingress)

    def _change(self, api: int, egress: int, ingress: int) -> None:
        self._api += api
        self._egress += egress
        self._ingress += ingress
        self._meter.change_held(api, egress, ingress)
