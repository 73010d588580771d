"""One request and its reply, between those who ask and the connection that serves them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from typing import Protocol as Typed

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from s3orchestrator.bodies.sources import BytesBody

if TYPE_CHECKING:
    from s3orchestrator.backends.connection import Connection
    from s3orchestrator.bodies.splicing import Splicer


@frozen
class Timeouts:
    """
    Seconds a backend may take: to accept a connection or give the first byte of a reply
    (`answer`), and between two signs of life while a body moves (`silence`).
    """

    answer: float = 30.0
    silence: float = 60.0


@define(eq=False)
class Reply:
    """
    A reply whose head is in. The body must be started or stopped.

    `resent`: the request was sent twice, so that it may have had its effect before.
    """

    status: int
    phrase: bytes
    headers: dict[bytes, bytes]
    body: IBodyProducer
    resent: bool = False


@define(eq=False)
class Exchange:
    """
    One request, until its reply is in.

    `head` is everything before the body; `asks` tells that it asks for leave to send the
    body, which is then not started before the server gives it or has had its time. `begun`:
    the body has been started.
    """

    method: bytes
    head: bytes
    body: IBodyProducer | None
    repeatable: bool
    asks: bool
    answered: Deferred[Reply] = field(init=False)
    deadline: float = inf
    connection: Connection | None = None
    attempts: int = 0
    begun: bool = False

    @property
    def may_be_sent_again(self) -> bool:
        """Whether the whole request is still here."""
        return self.repeatable and self.attempts == 1 and (not self.begun or isinstance(self.body, BytesBody))


class Owner(Typed):
    """What a connection tells the pool it belongs to."""

    name: str
    clock: IReactorTime
    timeouts: Timeouts
    requests_sent: int  # by all connections, ever
    splicer: Splicer | None  # None: bodies are copied

    def opened(self, connection: Connection) -> None:
        """It exists; TLS may still have to shake hands."""

    def ready(self, connection: Connection) -> None:
        """It can take an exchange."""

    def lost(self, connection: Connection, failure: Failure) -> None:
        """It is no more. If it never became ready, `failure` says why."""

    def asked(self, *, answered: bool) -> None:
        """It was asked for leave to send a body, and said yes, or nothing in time."""

    def retry(self, exchange: Exchange) -> None:
        """The connection had been kept for too long: this request got no byte of a reply."""
