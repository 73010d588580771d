"""
Connections that are kept open, handed out, and replaced.

One that is closed is never handed out, one that failed is dropped, and whoever waits does
so for a limited time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from random import random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.store import load
from s3orchestrator.store.connections import Connection

Dial = Callable[[], Coroutine[Any, Any, Connection]]

_TENDED_EVERY = 15.0  # seconds
_HOPE = 0.5  # seconds for which one failed attempt to connect leaves others a chance


@frozen
class Limits:
    """How many connections, for how long (seconds), and how long somebody waits for one."""

    at_least: int = 10
    at_most: int = 50
    lifetime: float = 300.0
    patience: float = 10.0


@define(eq=False)
class _Waiting:
    """Somebody who waits for a connection; numbers tell who came first."""

    number: int
    since: float
    got: Deferred[Connection]


@define(eq=False)
class Pool:
    """Connections that `dial` opens when they are wanted. Nothing happens before `start`."""

    _dial: Dial
    _reactor: IReactorTime
    _limits: Limits
    _idle: list[Connection] = field(init=False, factory=list)
    _busy: set[Connection] = field(init=False, factory=set)
    _opening: set[Deferred[Connection]] = field(init=False, factory=set)
    _waiting: deque[_Waiting] = field(init=False, factory=deque)
    _come: int = field(init=False, default=0)  # how many have ever waited
    _tending: IDelayedCall | None = field(init=False, default=None)
    _is_closed: bool = field(init=False, default=False)
    _log = Logger()

    def start(self) -> None:
        """Open as many as are always kept."""
        load.show_pool(self._busy, lambda: self._idle, lambda: self._waiting)
        self._tend()

    def acquire(self) -> Deferred[Connection]:
        """
        Hand out a connection; whoever gets it gives it back with `release`.

        :raises StoreUnavailable: none can be opened, or none became free in time.
        """
        while self._idle:
            # The one that was used last: those that are not needed grow old and go.
            connection = self._idle.pop()
            if self._is_good(connection):
                self._busy.add(connection)
                return succeed(connection)
            connection.close()
        if self._is_closed:
            return fail(StoreUnavailable("the ledger is closed"))
        self._come += 1
        waiting = _Waiting(self._come, self._reactor.seconds(), Deferred())
        self._waiting.append(waiting)
        timer = self._reactor.callLater(self._limits.patience, self._give_up, waiting)
        waiting.got.addBoth(_and_cancel, timer)
        self._open_more()
        return waiting.got

    def release(self, connection: Connection) -> None:
        """Take a connection back; one that cannot be used again is dropped."""
        self._busy.discard(connection)
        if self._is_closed or not self._is_good(connection):
            connection.close()
            self._open_more()
        else:
            self._hand_out(connection)

    def distrust(self) -> None:
        """Close what is idle: where one connection has died, the others probably have, too."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close all; who waits gets an error."""
        self._is_closed = True
        load.show_nothing()
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        self.distrust()
        for opening in tuple(self._opening):
            opening.cancel()
        for connection in tuple(self._busy):
            connection.close()
        self._fail(self._come, "the ledger is closed")

    def _is_good(self, connection: Connection) -> bool:
        return connection.is_usable and not self._is_old(connection)

    def _is_old(self, connection: Connection) -> bool:
        return self._reactor.seconds() > connection.expires_at

    def _hand_out(self, connection: Connection) -> None:
        if self._waiting:
            self._busy.add(connection)
            self._waiting.popleft().got.callback(connection)
        else:
            self._idle.append(connection)

    @property
    def _total(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._opening)

    def _open_more(self) -> None:
        while len(self._waiting) > len(self._opening) and self._total < self._limits.at_most:
            self._open()

    def _open(self) -> None:
        opening = start(self._dial())
        self._opening.add(opening)
        opening.addBoth(self._no_longer, opening)
        opening.addCallbacks(self._opened, self._failed, errbackArgs=(self._come,))

    def _no_longer(self, result: Any, opening: Deferred[Connection]) -> Any:
        self._opening.discard(opening)
        return result

    def _opened(self, connection: Connection) -> None:
        connection.when_closed = self._lost
        # Not all at once: they were opened together.
        connection.expires_at = self._reactor.seconds() + self._limits.lifetime * (1 - random() / 4)
        self._hand_out(connection)

    def _failed(self, failure: Failure, come: int) -> None:
        """Tell those who waited when the attempt began that it was in vain; later ones have their own."""
        if self._is_closed:
            return
        if not self._waiting:
            self._log.info("no connection to the ledger: {error}", error=failure.getErrorMessage())
        # Others are in use, and will be given back: the server may only have no room for more.
        if not self._busy:
            self._fail(self._hopeless(come), failure.getErrorMessage())
            self._open_more()

    def _hopeless(self, come: int) -> int:
        """Return up to which number nobody need hope for the attempts that are still under way."""
        if not self._opening:
            return come
        long_ago = self._reactor.seconds() - _HOPE
        return max(
            (one.number for one in self._waiting if one.number <= come and one.since <= long_ago), default=0
        )

    def _fail(self, until: int, reason: str) -> None:
        failed = [one for one in self._waiting if one.number <= until]
        self._waiting = deque(one for one in self._waiting if one.number > until)
        for one in failed:
            one.got.errback(StoreUnavailable(reason))

    def _give_up(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.got.errback(
            StoreUnavailable(f"no connection to the ledger became free within {self._limits.patience:g} s")
        )

    def _lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _tend(self) -> None:
        """Let those go that have grown old, and keep as many as are always kept."""
        for connection in [one for one in self._idle if not self._is_good(one)]:
            connection.close()
        for _ in range(self._limits.at_least - self._total):
            self._open()
        self._tending = self._reactor.callLater(_TENDED_EVERY * (0.75 + random() / 2), self._tend)


def _and_cancel(result: Any, timer: IDelayedCall) -> Any:
    if timer.active():
        timer.cancel()
    return result
