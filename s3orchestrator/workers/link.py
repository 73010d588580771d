"""
Questions and answers between two processes of ours, over a pair of connected Unix sockets.

Both ends may ask. A message is a length and a value (see `values`); those of one turn of the
reactor leave together.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping
from struct import Struct
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from s3orchestrator.bodies.sockets import UnixServer
from s3orchestrator.errors import OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.workers.values import dumps, loads

# The largest are the lines of the log that an operator asks for: 24 MiB, if all of them are in emoji. Batches
# of a thousand keys, and lists of ten thousand parts, are of a few.
MAX_MESSAGE = 32 << 20

_LENGTH = Struct("!I")
_ASK, _TELL, _ANSWER, _REFUSAL, _CANCEL = range(5)

Handler = Callable[..., object]
Unheard = Callable[[Any], object]


class FailedElsewhere(Exception):
    """The other process failed in a way that nobody foresaw; its log says how."""


def _ignore(_: object) -> None:
    """Nothing is to be done."""


@define(eq=False)
class _Question:
    """What was asked: who waits, and what is done with an answer that comes after they left."""

    waiting: Deferred[Any]
    unheard: Unheard


@define(eq=False)
class Link(Protocol):
    """
    One end.

    `handlers` are what the other end may ask for or tell, by name; each gets the arguments and
    may return a value, a Deferred or a coroutine. `lost` is called, once, when the other end
    has gone, or has said what nobody understands; before that every question that is
    open has failed.
    """

    log = make_logger()
    _handlers: Mapping[str, Handler]
    _lost: Callable[[], object]
    _reactor: Any
    _open: dict[int, _Question] = field(init=False, factory=dict)
    _running: dict[int, Deferred[Any]] = field(init=False, factory=dict)
    _number: int = field(init=False, default=0)
    _pieces: list[bytes] = field(init=False, factory=list)
    _missing: int = field(init=False, default=0)
    _to_send: list[bytes] = field(init=False, factory=list)
    _wire: Any = field(init=False, default=None)
    _is_connected: bool = field(init=False, default=False)

    @property
    def is_connected(self) -> bool:
        """Tell whether the other end may hear us."""
        return self._is_connected

    def ask(self, name: str, *args: Any, unheard: Unheard = _ignore) -> Deferred[Any]:
        """
        Ask the other end; its own errors are raised here as what they are.

        Cancelling lets the asker go at once and cancels what the other end does about it. If it
        had done it by then, `unheard` is called with its answer.

        :raises StoreUnavailable: there is nobody to ask.
        :raises TransactionUnclear: the other end has gone after it was asked.
        :raises FailedElsewhere: something that is no error of ours was raised there.
        """
        self._number = number = self._number + 1
        waiting: Deferred[Any] = Deferred(lambda _: self._leave(number))
        if not self._is_connected:
            waiting.errback(StoreUnavailable("the process at the other end is away"))
            return waiting
        self._say((_ASK, number, name, args))
        self._open[number] = _Question(waiting, unheard)
        return waiting

    def tell(self, name: str, *args: Any) -> None:
        """Let the other end know, if there is one."""
        if self._is_connected:
            self._say((_TELL, name, args))

    def close(self) -> None:
        """Hang up, once all that was said has been sent."""
        self._flush()
        if self._is_connected:
            self._wire.loseConnection()

    # --- the connection

    def connectionMade(self) -> None:
        """Begin."""
        self._wire = self.transport
        self._is_connected = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let everybody go who waits for an answer, and nobody work for who is gone."""
        self._is_connected = False
        self._to_send.clear()
        for running in tuple(self._running.values()):
            running.cancel()
        asked, self._open = self._open, {}
        for question in asked.values():
            if not question.waiting.called:
                question.waiting.errback(TransactionUnclear("the process at the other end went away"))
        self._lost()

    def dataReceived(self, data: bytes) -> None:
        """Act on each message that is whole."""
        if self._pieces:
            # Joined once there is enough: a long message comes in many pieces.
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._pieces = b"".join(self._pieces), []
        try:
            self._act_on(data)
        except Exception as error:
            self.log.error("what another process said cannot be understood: {error}", error=repr(error))
            self._wire.abortConnection()

    def _act_on(self, data: bytes) -> None:
        start, end = 0, len(data)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAX_MESSAGE:
                raise ValueError(f"a message of {length} bytes")
            if end - start - _LENGTH.size < length:
                self._missing = length + _LENGTH.size - (end - start)
                break
            start += _LENGTH.size + length
            self._heard(*loads(data[start - length : start]))
        else:
            self._missing = _LENGTH.size - (end - start)
        if start < end:
            self._pieces = [data[start:]]

    def _say(self, message: tuple[Any, ...]) -> None:
        data = dumps(message)
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"{len(data)} bytes are too much for one message")
        if not self._to_send:
            self._reactor.callLater(0, self._flush)
        self._to_send += _LENGTH.pack(len(data)), data

    def _flush(self) -> None:
        if self._to_send:
            said, self._to_send = b"".join(self._to_send), []
            self._wire.write(said)

    # --- what is heard

    def _heard(self, kind: int, *message: Any) -> None:
        _HEARD[kind](self, *message)

    def _answered(self, number: int, answer: Any) -> None:
        question = self._open.pop(number)
        if question.waiting.called:
            self._do(question.unheard, (answer,))
        else:
            question.waiting.callback(answer)

    def _refused(self, number: int, error: Exception | str) -> None:
        waiting = self._open.pop(number).waiting
        if not waiting.called:
            waiting.errback(FailedElsewhere(error) if isinstance(error, str) else error)

    def _leave(self, number: int) -> None:
        # Whoever waits is let go by Twisted; the question stays open until it is answered.
        if self._is_connected:
            self._say((_CANCEL, number))

    def _cancelled(self, number: int) -> None:
        running = self._running.get(number)
        if running is not None:
            running.cancel()

    def _told(self, name: str, args: tuple[Any, ...]) -> None:
        self._do(self._handlers[name], args)

    def _do(self, act: Handler, args: tuple[Any, ...]) -> None:
        """Do what nobody waits for."""
        _begun(act, args).addErrback(self._complain)

    def _complain(self, failure: Failure) -> None:
        self.log.failure("what was done about a message failed", failure=failure)

    def _asked(self, number: int, name: str, args: tuple[Any, ...]) -> None:
        if number in self._running:
            raise ValueError(f"question {number} is being answered")
        self._running[number] = answer = _begun(self._handlers[name], args)
        answer.addCallbacks(self._answer, self._refuse, callbackArgs=(number,), errbackArgs=(number,))
        answer.addErrback(self._unsaid, number)

    def _answer(self, answer: Any, number: int) -> None:
        del self._running[number]
        if self._is_connected:
            self._say((_ANSWER, number, answer))

    def _refuse(self, failure: Failure, number: int) -> None:
        del self._running[number]
        if not self._is_connected:
            return
        error: Any = failure.value
        if not isinstance(error, (OrchestratorError, S3Error)):
            if not isinstance(error, CancelledError):
                self.log.failure("what another process asked for failed", failure=failure)
            error = repr(error)
        self._say((_REFUSAL, number, error))

    def _unsaid(self, failure: Failure, number: int) -> None:
        """Something in an answer can be told nobody."""
        self.log.failure("an answer to another process cannot be sent", failure=failure)
        self._say((_REFUSAL, number, repr(failure.value)))


def _begun(handler: Handler, args: tuple[Any, ...]) -> Deferred[Any]:
    try:
        answer = handler(*args)
    except Exception:
        return fail()
    if isinstance(answer, Coroutine):
        return Deferred.fromCoroutine(answer)
    return answer if isinstance(answer, Deferred) else succeed(answer)


_HEARD: Mapping[int, Callable[..., None]] = {
    _ASK: Link._asked,
    _TELL: Link._told,
    _ANSWER: Link._answered,
    _REFUSAL: Link._refused,
    _CANCEL: Link._cancelled,
}


def join(link: Link, ours: socket.socket, reactor: Any) -> None:
    """Let `link` speak through a connected socket, which is closed here and goes on by itself."""
    ours.setblocking(False)
    adopt: Callable[..., object] = UnixServer._fromConnectedSocket
    with ours:
        adopt(ours.fileno(), Factory.forProtocol(lambda: link), reactor)
