"""Bodies to and from files: blocks in threads, at the pace of the slower side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.blocking import BlockingCalls
from s3orchestrator.backends.diskerrors import disk_errors
from s3orchestrator.bodies.filtered import pump
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable, BlobChanged, BodyAborted

# A trip to a thread costs about as much as moving this many bytes; twice it is what a transfer holds.
BLOCK = 256 * 1024


@implementer(IConsumer)
@define(eq=False)
class BlockWriter:
    """
    Takes one body and hands it on in blocks: one on its way, one being gathered.

    `write_block` is called in a thread, never twice at once. The last block is not handed to
    it, so that a small body needs no trip of its own.
    """

    _threads: BlockingCalls
    _write_block: Callable[[Sequence[bytes]], None]
    _gathered: list[bytes] = field(init=False, factory=list)
    _size: int = field(init=False, default=0)
    _received: int = field(init=False, default=0)
    _producer: IPushProducer | None = field(init=False, default=None)
    _is_paused: bool = field(init=False, default=False)
    _writing: Deferred[None] | None = field(init=False, default=None)
    _written: Deferred[None] | None = field(init=False, default=None)
    _pumping: Deferred[None] | None = field(init=False, default=None)
    _failure: Failure | None = field(init=False, default=None)

    async def take(self, body: IBodyProducer) -> list[bytes]:
        """
        Take all of `body`; returns its last bytes. Cancelling, or a block that fails, stops it.

        :raises BodyAborted: it was shorter or longer than it said.
        """
        length = body.length
        self._pumping = start(pump(body, self))
        self._stop_if_failed()
        try:
            await self._pumping
        except Exception:
            if self._failure is not None:
                self._failure.raiseException()
            raise
        await self._until_written()
        if length != UNKNOWN_LENGTH and self._received != length:
            raise BodyAborted(f"the body had {self._received} bytes where {length} were announced")
        return self._gathered

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Know whom to pause: a body, which is a push producer."""
        assert streaming
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        """Nobody is to be paused any more."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """Gather, and hand on or pause when there is a block."""
        if self._failure is not None:
            return
        self._gathered.append(data)
        self._size += len(data)
        self._received += len(data)
        if self._size < BLOCK:
            return
        if self._writing is None:
            self._hand_on()
        elif not self._is_paused and self._producer is not None:
            self._is_paused = True
            self._producer.pauseProducing()

    def _hand_on(self) -> None:
        block, self._gathered, self._size = self._gathered, [], 0
        try:
            self._writing = self._threads.call(partial(self._write_block, block))
        except BackendUnavailable:
            self._fail(Failure())
            return
        self._writing.addCallbacks(self._go_on, self._fail)

    def _go_on(self, _: None) -> None:
        self._writing = None
        if self._size >= BLOCK:
            self._hand_on()
        if self._is_paused and self._producer is not None:
            self._is_paused = False
            self._producer.resumeProducing()
        self._tell_written()

    def _fail(self, failure: Failure) -> None:
        self._writing = None
        self._failure = failure
        self._gathered = []
        self._stop_if_failed()
        self._tell_written()

    def _stop_if_failed(self) -> None:
        if self._failure is not None and self._pumping is not None:
            self._pumping.cancel()

    async def _until_written(self) -> None:
        while self._writing is not None and self._failure is None:
            self._written = Deferred()
            await self._written
        if self._failure is not None:
            self._failure.raiseException()

    def _tell_written(self) -> None:
        if self._written is not None and not self._written.called:
            self._written.callback(None)


@implementer(IBodyProducer)
@define(eq=False)
class FileBody:
    """
    Bytes of an open file, which is closed at the end or when the body is stopped.

    At most two blocks are held: one that a paused consumer has not taken, one being read.
    """

    length: int
    _fd: int
    _offset: int
    _threads: BlockingCalls
    _backend: str
    started: bool = field(init=False, default=False)
    _unread: int = field(init=False)
    _consumer: IConsumer | None = field(init=False, default=None)
    _produced: Deferred[None] | None = field(init=False, default=None)
    _reading: Deferred[bytes] | None = field(init=False, default=None)
    _held: bytes = field(init=False, default=b"")
    _is_paused: bool = field(init=False, default=False)
    _is_over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._unread = self.length

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Deliver the bytes; once."""
        self.started = True
        self._consumer = consumer
        produced: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._produced = produced
        if self._is_over:
            produced.errback(CancelledError())
        else:
            self._read()
        return produced

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed; a block being read is held."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Deliver what was held, and go on."""
        self._is_paused = False
        if self._is_over or self._consumer is None:
            return
        if self._held:
            held, self._held = self._held, b""
            self._deliver(held)
        elif self._reading is None and self._unread:
            self._read()

    def stopProducing(self) -> None:
        """Deliver nothing more, and close the file."""
        if self._is_over:
            return
        self._is_over = True
        self._held = b""
        if self._reading is None:
            self._close()

    def _read(self) -> None:
        count = min(BLOCK, self._unread)
        work = partial(self._read_block, count, self._offset)
        self._unread -= count
        self._offset += count
        try:
            self._reading = self._threads.call(work)
        except BackendUnavailable:
            self._fail(Failure())
            return
        self._reading.addCallbacks(self._arrived, self._failed_to_read)

    def _read_block(self, count: int, offset: int) -> bytes:
        with disk_errors(self._backend, sent=True):
            data = os.pread(self._fd, count, offset)
        if len(data) < count:
            raise BlobChanged(f"{self._backend}: a file became shorter while it was read")
        return data

    def _arrived(self, data: bytes) -> None:
        self._reading = None
        if self._is_over:
            self._close()
        elif self._is_paused:
            self._held = data
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if self._unread:
            self._read()
        if self._is_over:
            return
        assert self._consumer is not None
        self._consumer.write(data)
        if not self._unread and self._reading is None and not self._held and not self._is_over:
            self._finish()

    def _finish(self) -> None:
        self._is_over = True
        self._close()
        assert self._produced is not None
        self._produced.callback(None)

    def _failed_to_read(self, failure: Failure) -> None:
        self._reading = None
        if self._is_over:
            self._close()
        else:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._is_over = True
        self._close()
        if self._produced is not None:
            self._produced.errback(failure)

    def _close(self) -> None:
        """In a thread: letting go of a file that has been deleted may take its disk a while."""
        fd, self._fd = self._fd, -1
        self._threads.clean_up(partial(os.close, fd))
