"""Hearing what other instances say to each other through the database."""

from __future__ import annotations

from collections.abc import Callable
from random import random

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.store.connections import Connection
from s3orchestrator.store.hearing import Hearers
from s3orchestrator.store.pgtransaction import FAILURES, translated
from s3orchestrator.store.pool import Dial
from s3orchestrator.store.sql import CHANNEL

_FIRST_DELAY = 0.5  # seconds; the server may just be restarting
_LONGEST_DELAY = 30.0

Hear = Callable[[str], None]


@define(eq=False)
class Listener:
    """
    A connection that only listens, and is opened again when it ends.

    What was said meanwhile is lost; then everybody hears "", which may mean anything.
    """

    _dial: Dial
    _reactor: IReactorTime
    _hearers: Hearers[str] = field(init=False, factory=Hearers)
    _connection: Connection | None = field(init=False, default=None)
    _delay: float = field(init=False, default=_FIRST_DELAY)
    _retry: IDelayedCall | None = field(init=False, default=None)
    _reopening: Deferred[None] | None = field(init=False, default=None)
    _is_closed: bool = field(init=False, default=False)
    _log = Logger()

    def add(self, hear: Hear) -> None:
        """Call `hear` with whatever is said from now on."""
        self._hearers.add(hear)

    async def open(self) -> None:
        """
        Begin to listen.

        :raises StoreUnavailable: that was not possible.
        """
        connection = await self._dial()
        connection.when_told = self._hearers.tell
        try:
            await connection.or_close(connection.ask(f"LISTEN {CHANNEL}"))
        except FAILURES as error:
            connection.close()
            raise translated(error) from error
        connection.when_closed = self._lost
        self._connection, self._delay = connection, _FIRST_DELAY
        if connection.is_closed:
            self._lost(connection)

    def close(self) -> None:
        """Hear no more."""
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._reopening is not None:
            self._reopening.cancel()
        if self._connection is not None:
            self._connection.close()

    def _lost(self, connection: Connection) -> None:
        self._connection = None
        self._try_later()

    def _try_later(self) -> None:
        if not self._is_closed and self._retry is None:
            self._retry = self._reactor.callLater(self._delay * (0.75 + random() / 2), self._again)
            self._delay = min(2 * self._delay, _LONGEST_DELAY)

    def _again(self) -> None:
        self._retry = None
        self._reopening = start(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self.open()
        except CancelledError:
            return
        except StoreUnavailable as error:
            self._log.info("other instances cannot be heard: {error}", error=str(error))
            self._try_later()
            return
        if not self._is_closed:
            self._hearers.tell("")
