"""
When an address that keeps guessing a secret is not listened to for a while.

Pure: time is an argument, in seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from s3orchestrator.domain.origins import origin

ALLOWED = 5
LOCKED_FOR = 300.0
# Far more than guess at a time, and about a megabyte. Whoever has more addresses than that gets as
# many guesses as addresses, with or without a lock.
MOST_ADDRESSES = 10_000


@define
class _Record:
    failures: int
    last: float


@define(eq=False)
class Throttle:
    """
    Locks an address out for `locked_for` seconds after `allowed` failures without a success.

    A failure is forgotten as long after the last one. Of more than `most` addresses, those that have
    been quiet longest are forgotten first. All addresses of one `origin` are one.
    """

    allowed: int = ALLOWED
    locked_for: float = LOCKED_FOR
    most: int = MOST_ADDRESSES
    _records: OrderedDict[str, _Record] = field(factory=OrderedDict, init=False)

    def locked(self, address: str, now: float) -> float:
        """Return for how many more seconds nothing is heard from `address`, 0 if it may speak."""
        record = self._current(origin(address), now)
        if record is None or record.failures < self.allowed:
            return 0.0
        return record.last + self.locked_for - now

    def failed(self, address: str, now: float) -> None:
        """Count a wrong guess."""
        client = origin(address)
        record = self._current(client, now) or _Record(0, now)
        self._records[client] = _Record(record.failures + 1, now)
        self._records.move_to_end(client)
        while len(self._records) > self.most:
            self._records.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget what was wrong before."""
        self._records.pop(origin(address), None)

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._records)

    def _current(self, client: str, now: float) -> _Record | None:
        record = self._records.get(client)
        if record is not None and now - record.last >= self.locked_for:
            del self._records[client]
            return None
        return record
