"""Waiting in this process for what would be waited for in the database anyway."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from attrs import define, field
from twisted.internet.defer import Deferred


@define(eq=False)
class Turns:
    """
    One at a time for each key, first come first served.

    Who waits for a key's lock in the database holds a connection meanwhile. Those of one
    process wait here; safety is the database's business.
    """

    _queues: dict[Hashable, deque[Deferred[None]]] = field(init=False, factory=dict)

    @property
    def keys(self) -> list[Hashable]:
        """Those that somebody's turn it is for."""
        return list(self._queues)

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for the turn of this key, and end it on leaving."""
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque()
        else:
            turn: Deferred[None] = Deferred(queue.remove)
            queue.append(turn)
            await turn
        try:
            yield
        finally:
            self._pass_on(key)

    def _pass_on(self, key: Hashable) -> None:
        queue = self._queues[key]
        if queue:
            queue.popleft().callback(None)
        else:
            del self._queues[key]
