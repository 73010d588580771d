"""The two bodies of an exchange: the one that goes up, and the one that comes back."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any
from typing import Protocol as Typed

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.bodies.sockets import Connection, connection_below, plain_connection
from s3orchestrator.bodies.splicing import outlet_of, pass_on
from s3orchestrator.errors import BodyAborted, IntegrityError


def unsent(transport: Any) -> int:
    """
    Return how many of the bytes we have written the other side has not acknowledged.

    They wait in Twisted's buffer and in the kernel's; on a slow line the latter holds
    minutes' worth, which must not be taken for a server that does not answer.
    """
    connection = connection_below(transport)
    if connection is None:
        return 0
    try:
        waiting = fcntl.ioctl(connection.socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):
        return 0  # closed meanwhile
    return int(connection.kept + struct.unpack("i", waiting)[0])


@implementer(IConsumer)
@define(eq=False)
class Upload:
    """
    Sends a body of known length, no faster than the socket takes it.

    `done` is called once, with None when every byte has been written or with what went
    wrong; not at all after `stop`. The head leaves together with the first bytes, or at
    once if none are there.
    """

    _body: IBodyProducer
    _transport: Any
    _done: Callable[[Failure | None], None]
    _head: bytes
    left: int = field(init=False)
    written: int = field(init=False, default=0)
    _produced: Deferred[None] | None = field(init=False, default=None)
    _failure: Failure | None = field(init=False, default=None)
    _over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.left = self._body.length

    def start(self) -> None:
        """Start the body."""
        self._transport.registerProducer(self._body, True)
        try:
            produced: Deferred[None] = self._body.startProducing(self)
        except Exception:
            produced = fail(Failure())
        self._produced = produced
        if self._head:
            self._send(b"")
        produced.addCallbacks(self._complete, self._failed)
        if self._over or self._failure is not None:  # ended before there was a Deferred
            produced.cancel()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Bodies don't; the transport knows the body already."""

    def unregisterProducer(self) -> None:
        """See `registerProducer`."""

    def write(self, data: bytes) -> None:
        """Take bytes from the body."""
        if self._over or self._failure is not None:
            return
        if len(data) > self.left:
            self._failure = Failure(IntegrityError("a body is longer than its length"))
            if self._produced is not None:
                self._produced.cancel()
            return
        self.left -= len(data)
        self._send(data)

    def outlet(self) -> Connection | None:
        """See `Passage`."""
        if self._over or self._failure is not None or self._head or not self.left:
            return None
        return plain_connection(self._transport)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        self.left -= count
        self.written += count

    def stop(self) -> None:
        """Stop the body; nobody needs it any more."""
        if self._over:
            return
        self._over = True
        self._transport.unregisterProducer()
        self._body.stopProducing()
        if self._produced is not None:
            self._produced.cancel()  # so that whoever waits for it unwinds

    def _send(self, data: bytes) -> None:
        data, self._head = self._head + data if self._head else data, b""
        self.written += len(data)
        self._transport.write(data)

    def _complete(self, _: None) -> None:
        if self.left:
            self._failure = self._failure or Failure(IntegrityError("a body ended before its length"))
        self._end(self._failure)

    def _failed(self, failure: Failure) -> None:
        self._end(self._failure or failure)

    def _end(self, failure: Failure | None) -> None:
        if not self._over:
            self._over = True
            self._transport.unregisterProducer()
            self._done(failure)


class Source(Typed):
    """What the body of a reply asks of its connection."""

    def hold(self) -> None:
        """Read no more for now."""

    def go_on(self) -> None:
        """Read again."""

    def discard_body(self, body: ReplyBody) -> None:
        """Nobody wants the rest."""


@implementer(IBodyProducer)
@define(eq=False)
class ReplyBody:
    """
    The body of a reply, as it comes.

    Until it is started the connection stands still, so that at most one read is kept.
    Stopping it closes the connection: the bytes that are still to come are nobody's.
    """

    _source: Source
    length: Any  # Twisted's sentinel for the unknown is a string
    started: bool = field(init=False, default=False)
    paused: bool = field(init=False, default=False)
    _consumer: IConsumer | None = field(init=False, default=None)
    _kept: list[bytes] = field(init=False, factory=list)
    _produced: Deferred[None] | None = field(init=False, default=None)
    _ended: bool = field(init=False, default=False)
    _failure: Failure | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Deliver what has come, and then what comes."""
        if self._stopped:
            return fail(BodyAborted("stopped before it was started"))
        self.started = True
        self._consumer = consumer
        produced = self._produced = Deferred(lambda _: self.stopProducing())
        kept, self._kept = self._kept, []
        for data in kept:
            self.deliver(data)
        if self._ended:
            self._fire()
        elif not self.paused and not self._stopped:
            self._source.go_on()
        return produced

    def pauseProducing(self) -> None:
        """Deliver no more for now; may be called before the start."""
        self.paused = True
        if not self._ended:
            self._source.hold()

    def resumeProducing(self) -> None:
        """Deliver again."""
        self.paused = False
        if self.started and not self._ended:
            self._source.go_on()

    def stopProducing(self) -> None:
        """Want no more; may come twice."""
        self._stopped = True
        self._consumer = None
        self._kept = []
        if not self._ended:
            self._ended = True
            self._source.discard_body(self)

    def wait(self) -> None:
        """Stand still unless somebody has asked for the bytes."""
        if not self.started and not self._ended:
            self._source.hold()

    def outlet(self) -> Connection | None:
        """See `Passage`; nowhere before somebody has asked for the bytes."""
        return outlet_of(self._consumer)

    def passed(self, count: int) -> None:
        """See `Passage`."""
        pass_on(self._consumer, count)

    def deliver(self, data: bytes) -> None:
        """Take bytes from the connection."""
        if self._consumer is not None:
            self._consumer.write(data)
        elif not self._stopped:
            self._kept.append(data)

    def end(self, failure: Failure | None) -> None:
        """All has come, or nothing more will."""
        self._ended = True
        self._failure = failure
        if self.started:
            self._fire()

    def _fire(self) -> None:
        produced, self._produced = self._produced, None
        self._consumer = None
        if produced is None or produced.called or self._stopped:
            return
        if self._failure is not None:
            produced.errback(self._failure)
        else:
            produced.callback(None)
