"""How long a client may take, and who looks whether it does."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LINGER = 1.0  # seconds: how long a client may take to hear that nobody wants the rest of its upload
RETIRING = 1.0  # seconds: how long a connection may be silent once we are told to stop


@frozen
class Limits:
    """
    The times, in seconds.

    None of them spans a body: `read_timeout` and `write_timeout` are the longest silence
    while one moves, and the time in which *we* keep a client waiting does not count.
    """

    read_header_timeout: float = 10.0
    read_timeout: float = 300.0
    write_timeout: float = 300.0
    idle_timeout: float = 120.0

    @property
    def shortest(self) -> float:
        """How often it must be looked at whether a time is over."""
        return min(self.read_header_timeout, self.read_timeout, self.write_timeout, self.idle_timeout)


@frozen
class Patience:
    """What is being waited for: `limit` seconds from `since`, and then `give_up`."""

    limit: float
    since: float
    give_up: Callable[[], None]


class Watch:
    """
    Looks now and then whether `waiting_for` has taken too long.

    One timer per connection that looks is cheaper than one per request that is set and
    cancelled. It looks at least every `interval` seconds, so if no limit is shorter it
    never has to be moved.
    """

    def __init__(
        self, clock: IReactorTime, interval: float, waiting_for: Callable[[], Patience | None]
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._waiting_for = waiting_for
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._timer = self._clock.callLater(self._interval, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look_often(self, interval: float) -> None:
        """Look every `interval` seconds from now on; for a limit that is shorter than all others."""
        if self._timer is not None:
            self._timer.cancel()
            self._interval = interval
            self.start()

    def _look(self) -> None:
        wait = self._interval
        patience = self._waiting_for()
        if patience is not None:
            left = patience.since + patience.limit - self._clock.seconds()
            if left <= 0:
                # It may stop us, or have us look more often.
                self._timer = self._clock.callLater(wait, self._look)
                patience.give_up()
                return
            wait = min(wait, left)
        self._timer = self._clock.callLater(wait, self._look)
