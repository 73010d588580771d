"""Pipes between sockets: what is in them, how many there are, and when there is none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from fcntl import F_GETPIPE_SZ, fcntl
from unittest.mock import patch

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from s3orchestrator.bodies.sockets import Connection
from s3orchestrator.bodies.splicing import LEAST_SIZE, MOST_IDLE, PIPE_SIZE, SPARED, Pipe, Pipes, Splicer

DATA = bytes(range(256)) * 256


def pair(kind: socket.AddressFamily = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection; ours, which never waits, and the other's."""
    if kind is socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            theirs = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
    ours.setblocking(False)
    theirs.settimeout(10)
    return ours, theirs


def is_open(pipe: Pipe) -> bool:
    try:
        os.fstat(pipe._entry)
    except OSError:
        return False
    return True


class PipesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pipes = Pipes()
        self.addCleanup(lambda: self.pipes.close())

    def take(self) -> Pipe:
        pipe = self.pipes.take()
        assert pipe is not None
        return pipe

    def test_size(self) -> None:
        """A pipe is as large as the kernel lets us have it, and its ends are not given to other programs."""
        pipe = self.take()
        self.assertEqual(pipe.size, fcntl(pipe._entry, F_GETPIPE_SZ))
        self.assertGreaterEqual(pipe.size, LEAST_SIZE)
        self.assertLessEqual(pipe.size, PIPE_SIZE)
        self.assertFalse(os.get_inheritable(pipe._entry) or os.get_inheritable(pipe._exit))
        pipe.release()

    def test_used_again(self) -> None:
        """An empty pipe serves the next."""
        pipe = self.take()
        pipe.release()
        self.assertIs(self.take(), pipe)
        pipe.release()

    def test_with_bytes_left(self) -> None:
        """A pipe with bytes in it is closed, lest they come out among another's."""
        ours, theirs = pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        theirs.sendall(b"left")
        pipe = self.take()
        self.assertEqual(pipe.fill(ours.fileno(), 100), 4)
        pipe.release()
        self.assertFalse(is_open(pipe))
        self.assertIsNot(self.take(), pipe)

    def test_bounded(self) -> None:
        """There are only so many at a time, and fewer are kept."""
        self.pipes = Pipes(MOST_IDLE + 2)
        taken = [self.take() for _ in range(MOST_IDLE + 2)]
        self.assertIsNone(self.pipes.take())
        for pipe in taken:
            pipe.release()
        self.assertEqual(sum(map(is_open, taken)), MOST_IDLE)
        self.assertEqual(len([self.take() for _ in range(MOST_IDLE + 2)]), MOST_IDLE + 2)

    def test_closed(self) -> None:
        """Those that are in use when it is closed follow when they come back; there are no more."""
        kept, used = self.take(), self.take()
        kept.release()
        self.pipes.close()
        self.assertFalse(is_open(kept))
        self.assertTrue(is_open(used))
        used.release()
        self.assertFalse(is_open(used))
        self.assertIsNone(self.pipes.take())

    def test_none_to_be_had(self) -> None:
        """When none could be made it is not tried each time, but it is tried again."""
        with patch("os.pipe2", side_effect=OSError(errno.EMFILE, "too many")) as made:
            self.assertEqual([self.pipes.take() for _ in range(SPARED + 1)], [None] * (SPARED + 1))
        made.assert_called_once()
        self.take().release()


class PipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pipes = Pipes()
        self.addCleanup(self.pipes.close)
        pipe = self.pipes.take()
        assert pipe is not None
        self.pipe = pipe
        self.addCleanup(self.pipe.release)
        self.source, self.sender = self.sockets()
        self.sink, self.receiver = self.sockets()

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        both = pair()
        for one in both:
            self.addCleanup(one.close)
        return both

    def fill(self, most: int = PIPE_SIZE) -> int:
        return self.pipe.fill(self.source.fileno(), most)

    def test_passes(self) -> None:
        """What comes in at one socket goes out at the other, and no more than is asked for."""
        self.sender.sendall(DATA + b"rest")
        received = b""
        while len(received) < len(DATA):
            self.fill(len(DATA) - len(received))
            while self.pipe.held:
                self.pipe.drain(self.sink.fileno())
                received += self.receiver.recv(len(DATA))
        self.assertEqual(received, DATA)
        self.assertEqual(self.source.recv(10), b"rest")

    def test_nothing_there(self) -> None:
        """Nothing has come yet."""
        self.assertEqual((self.fill(), self.pipe.held), (0, 0))
        self.assertRaises(BlockingIOError, self.source.recv, 1)

    def test_the_end(self) -> None:
        """A socket that has ended gives nothing, and still says that it has."""
        self.sender.close()
        self.assertEqual(self.fill(), 0)
        self.assertEqual(self.source.recv(1), b"")

    def test_lost(self) -> None:
        """A connection that was reset is lost, and splice is not to blame."""
        self.sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sender.close()
        error = self.assertRaises(OSError, self.fill)
        self.assertFalse(self.pipe.refused(error))

    def test_full(self) -> None:
        """A socket that takes no more keeps the rest waiting; all of it can be taken out again."""
        self.sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        try:
            while True:
                self.sink.send(DATA)
        except BlockingIOError:
            pass
        self.sender.sendall(b"waiting")
        self.fill()
        self.assertRaises(BlockingIOError, self.pipe.drain, self.sink.fileno())
        self.assertEqual(self.pipe.held, 7)
        self.assertEqual(self.pipe.empty(), b"waiting")

    def test_cannot(self) -> None:
        """What cannot be spliced is not tried again, by nobody."""
        with patch("os.splice", side_effect=OSError(errno.ENOSYS, "not here")):
            self.assertEqual(self.fill(), 0)
        self.assertIsNone(self.pipes.take())


@implementer(IPushProducer)
@define(eq=False)
class Told:
    """What a connection tells its producer."""

    told: list[str] = field(factory=list)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@define(eq=False)
class Body:
    """A body on its way to `to`, if that is not None."""

    left: int
    to: Connection | None = None
    gone: int = 0
    seen: bytes = b""
    react: Callable[[], None] = lambda: None

    def still_to_come(self) -> int:
        return self.left

    def outlet(self) -> Connection | None:
        return self.to

    def passed(self, count: int) -> None:
        self.left -= count
        self.gone += count
        self.react()

    # As protocol of the connection that it comes from.

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        self.seen += data

    def connectionLost(self, reason: object) -> None: ...


class Reactor(MemoryReactor):
    """One that nobody turns but the tests."""

    def seconds(self) -> float:
        return 0.0


class SpliceTestCase(SynchronousTestCase):
    """Has a body from one connection to another; the tests are the reactor."""

    family = socket.AF_INET

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.splicer = Splicer(least=1)
        self.addCleanup(self.splicer.close)
        self.source, self.sender = self.connection()
        self.sink, self.receiver = self.connection()
        self.producer = Told()
        self.sink.registerProducer(self.producer, True)  # type: ignore[no-untyped-call]
        self.body = Body(1 << 30, self.sink)
        self.source.protocol = self.sink.protocol = self.body  # type: ignore[assignment]
        self.splicer.offer(self.source, self.body, "upload")

    def connection(self) -> tuple[Connection, socket.socket]:
        ours, theirs = pair(self.family)
        connection = Connection(ours, None, self.reactor)  # type: ignore[no-untyped-call,arg-type]
        connection.connected = 1
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        return connection, theirs

    def choke(self) -> bytes:
        """Fill what the sink's socket takes; returns that."""
        self.sink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        taken = 0
        try:
            while True:
                taken += self.sink.socket.send(DATA)
        except BlockingIOError:
            return (DATA * (taken // len(DATA) + 1))[:taken]

    def receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            if self.sink.is_waiting:
                self.sink.doWrite()
            self.receiver.settimeout(0.01 if self.sink.is_waiting else 10)
            try:
                received += self.receiver.recv(count - len(received))
            except TimeoutError:
                continue
        return received


class SpliceTests(SpliceTestCase):
    """What becomes of a body, and of the connections."""

    def test_passes_unseen(self) -> None:
        """What comes goes on, and is counted."""
        self.sender.sendall(b"unseen")
        self.source.doRead()
        self.assertEqual((self.receiver.recv(10), self.body.gone, self.body.seen), (b"unseen", 6, b""))
        self.assertEqual(self.producer.told, [])

    def test_no_more_than_the_body(self) -> None:
        """What follows the body stays where it is."""
        self.body.left = 4
        self.body.react = lambda: self.splicer.retract(self.source) if not self.body.left else None
        self.sender.sendall(b"bodynext")
        while self.body.left:
            self.source.doRead()
        self.assertEqual(self.receiver.recv(10), b"body")
        self.assertTrue(self.source.has_more())
        self.source.doRead()
        self.assertEqual(self.body.seen, b"next")
        self.assertFalse(self.source.has_more())

    def test_nowhere_to_go(self) -> None:
        """Bytes that somebody wants to see are read."""
        self.body.to = None
        self.sender.sendall(b"seen")
        self.source.doRead()
        self.assertEqual(self.body.seen, b"seen")

    def test_not_before_what_was_written(self) -> None:
        """While something waits to be sent, what comes is read: it must not overtake."""
        self.choke()
        self.sink.write(b"first")
        self.sender.sendall(b"second")
        self.source.doRead()
        self.assertEqual(self.body.seen, b"second")

    def test_too_small(self) -> None:
        """What is smaller than pays is not even offered."""
        self.splicer.retract(self.source)
        Splicer(least=100).offer(self.source, Body(99, self.sink), "upload")
        self.assertIsNone(self.source.splice)

    def test_encrypted(self) -> None:
        """A connection on whose socket is something else is left alone."""
        self.source.is_plain = False
        self.splicer.retract(self.source)
        self.splicer.offer(self.source, self.body, "upload")
        self.assertIsNone(self.source.splice)

    def test_nothing_and_the_end(self) -> None:
        """Nothing is no end; the end is told as ever."""
        self.assertIsNone(self.source.doRead())
        self.sender.close()
        self.assertIsNotNone(self.source.doRead())

    def test_slow_sink(self) -> None:
        """The producer is paused until all has gone; what is written meanwhile follows."""
        before = self.choke()
        self.sender.sendall(b"piped ")
        self.source.doRead()
        self.assertEqual((self.body.gone, self.producer.told), (6, ["pause"]))
        self.assertTrue(self.sink.is_waiting)
        self.assertEqual(self.sink.kept, 6)
        self.assertFalse(self.sink.sends_at_once)
        self.assertIn(self.sink, self.reactor.getWriters())
        self.sink.write(b"written")
        self.assertEqual(self.sink.kept, 13)
        expected = before + b"piped written"
        self.assertEqual(self.receive(len(expected)), expected)
        self.assertEqual((self.sink.is_waiting, self.sink.kept), (False, 0))
        self.assertEqual(self.producer.told[-1], "resume")

    def test_closed_when_all_is_sent(self) -> None:
        """Closing waits for what is in the pipe."""
        before = self.choke()
        self.sender.sendall(b"last")
        self.source.doRead()
        self.sink.unregisterProducer()
        self.sink.loseConnection()
        self.assertIsNone(self.sink.doWrite())
        self.assertEqual(self.receive(len(before) + 4), before + b"last")

    def test_sink_lost(self) -> None:
        """A pipe goes with the connection whose bytes it holds, and a lost connection takes no more."""
        self.choke()
        self.sender.sendall(b"lost")
        self.source.doRead()
        pipe = self.sink._pipe
        assert pipe is not None
        self.sink.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(is_open(pipe))
        self.assertEqual(self.producer.told[-1], "stop")
        self.sender.sendall(b"more")
        self.source.doRead()
        self.assertEqual(self.body.seen, b"more")

    def test_sink_reset(self) -> None:
        """That nobody takes it any more is told to whoever writes, not to whoever reads."""
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.receiver.close()
        self.sender.sendall(b"in vain")
        self.assertIsNone(self.source.doRead())
        self.assertIsInstance(self.sink.doWrite(), Exception)

    def test_refused_half_way(self) -> None:
        """What cannot be spliced out of the pipe any more is taken out, and sent in its place."""
        before = self.choke()
        self.sender.sendall(b"piped ")
        self.source.doRead()
        self.sink.write(b"written")
        with patch("os.splice", side_effect=OSError(errno.EINVAL, "no")):
            self.sink.doWrite()
        expected = before + b"piped written"
        self.assertEqual(self.receive(len(expected)), expected)


class UnixSpliceTests(SpliceTests):
    """The same between Unix sockets."""

    family = socket.AF_UNIX


class TcpTests(SpliceTestCase):
    """What there is between Unix sockets not, or not so much of."""

    def test_a_turn(self) -> None:
        """However much has come, others get their turn after a pipeful."""
        self.source.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * PIPE_SIZE)
        self.sender.setblocking(False)
        sent = 0
        try:
            while sent < 4 * PIPE_SIZE:
                sent += self.sender.send(DATA)
        except BlockingIOError:
            pass
        self.source.doRead()
        self.assertTrue(0 < self.body.gone <= PIPE_SIZE)
        self.assertTrue(self.source.has_more())

    def test_urgent(self) -> None:
        """A connection is not stuck at bytes that splice leaves alone; they are none of the body, as ever."""
        self.sender.send(b"before")
        self.sender.send(b"!", socket.MSG_OOB)
        self.sender.send(b"after")
        while self.source.has_more():
            seen = len(self.body.seen)
            self.source.doRead()
            self.sink.write(self.body.seen[seen:])
        self.assertEqual(self.receive(11), b"beforeafter")


class OrderTests(SpliceTestCase):
    """Nothing overtakes anything."""

    @given(st.lists(st.tuples(st.integers(1, 100_000), st.sampled_from(["splice", "copy"])), max_size=12))
    def test_in_order(self, steps: list[tuple[int, str]]) -> None:
        """Spliced or copied, and however slow the sink is: what goes out is what came in."""
        sent, received = b"", b""
        for number, (size, way) in enumerate(steps):
            data = bytes([number]) * size
            self.body.to = self.sink if way == "splice" else None
            self.sender.sendall(data)
            sent += data
            while self.body.gone + len(self.body.seen) < len(sent):
                seen = len(self.body.seen)
                self.source.doRead()
                self.sink.write(self.body.seen[seen:])
            if number % 2:
                received += self.receive(len(sent) - len(received))
        received += self.receive(len(sent) - len(received))
        self.body.gone, self.body.seen = 0, b""
        self.assertEqual(received, sent)
