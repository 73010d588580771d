"""Tests for the pace of bodies to and from files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.filebodies import BLOCK, BlockWriter, FileBody
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable, BlobChanged, BodyAborted
from tests.contracts.bodies import PausingConsumer
from tests.unit.backends.bodies import HandFed


@define(eq=False)
class ByHand:
    """Threads that do the next call when the test says so."""

    waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = field(init=False, factory=list)
    is_closed: bool = False

    def call(self, work: Callable[[], Any], undo: object = None) -> Deferred[Any]:
        if self.is_closed:
            raise BackendUnavailable("closed", sent=False)
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def clean_up(self, work: Callable[[], Any]) -> None:
        work()

    def go_on(self) -> None:
        work, done = self.waiting.pop(0)
        try:
            result = work()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)


class BlockWriterTests(SynchronousTestCase):
    """Tests for `BlockWriter`."""

    def setUp(self) -> None:
        self.threads: Any = ByHand()
        self.blocks: list[bytes] = []
        self.writer = BlockWriter(self.threads, self.write)

    def write(self, chunks: Sequence[bytes]) -> None:
        self.blocks.append(b"".join(chunks))

    def take(self, body: Any) -> Deferred[list[bytes]]:
        return start(self.writer.take(body))

    def test_small(self) -> None:
        """A body smaller than a block needs no thread."""
        self.assertEqual(self.successResultOf(self.take(BytesBody(b"small"))), [b"small"])
        self.assertEqual(self.threads.waiting, [])

    def test_slow_disk(self) -> None:
        """The body is paused while one block is on its way and another is full, and no sooner."""
        body = HandFed(4 * BLOCK)
        taking = self.take(body)
        body.feed(b"1" * BLOCK)
        self.assertFalse(body.paused)
        body.feed(b"2" * (BLOCK - 1))
        self.assertFalse(body.paused)
        body.feed(b"2")
        self.assertTrue(body.paused)
        self.assertEqual(len(self.threads.waiting), 1)
        self.threads.go_on()
        self.assertFalse(body.paused)
        body.feed(b"3" * BLOCK)
        self.assertTrue(body.paused)
        self.threads.go_on()
        self.threads.go_on()
        body.feed(b"4" * BLOCK)
        body.finish()
        self.assertNoResult(taking)
        self.threads.go_on()
        self.assertEqual(self.successResultOf(taking), [])
        self.assertEqual(self.blocks, [b"1" * BLOCK, b"2" * BLOCK, b"3" * BLOCK, b"4" * BLOCK])

    def test_full_disk(self) -> None:
        """A block that cannot be written stops the body, and is the reason of the failure."""
        body = HandFed(4 * BLOCK)
        full = self.enterContext(open("/dev/full", "wb", buffering=0))
        self.writer = BlockWriter(self.threads, lambda chunks: full.writelines(chunks))
        taking = self.take(body)
        body.feed(b"1" * BLOCK)
        self.threads.go_on()
        self.failureResultOf(taking, OSError)
        self.assertTrue(body.stops)

    def test_closed(self) -> None:
        """A backend that is closed in mid-body fails the transfer."""
        body = HandFed(4 * BLOCK)
        taking = self.take(body)
        self.threads.is_closed = True
        body.feed(b"1" * BLOCK)
        self.failureResultOf(taking, BackendUnavailable)
        self.assertTrue(body.stops)

    def test_too_short(self) -> None:
        """A body that ends before its length is no whole body."""
        body = HandFed(10)
        taking = self.take(body)
        body.feed(b"12345")
        body.finish()
        self.failureResultOf(taking, BodyAborted)


class FileBodyTests(SynchronousTestCase):
    """Tests for `FileBody`."""

    def setUp(self) -> None:
        self.threads: Any = ByHand()
        self.file = self.enterContext(TemporaryFile())
        self.consumer = PausingConsumer()

    def body(self, size: int, length: int | None = None, offset: int = 0) -> FileBody:
        self.data = os.urandom(size)
        self.file.write(self.data)
        self.file.flush()
        self.fd = os.dup(self.file.fileno())
        body = FileBody(length or size, self.fd, offset, self.threads, "disk")
        self.consumer.registerProducer(body, True)
        return body

    def assertClosed(self) -> None:
        with self.assertRaises(OSError):
            os.fstat(self.fd)

    def test_slow_consumer(self) -> None:
        """While the consumer is paused, one block is read ahead and no more."""
        produced = self.body(5 * BLOCK).startProducing(self.consumer)
        self.threads.go_on()
        self.assertEqual(self.consumer.size, BLOCK)
        self.threads.go_on()
        self.assertEqual(self.threads.waiting, [])
        self.assertEqual(self.consumer.size, BLOCK)
        while not produced.called:
            self.consumer.go_on()
            if self.threads.waiting:
                self.threads.go_on()
        self.assertEqual(b"".join(self.consumer.received), self.data)
        self.assertClosed()

    def test_range(self) -> None:
        """It delivers exactly the bytes that were asked for."""
        body = self.body(3 * BLOCK, length=BLOCK + 5, offset=7)
        produced = body.startProducing(self.consumer)
        while not produced.called:
            self.threads.go_on()
            self.consumer.go_on()
        self.assertEqual(b"".join(self.consumer.received), self.data[7 : 7 + BLOCK + 5])

    def test_stopped_while_reading(self) -> None:
        """The file is closed after the thread that reads it is done, and nothing is delivered."""
        body = self.body(3 * BLOCK)
        produced = body.startProducing(self.consumer)
        body.stopProducing()
        body.stopProducing()
        os.fstat(self.fd)
        self.threads.go_on()
        self.assertClosed()
        self.assertEqual(self.consumer.size, 0)
        self.assertNoResult(produced)

    def test_stopped_before_start(self) -> None:
        """A body nobody wants closes its file."""
        self.body(3 * BLOCK).stopProducing()
        self.assertClosed()

    def test_shrunk(self) -> None:
        """A file that becomes shorter fails the body: half an object is not a whole one."""
        body = self.body(3 * BLOCK)
        os.truncate(self.fd, BLOCK + 1)
        produced = body.startProducing(self.consumer)
        while not produced.called:
            self.consumer.go_on()
            self.threads.go_on()
        self.failureResultOf(produced, BlobChanged)
        self.assertClosed()

    def test_closed(self) -> None:
        """A backend that is closed in mid-body fails the transfer."""
        produced = self.body(3 * BLOCK).startProducing(self.consumer)
        self.threads.go_on()
        self.threads.go_on()
        self.threads.is_closed = True
        self.consumer.go_on()
        self.failureResultOf(produced, BackendUnavailable)
        self.assertClosed()
