"""
What may still be asked of a backend this month.

Providers bill by requests and by bytes that leave or enter, per calendar month; so do the
limits. Months are UTC's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen

from s3orchestrator.values import value


@value
class Counters:
    """Requests made of a backend, bytes it sent us (`egress`) and bytes we sent it (`ingress`)."""

    api_requests: int = 0
    egress_bytes: int = 0
    ingress_bytes: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.api_requests + other.api_requests,
            self.egress_bytes + other.egress_bytes,
            self.ingress_bytes + other.ingress_bytes,
        )

    def __bool__(self) -> bool:
        return bool(self.api_requests or self.egress_bytes or self.ingress_bytes)


@frozen
class Limits:
    """How much each counter may reach in one month; 0 is no limit."""

    api_requests: int = 0
    egress_bytes: int = 0
    ingress_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.api_requests or self.egress_bytes or self.ingress_bytes)


NOTHING = Counters()
ONE_REQUEST = Counters(1)
NO_LIMITS = Limits()


def allows(used: Counters, proposed: Counters, limits: Limits) -> bool:
    """
    Tell whether `proposed` may be done after `used`.

    What a call does not raise is not held against it: a backend that has sent all it may
    still takes bytes.
    """
    return all(
        not (limit and more) or before + more <= limit
        for before, more, limit in (
            (used.api_requests, proposed.api_requests, limits.api_requests),
            (used.egress_bytes, proposed.egress_bytes, limits.egress_bytes),
            (used.ingress_bytes, proposed.ingress_bytes, limits.ingress_bytes),
        )
    )


def is_close(used: Counters, limits: Limits, threshold: float) -> bool:
    """Tell whether any limited counter has reached `threshold`, a share of its limit."""
    return any(
        limit and before >= threshold * limit
        for before, limit in (
            (used.api_requests, limits.api_requests),
            (used.egress_bytes, limits.egress_bytes),
            (used.ingress_bytes, limits.ingress_bytes),
        )
    )


@frozen
class Period:
    """A calendar month: what the ledger calls it (`YYYY-MM`), and its bounds in seconds since the epoch."""

    name: str
    begins: float
    ends: float

    def holds(self, seconds: float) -> bool:
        """Tell whether that moment is in it."""
        return self.begins <= seconds < self.ends


def period_at(seconds: float) -> Period:
    """Return the month of a moment."""
    moment = datetime.fromtimestamp(seconds, UTC)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    after = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return Period(f"{first:%Y-%m}", first.timestamp(), after.timestamp())
