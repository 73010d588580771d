"""
How many requests each client may send: a bucket of tokens each, refilled at a steady rate.

Pure: time is an argument, in seconds on any clock; one that is set back refills nothing, and costs nobody
what he had.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field, frozen

from s3orchestrator.domain.origins import origin

# About 20 MB. Whoever has more networks than that has a burst in each, whether or not we remember them.
MOST_CLIENTS = 65536
ENOUGH = 0.999  # of a token: what a clock's precision takes must not send those away who came back in time
FORGOTTEN_AT_ONCE = 500  # so that no request takes a millisecond longer than others


@frozen
class Rate:
    """
    What a client may do: `burst` requests at once, `per_second` in the long run; both more than 0.

    A client that is quiet is remembered for `max_age` seconds; who was is looked for every `interval`.
    """

    per_second: float
    burst: int
    max_age: float = 300.0
    interval: float = 60.0


@define
class _Bucket:
    tokens: float
    last: float


@define(eq=False)
class TokenBuckets:
    """
    A bucket for each client, by `origin` of its address.

    The rate comes with each request, so that a new one is in force at once for everybody: what a
    client has left it keeps, up to the new burst.

    A client is forgotten when it has been quiet for `Rate.max_age`, but not before its bucket is full
    again: nobody gains by being forgotten. Of more than `most` clients, those that have been quiet
    longest are forgotten all the same.
    """

    most: int = MOST_CLIENTS
    _buckets: OrderedDict[str, _Bucket] = field(factory=OrderedDict, init=False)
    _looked: float = field(default=0.0, init=False)

    def take(self, address: str, now: float, rate: Rate) -> float:
        """Take a token for a request from `address`; return in how many seconds there is one, 0 if taken."""
        client = origin(address)
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(rate.burst, now)
        else:
            bucket.tokens = _filled(bucket, now, rate)
            bucket.last = now
            self._buckets.move_to_end(client)
        self._forget(now, rate)
        if bucket.tokens < ENOUGH:
            return (1 - bucket.tokens) / rate.per_second
        bucket.tokens -= 1
        return 0.0

    def clear(self) -> None:
        """Forget everybody."""
        self._buckets.clear()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def _forget(self, now: float, rate: Rate) -> None:
        if len(self._buckets) > self.most:
            self._buckets.popitem(last=False)
        if 0 <= now - self._looked < rate.interval:
            return
        for _ in range(FORGOTTEN_AT_ONCE):
            client, quietest = next(iter(self._buckets.items()))  # never empty: somebody is asking
            if now - quietest.last < rate.max_age or _filled(quietest, now, rate) < rate.burst:
                self._looked = now
                return
            del self._buckets[client]


def _filled(bucket: _Bucket, now: float, rate: Rate) -> float:
    """Return how many tokens there are by now."""
    elapsed = max(0.0, now - bucket.last)
    return min(float(rate.burst), bucket.tokens + elapsed * rate.per_second)
