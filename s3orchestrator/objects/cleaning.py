"""
Deleting what is doomed: at once where possible, again later where not.

A doomed blob is a row, so nothing here has to be remembered across a crash. What is handed
to `Cleaner.clean` is claimed by this process; whatever cannot be finished is given back to
the ledger, which makes it due again. What the ledger cannot be told is told a little later
(`Cleaner.tell_again`).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from s3orchestrator.concurrency import concurrently, start
from s3orchestrator.domain.records import Blob
from s3orchestrator.domain.stamping import read_stamp
from s3orchestrator.errors import (
    BackendError,
    BackendWithheld,
    NoSuchBlob,
    OrchestratorError,
    StoreUnavailable,
)
from s3orchestrator.interfaces import IBackend, IBlobs, IUploads
from s3orchestrator.objects import deletions
from s3orchestrator.objects.backends import Backends
from s3orchestrator.telemetry.context import REQUEST_ID
from s3orchestrator.telemetry.logging import make_logger

# Beyond this the claim is given back, and the cleanup service takes it from the ledger.
MAX_WAITING = 10_000
MAX_WAITING_EACH = 2_000  # on one backend, so that one that stalls leaves room for the others
TOLD_AT_ONCE = 10  # of what was put off: when the ledger is back others want it, too
GATHER = 0.2  # seconds in which `forget`s are collected into one transaction


Tell = Callable[[], Coroutine[Any, Any, Any]]


@frozen
class _Task:
    """A blob to delete. `unclear` as in `Cleaner.clean`; `queued`: it comes from the ledger's queue."""

    blob: Blob
    unclear: bool
    queued: bool
    request_id: str


@define(eq=False)
class _Queue:
    """What waits to be deleted on one backend, and how many are at it."""

    waiting: deque[_Task] = field(factory=deque, init=False)
    workers: int = field(default=0, init=False)


@define(eq=False)
class Cleaner:
    """
    Deletes doomed blobs from their backends, in the background.

    Each backend has a queue of its own, of which `at_once` are being deleted: one that does not
    answer keeps nobody waiting.
    """

    log = make_logger()
    _backends: Backends
    _blobs: IBlobs
    _uploads: IUploads
    _clock: IReactorTime
    _ledger_id: str
    _at_once: int
    _queues: defaultdict[str, _Queue] = field(factory=lambda: defaultdict(_Queue), init=False)
    _running: set[Deferred[Any]] = field(factory=set, init=False)
    _gathered: list[tuple[Blob, bool]] = field(factory=list, init=False)
    _flushing: IDelayedCall | None = field(default=None, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _put_off: list[tuple[str, Tell]] = field(factory=list, init=False)

    def clean(self, blobs: Iterable[Blob], *, unclear: bool = False, queued: bool = False) -> None:
        """
        Delete doomed, claimed blobs in the background.

        `unclear`: something sent for these names may still arrive, so that they rest even
        after a clear answer. What the ledger knows of that is remembered by itself.
        `queued`: they could not be deleted before, and it is their turn again.
        """
        too_many = []
        room = self.room()
        request_id = REQUEST_ID.get()
        for blob in blobs:
            queue = self._queues[blob.backend]
            if not room or len(queue.waiting) >= MAX_WAITING_EACH:
                too_many.append((blob, False))
                deletions.put_off(blob, queued=queued, counted=False)
                continue
            room -= 1
            queue.waiting.append(_Task(blob, unclear, queued, request_id))
            if queue.workers < self._at_once:
                queue.workers += 1
                self._background(self._work(queue))
        if too_many:
            self.insist(partial(self._blobs.retry_later_many, too_many))

    def let_go(self) -> None:
        """Drop what waits to be deleted: our lease has lapsed, and others may be at it already."""
        for queue in self._queues.values():
            queue.waiting.clear()

    def room(self) -> int:
        """How many more may be given to `clean`, on backends that are not `busy`."""
        return max(MAX_WAITING - sum(len(queue.waiting) for queue in self._queues.values()), 0)

    def busy(self) -> list[str]:
        """The backends that have enough to do, or where nothing may be deleted."""
        full = [name for name, queue in self._queues.items() if len(queue.waiting) >= MAX_WAITING_EACH]
        shut = [
            backend.name for backend in self._backends.all() if self._backends.ownership.is_shut(backend.name)
        ]
        return sorted({*full, *shut})

    def abandon(self, blob: Blob, *, unclear: bool) -> None:
        """Doom a pending blob and delete it, in the background: its request is over."""
        self.insist(partial(self._abandon, blob, unclear=unclear))

    def insist(self, tell: Tell) -> None:
        """
        Tell the ledger something in the background; while it is away, again with each `tell_again`.

        `tell` may find that an earlier attempt has happened.
        """
        self._background(self._insist(tell))

    def tell_again(self) -> None:
        """Tell the ledger what it could not be told before."""
        put_off, self._put_off = self._put_off, []
        self._background(concurrently(min(TOLD_AT_ONCE, len(put_off)), self._tell_again, put_off))

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` to its end even if nobody waits for it; `drained` does."""
        self._background(work)

    async def drained(self) -> None:
        """Wait until nothing is in the background any more; new work may be given meanwhile."""
        self._flush()
        while self._running:
            done: Deferred[None] = Deferred()
            self._idle.append(done)
            await done
            self._flush()

    # --- one blob

    async def _work(self, queue: _Queue) -> None:
        try:
            while queue.waiting:
                await self._delete(queue.waiting.popleft())
        finally:
            queue.workers -= 1

    async def _delete(self, task: _Task) -> None:
        REQUEST_ID.set(task.request_id)  # whoever started this worker has done so for others, too
        blob = task.blob
        try:
            backend = self._backends[blob.backend]
            # First: that something is not there says nothing on a backend that is not ours.
            await self._backends.ownership.before_removing(blob.backend)
            await self._abort_upload(backend, blob)
            await self._delete_object(backend, blob)
        except CancelledError:
            raise
        except BackendError as error:
            if not isinstance(error, BackendWithheld):
                self._backends.failed(blob.backend)
            self.log.info("{name} stays doomed: {error}", name=blob.name, error=str(error))
            # A backend that is away is not a reason to give up; one that keeps saying no is.
            self._give_back(task, counted=error.replied, error=str(error))
        except StoreUnavailable as error:
            self.log.info("{name} stays doomed: {error}", name=blob.name, error=str(error))
            self._give_back(task, counted=False)
        except Exception:
            self.log.failure("{name} stays doomed", name=blob.name)
            self._give_back(task, counted=True, error="failed in an unforeseen way; see the log")
        else:
            if task.queued:
                deletions.deleted(blob)
            self._gathered.append((blob, task.unclear))
            if self._flushing is None:
                self._flushing = self._clock.callLater(GATHER, self._flush)

    async def _delete_object(self, backend: IBackend, blob: Blob) -> None:
        version_id = blob.backend_version
        if blob.plain and not blob.was_live:
            # It may be a stranger's: look whose object it is.
            try:
                found = await backend.head(blob.name)
            except NoSuchBlob:
                return
            stamp = read_stamp(found.meta)
            if stamp is None or not stamp.is_of(blob, self._ledger_id):
                return
            version_id = version_id or found.version_id
        await backend.delete(blob.name, version_id)

    async def _abort_upload(self, backend: IBackend, blob: Blob) -> None:
        if not blob.multipart or blob.was_live:
            return
        upload = await self._uploads.of_blob(blob)
        if upload is not None and upload.backend_upload is not None:
            await backend.abort_upload(blob.name, upload.backend_upload)

    async def _abandon(self, blob: Blob, *, unclear: bool) -> None:
        doomed = await self._blobs.abandon(blob, unclear=unclear)
        if doomed is not None:
            # The ledger learns of the backend's version only by a commit.
            self.clean([evolve(doomed, backend_version=blob.backend_version)], unclear=unclear)

    def _give_back(self, task: _Task, *, counted: bool, error: str = "") -> None:
        deletions.put_off(task.blob, queued=task.queued, counted=counted)
        self.insist(partial(self._blobs.retry_later, task.blob, counted=counted, error=error))

    async def _insist(self, tell: Tell) -> None:
        try:
            await tell()
        except StoreUnavailable as error:
            self.log.warn("the ledger will be told later: {error}", error=str(error))
            self._put_off.append((REQUEST_ID.get(), tell))

    async def _tell_again(self, put_off: tuple[str, Tell]) -> None:
        request_id, tell = put_off
        REQUEST_ID.set(request_id)
        try:
            await self._insist(tell)
        except CancelledError:
            raise  # or the next one would be told
        except Exception:
            self._complain()

    # --- what runs in the background

    def _flush(self) -> None:
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
        self._flushing = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self.insist(partial(self._blobs.forget_many, gathered))

    def _background(self, work: Coroutine[Any, Any, Any]) -> None:
        running = start(self._to_its_end(work))
        if running.called:
            return
        self._running.add(running)

        def ended(result: Any) -> None:
            self._running.discard(running)
            if not self._running:
                idle, self._idle = self._idle, []
                for waiting in idle:
                    waiting.callback(None)

        running.addCallback(ended)

    async def _to_its_end(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception:
            self._complain()

    def _complain(self) -> None:
        # The row is still there: whatever was not finished here is found by the cleanup service.
        failure = Failure()
        if failure.check(OrchestratorError, CancelledError):
            self.log.warn("cleaning up was put off: {error}", error=str(failure.value))
        else:
            self.log.failure("cleaning up failed", failure=failure)
