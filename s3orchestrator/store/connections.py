"""
A connection to PostgreSQL that is safe in a reactor.

txpostgres connects. From then on the descriptor stays registered for reading, and statements are sent
and answers taken here: its cursors would register and unregister it for every statement, and
let a turn of the reactor pass before each answer, which costs more than the statement.

Its traps are not ours: a cancelled Deferred must not call `PQcancel`, which blocks the process for
as long as the server is silent; a statement's timeout must not look like a caller that left; a
connection that dies while nobody uses it must not leave a traceback in the log; an answer must
not be waited for without end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import psycopg2
from psycopg2 import BINARY
from psycopg2.extensions import POLL_OK, POLL_WRITE, TRANSACTION_STATUS_IDLE, new_type, register_type
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres

_LOOK_EVERY = 1.0  # seconds; a statement may begin at any time before, and have any limit

_NUMERIC_OIDS = (1700,)
_BYTEA_OIDS = (17,)


def _number(text: str | None, cursor: Any) -> int | float | None:
    """Sums of bigint are numeric; ours are whole, and a Decimal has no place in them."""
    if text is None:
        return None
    return float(text) if "." in text else int(text)


def _bytes(text: Any, cursor: Any) -> bytes | None:
    return None if text is None else bytes(BINARY(text, cursor))


_TYPES = (new_type(_NUMERIC_OIDS, "WHOLE", _number), new_type(_BYTEA_OIDS, "BYTES", _bytes))


class Connection(txpostgres.Connection):  # type: ignore[misc]
    """
    One connection; its user sends one string of statements after the other.

    An answer that takes longer than `deadline` seconds closes it (0: may take for ever).
    `when_closed` is called once, whoever closed it.
    """

    log = Logger()

    def __init__(self, reactor: Any, deadline: float = 0.0) -> None:
        super().__init__(reactor)
        self.expires_at = inf
        self.is_late = False  # closed, because an answer did not come in time
        self.when_closed: Callable[[Connection], None] = lambda connection: None
        self.when_told: Callable[[str], None] = lambda payload: None
        self._deadline = self._limit = deadline
        self._busy_since: float | None = None
        self._watch: IDelayedCall | None = None
        self._cursor: Any = None  # psycopg2's; there is one as soon as something can be asked
        self._socket: socket.socket | None = None  # what the reactor watches from then on
        self._answered: Deferred[Any] | None = None  # whoever waits for an answer
        self._has_closed = False

    async def open(self, **dsn: object) -> None:
        """Connect. Only `close` ends the wait: libpq's `connect_timeout` is not for us. May be cancelled."""
        await self.or_close(self.connect(**dsn))
        for kind in _TYPES:
            register_type(kind, self._connection)
        # libpq closes its descriptor when the server has gone, and the number may be somebody else's a
        # moment later. The reactor has one of ours, which is closed only after it has been told.
        self.reactor.removeReader(self)
        self._cursor = self._connection.cursor()
        self._socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        self.reactor.addReader(self)

    def fileno(self) -> int:
        """What the reactor watches; -1 if nothing any more."""
        number: int = super().fileno() if self._socket is None else self._socket.fileno()
        return number

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing more can be asked."""
        return self._connection is None or bool(self._connection.closed)

    @property
    def is_usable(self) -> bool:
        """Tell whether the next user finds it as a new one would."""
        return not self.is_closed and self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def verify(self) -> None:
        """
        Look at what has come since the last answer, for the reactor may not have told us yet.

        :raises psycopg2.Error: it has ended, and nothing can be asked any more.
        """
        assert self._socket is not None
        while True:
            try:
                self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                pass  # libpq says what it was
            self._connection.poll()

    def written(self, statement: str, parameters: Mapping[str, object]) -> bytes:
        """Return a statement with its parameters in it."""
        written: bytes = self._cursor.mogrify(statement, parameters)
        return written

    def ask(self, statements: bytes | str, limit: float = inf) -> Deferred[Any]:
        """
        Send statements; the Deferred gives psycopg2's cursor with the answer to the last one.

        `limit` is for those that are worth waiting for less long than the deadline. The Deferred
        must not be cancelled; see `or_close`.
        """
        self._limit = min(limit, self._deadline)
        try:
            self._cursor.execute(statements)
        except psycopg2.Error:
            return fail()
        self._watch_over()
        answered = self._answered = Deferred(self._cancel)
        self._advance()
        return answered

    def or_close(self, answered: Deferred[Any]) -> Deferred[Any]:
        """
        Return a Deferred that gives the same, and may be cancelled, which closes the connection.

        txpostgres may have decided already to fire its own, in the next turn, whatever happens until then.
        """
        waiting: Deferred[Any] = Deferred(lambda _: self.close())
        answered.addBoth(lambda result: None if waiting.called else waiting.callback(result))
        return waiting

    def _advance(self) -> None:
        """Send what is left to be sent, or take what has come; at its end it is given to who waits for it."""
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            if self._answered is None:
                self.log.info("a connection to the ledger has ended: {error}", error=one_line(error))
            else:
                self._answer(Failure())
            return
        if state == POLL_WRITE:
            self.reactor.addWriter(self)
        elif state == POLL_OK and self._answered is not None:
            self._answer(self._cursor)

    def _answer(self, result: Any) -> None:
        """Whoever waits may ask the next thing at once: psycopg2 is done with this one."""
        answered, self._answered, self._busy_since = self._answered, None, None
        if answered is not None:
            answered.callback(result)

    def _watch_over(self) -> None:
        self._busy_since = self.reactor.seconds()
        if self._watch is None and self._deadline:
            self._watch = self.reactor.callLater(min(self._limit, _LOOK_EVERY), self._look)

    def _look(self) -> None:
        """
        Close the connection if it is overdue.

        One timer watches many statements: starting and stopping one for each costs more.
        """
        self._watch = None
        if self._busy_since is None:
            return
        left = self._busy_since + self._limit - self.reactor.seconds()
        if left > 0:
            self._watch = self.reactor.callLater(min(left, _LOOK_EVERY), self._look)
            return
        self.is_late = True
        self.close()

    def close(self) -> None:
        """Let go at once; whoever waits for an answer gets an error. Never blocks."""
        if self._has_closed:
            return
        self._has_closed = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._socket is not None:
            self._let_go(self._socket)
        elif self._connection is not None:
            super().close()
        self._answer(Failure(CONNECTION_DONE))
        self.when_closed(self)

    def _let_go(self, watched: socket.socket) -> None:
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        watched.close()
        if not self._connection.closed:
            self._connection.close()

    def doRead(self) -> None:
        """Take an answer, or what comes while nobody asks: notices, or the end of the connection."""
        if self._socket is None:
            super().doRead()
            return
        self._advance()
        if not self.is_closed:
            self.checkForNotifies()
        else:
            self.close()

    def doWrite(self) -> None:
        """Send more of a long statement."""
        if self._socket is None:
            super().doWrite()
            return
        self.reactor.removeWriter(self)
        self._advance()

    def connectionLost(self, reason: Failure) -> None:
        """
        Hear from the reactor that the other end has gone.

        What the server said before it went may still be there to be read.
        """
        if self._socket is None:
            super().connectionLost(reason)
            if not self._has_closed and self._pollingD is None:
                self.close()
        elif not self._has_closed:
            self._advance()
            self.close()

    def checkForNotifies(self) -> None:
        notices = self._connection.notifies
        while notices:
            self.when_told(notices.pop(0).payload)

    def _handleCancellation(self, failure: Failure) -> Failure:
        return failure

    def _cancel(self, _: Deferred[Any]) -> None:
        self.close()


def one_line(error: BaseException) -> str:
    """Return what libpq says, which often takes several lines for it."""
    return " ".join(str(error).split())
