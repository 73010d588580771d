"""
A relay between an orchestrator and something it talks to, which can be told to misbehave.

It knows TCP and nothing else, so it stands in front of S3 services as well as databases. It has
a thread and a reactor of its own; its methods may be called from any other thread, and have
taken effect when they return.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

T = TypeVar("T")

HOST = "127.0.0.1"


class Way(Enum):
    """Which way bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Act(Enum):
    """What is done to a connection."""

    CUT = "both ends are closed; reset, if nothing was to pass before"
    STALL = "nothing passes any more, in that direction, until `heal`: then it does, if too late"
    DELAY = "everything passes later, in that direction"


@frozen
class Fault:
    """
    Something to happen once, to the first connection on which the client sends data with `on` in it.

    From that data on, `after` bytes pass in direction `way` as usual. Cutting the way to the client
    after no byte loses an answer: the server has done what it was asked.
    """

    act: Act
    way: Way = Way.TO_SERVER
    after: int = 0
    on: bytes = b""
    seconds: float = 0.0


def lost_answer(on: bytes = b"") -> Fault:
    """Return the fault that lets the server act, and nobody hear of it."""
    return Fault(Act.CUT, Way.TO_CLIENT, 0, on)


@define(eq=False)
class _Pair:
    """A client's connection and the one that was made for it."""

    relay: Relay
    ends: dict[Way, _End] = field(init=False, factory=dict)
    fault: Fault | None = field(init=False, default=None)
    held: list[tuple[Way, bytes]] = field(init=False, factory=list)
    _left: int = field(init=False, default=0)
    _is_over: bool = field(init=False, default=False)
    _has_lost: bool = field(init=False, default=False)

    def take(self, way: Way, data: bytes) -> None:
        """Bytes have come that want to go that way."""
        if self._is_over:
            return
        if self.fault is None and way is Way.TO_SERVER:
            self.fault = self.relay._meets(data)
            self._left = self.fault.after if self.fault else 0
        fault = self.fault
        if fault is None or fault.way is not way:
            self.give(way, data)
            return
        passing, rest = data[: self._left], data[self._left :]
        self._left -= len(passing)
        if passing:
            self.give(way, passing)
        if rest:
            self._misbehave(fault, way, rest)

    def _misbehave(self, fault: Fault, way: Way, data: bytes) -> None:
        if fault.act is Act.CUT and fault.after:
            self._close()  # a reset would overtake what has passed
        elif fault.act is Act.CUT:
            self.cut()
        elif fault.act is Act.STALL:
            self.held.append((way, data))
        else:
            self.relay._reactor.callLater(fault.seconds, self.give, way, data)

    def give(self, way: Way, data: bytes) -> None:
        """Pass bytes on; to an end that has gone they are lost."""
        end = self.ends.get(way)
        if end is not None and end.transport is not None:
            end.transport.write(data)

    def _close(self) -> None:
        self._is_over = True
        for end in list(self.ends.values()):
            if end.transport is not None:
                end.transport.unregisterProducer()
                end.transport.loseConnection()

    def cut(self) -> None:
        """Reset both ends."""
        self._is_over = True
        self.held.clear()
        for end in list(self.ends.values()):
            if end.transport is not None:
                end.transport.abortConnection()

    def heal(self) -> None:
        """Pass on what was held, though nobody may be waiting for it any more."""
        held, self.held, self.fault = self.held, [], None
        for way, data in held:
            self.give(way, data)
        self._close_if_over()

    def lost(self, way: Way) -> None:
        """The end that bytes of that way go to has gone; what is held for the other is not forgotten."""
        self._has_lost = True
        self.ends.pop(way, None)
        if not self.ends:
            self.relay._pairs.discard(self)
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._has_lost and len(self.ends) == 1 and not self.held:
            self._close()


class _End(Protocol):
    """One end of a pair; `way` is the direction of the bytes that are written to it."""

    transport: Any  # of TCP, which can do more than the interface says

    def __init__(self, pair: _Pair, way: Way) -> None:
        self.pair = pair
        self.way = way

    def connectionMade(self) -> None:
        """Be part of the pair; whoever writes too fast to the other end is paused."""
        self.transport.setTcpNoDelay(True)
        self.pair.ends[self.way] = self

    def dataReceived(self, data: bytes) -> None:
        """Pass it on to the other end."""
        other = Way.TO_CLIENT if self.way is Way.TO_SERVER else Way.TO_SERVER
        self.pair.take(other, data)

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """Be part of nothing any more."""
        self.pair.lost(self.way)


@implementer(IPushProducer)
@frozen(eq=False)
class _Pace:
    """The other end, to be paused and resumed. It is not stopped: what it has sent may be on its way yet."""

    _transport: Any

    def pauseProducing(self) -> None:
        """Read nothing for a while."""
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on reading."""
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """Whoever wrote to this end has gone; the pair knows."""


class _Accepted(_End):
    """A client's end; nothing is read before there is somebody to read it for."""

    def connectionMade(self) -> None:
        """Dial the server."""
        super().connectionMade()
        relay = self.pair.relay
        relay._pairs.add(self.pair)
        self.transport.pauseProducing()
        dialling = TCP4ClientEndpoint(relay._reactor, HOST, relay.server_port, 10).connect(
            Factory.forProtocol(lambda: _End(self.pair, Way.TO_SERVER))
        )
        dialling.addCallbacks(self._joined, lambda _: self.pair.cut())

    def _joined(self, server: _End) -> None:
        if self.pair.ends.get(Way.TO_CLIENT) is not self:
            server.transport.loseConnection()
            return
        server.transport.registerProducer(_Pace(self.transport), True)
        self.transport.registerProducer(_Pace(server.transport), True)
        self.transport.resumeProducing()


@define(eq=False)
class Relay:
    """Listens on `port` once started, for what is to go to `server_port` of this machine."""

    server_port: int
    port: int = 0
    _reactor: Any = field(init=False, factory=EPollReactor)
    _faults: list[Fault] = field(init=False, factory=list)
    _met: int = field(init=False, default=0)
    _pairs: set[_Pair] = field(init=False, factory=set)
    _listening: IListeningPort | None = field(init=False, default=None)

    def start(self) -> Relay:
        """Relay from now on, until `stop` or the end of the program."""
        Thread(
            target=self._reactor.run,
            kwargs={"installSignalHandlers": False},
            name=f"relay to {self.server_port}",
            daemon=True,
        ).start()
        self._do(self._listen)
        return self

    @property
    def met(self) -> int:
        """How many of the faults have happened."""
        return self._met

    def inject(self, *faults: Fault) -> None:
        """Let these happen, one after the other."""
        self._do(lambda: self._faults.extend(faults))

    def refuse(self) -> None:
        """Be away: reset what there is, and refuse connections until `heal`."""
        self._do(self._go_away)

    def cut_all(self) -> None:
        """Reset every connection."""
        self._do(self._cut_all)

    def heal(self) -> None:
        """Behave from now on; what was held is passed on."""
        self._do(self._heal)

    def stop(self) -> None:
        """Let go of everything."""
        self._do(self._go_away)
        self._reactor.callFromThread(self._reactor.stop)

    def _meets(self, data: bytes) -> Fault | None:
        if self._faults and self._faults[0].on in data:
            self._met += 1
            return self._faults.pop(0)
        return None

    def _listen(self) -> None:
        if self._listening is None:
            factory = Factory.forProtocol(lambda: _Accepted(_Pair(self), Way.TO_CLIENT))
            factory.noisy = False
            listening = self._reactor.listenTCP(self.port, factory, interface=HOST)
            self._listening, self.port = listening, listening.getHost().port

    def _go_away(self) -> None:
        if self._listening is not None:
            self._listening.stopListening()
            self._listening = None
        self._cut_all()

    def _cut_all(self) -> None:
        for pair in list(self._pairs):
            pair.cut()

    def _heal(self) -> None:
        self._faults.clear()
        for pair in list(self._pairs):
            pair.heal()
        self._listen()

    def _do(self, work: Callable[[], T]) -> T:
        """Do something in the relay's thread, and wait until it is done."""
        done: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

        def run() -> None:
            try:
                done.put((work(), None))
            except Exception as error:
                done.put((None, error))

        self._reactor.callFromThread(run)
        result, error = done.get(timeout=10)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
