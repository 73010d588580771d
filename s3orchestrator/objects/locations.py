"""
Where objects were found while the ledger was away, for a while.

What is here only saves looking: whoever uses it asks the backend whether the object is
still there, and the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

MAX_LOCATIONS = 10_000  # some 4 MB; beyond it the oldest goes


Forget = Callable[[int, str], object]  # of a bucket's id and a key


def forget_nothing(bucket_id: int, key: str) -> None:
    """For whoever remembers nothing."""


@frozen
class Location:
    """A blob on a backend; its stamp has this id and time."""

    backend: str
    name: str
    blob_id: int
    created_ms: int


@define(eq=False)
class Locations:
    """
    Remembers up to `MAX_LOCATIONS` for `ttl` seconds, give or take a fifth: not all lapse at once.

    `forget` is for whoever writes or deletes a key. What was found by looking from before
    anything was forgotten until after is not remembered: it may be what has just been replaced.
    """

    _ttl: float
    _clock: IReactorTime
    _chance: Callable[[], float]
    _known: OrderedDict[tuple[int, str], tuple[float, Location]] = field(init=False, factory=OrderedDict)
    _changes: int = field(init=False, default=0)

    def find(self, bucket_id: int, key: str) -> Location | None:
        """Return where a key was found, unless that is too long ago."""
        known = self._known.get((bucket_id, key))
        if known is None:
            return None
        until, location = known
        if until <= self._clock.seconds():
            del self._known[bucket_id, key]
            return None
        return location

    def moment(self) -> int:
        """Return what `remember` wants to know of the moment at which looking began."""
        return self._changes

    def remember(self, bucket_id: int, key: str, location: Location, *, since: int) -> None:
        """Keep what was found by looking from `since` on."""
        if since != self._changes:
            return
        until = self._clock.seconds() + self._ttl * (0.8 + 0.4 * self._chance())
        self._known[bucket_id, key] = until, location
        self._known.move_to_end((bucket_id, key))
        if len(self._known) > MAX_LOCATIONS:
            self._known.popitem(last=False)

    def forget(self, bucket_id: int, key: str) -> None:
        """The key is being changed, or has been."""
        self._changes += 1
        self._known.pop((bucket_id, key), None)

    def clear(self) -> None:
        """The ledger is back, and knows better."""
        self._changes += 1
        self._known.clear()

    async def evict(self) -> int:
        """Drop what has lapsed; returns how many. The work of a service."""
        now = self._clock.seconds()
        lapsed = [place for place, (until, _) in self._known.items() if until <= now]
        for place in lapsed:
            del self._known[place]
        return len(lapsed)
