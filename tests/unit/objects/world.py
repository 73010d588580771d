"""
An orchestrator whose every step can be watched, and what must be true of it afterwards.

A point is a moment before or after something that leaves the engine: a transaction, or a
call of a backend. Whatever happens at any of them, once everything has come to rest the
backends hold exactly what the ledger owns, and that is what was acknowledged.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from hashlib import md5
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from s3orchestrator.backends.faults import Fault, Faults
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.concurrency import deadline
from s3orchestrator.domain.owning import MARKER
from s3orchestrator.domain.records import BlobState, Bucket, Part, Upload, UploadState
from s3orchestrator.errors import BackendUnavailable, NoSuchKey
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.objects.copying import CopyOrder
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.parts import PartPlace
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store import completing
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness, LedgerInMemory

T = TypeVar("T")

SMALL = b"small"
LARGE = bytes(range(256)) * 16  # above the harness's replay limit: it streams
STALE = 86_400


@define(eq=False)
class Points:
    """
    Counts the points that are reached, and does at one of them what it is told.

    `at` is given the number of a point and what it is; what it returns is awaited there.
    """

    at: Callable[[int, str], Deferred[None] | None] | None = None
    transacting: Callable[[int], type[Exception] | tuple[type[Exception]] | None] | None = None
    reached: list[str] = field(factory=list)
    transactions: int = 0

    async def reach(self, what: str) -> None:
        """Be at a point."""
        if self.at is None:
            return
        number = len(self.reached)
        self.reached.append(what)
        waiting = self.at(number, what)
        if waiting is not None:
            await waiting


class WatchedBackend(MemoryBackend):
    """A backend with a point before and after each call."""

    points: Points = Points()

    async def _meet(self, verb: str, name: str) -> Fault | None:
        await self.points.reach(f"before {verb}")
        return await deadline(30, super()._meet(verb, name), self._clock, self._too_slow)

    def _too_slow(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self.name}: no answer")

    async def _answer(self, fault: Fault | None, work: Callable[[], T]) -> T:
        answer = await super()._answer(fault, work)
        await self.points.reach("after it")
        return answer


class WatchedLedger(LedgerInMemory):
    """A ledger with a point before and after each transaction, which may fail in two ways."""

    points: Points = Points()

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        points = self.points
        points.transactions += 1
        failure = points.transacting(points.transactions - 1) if points.transacting else None
        if isinstance(failure, type):
            raise failure("told to")
        await points.reach("before a transaction")
        result = await super().transact(work)
        await points.reach("after it")
        if failure is not None:
            raise failure[0]("told to, afterwards")
        return result


class CountedFaults(Faults):
    """Lets one call, counted over all verbs and backends, meet a fault."""

    def __init__(self, number: int, fault: Fault) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._number = number
        self._fault = fault

    def take(self, verb: str) -> Fault | None:
        """Return the fault when it is due."""
        self.calls.append(verb)
        return self._fault if len(self.calls) - 1 == self._number else None


class World(Harness):
    """A harness whose steps are watched, with shorthands for what clients do."""

    points: Points

    def __init__(self, **settings: Any) -> None:
        self.points = points = Points()

        def open_ledger(clock: Clock, image: bytes | None) -> LedgerInMemory:
            ledger = WatchedLedger(clock, image)
            ledger.points = points
            return ledger

        def make_backend(name: str, clock: Clock) -> MemoryBackend:
            backend = WatchedBackend(name, clock)
            backend.points = points
            return backend

        super().__init__(open_ledger=open_ledger, make_backend=make_backend, **settings)

    # --- what clients do

    async def putting(self, key: str, data: bytes, bucket: Bucket | None = None) -> None:
        await self.core.objects.writing.put(bucket or self.bucket, key, self.declared(data), ObjectMetadata())

    def declared(self, data: bytes) -> Incoming:
        """A body with its MD5: without, only a client that looks at ETags would see some faults."""
        return self.incoming(data, {b"content-md5": [b64encode(md5(data).digest())]})

    async def copying(self, source: str, target: str, **order: Any) -> None:
        await self.core.objects.copying.copy(
            CopyOrder(
                self.bucket,
                source,
                order.pop("target_bucket", self.bucket),
                target,
                lambda version: None,
                **order,
            )
        )

    async def creating(self, key: str, **settings: Any) -> Upload:
        return await self.core.objects.multipart.create(
            self.bucket, key, ObjectMetadata(), owner="someone", **settings
        )

    async def part(self, upload: Upload, number: int, data: bytes) -> Part:
        return await self.core.objects.parts.put(self.place(upload, number), self.declared(data))

    def place(self, upload: Upload, number: int) -> PartPlace:
        return PartPlace(self.bucket, upload.key, upload.id, number)

    async def completing(self, upload: Upload, *parts: Part, **more: Any) -> None:
        listed = [(part.number, part.etag, part.checksum) for part in parts]
        await self.core.objects.multipart.complete(self.bucket, upload.key, upload.id, listed, **more)

    async def aborting(self, upload: Upload) -> None:
        await self.core.objects.multipart.abort(self.bucket, upload.key, upload.id)

    def uploaded(self, key: str, *datas: bytes, **settings: Any) -> tuple[Upload, list[Part]]:
        """An upload with parts, ready to be completed."""
        upload = self.run(self.creating(key, **settings))
        return upload, [self.run(self.part(upload, n, data)) for n, data in enumerate(datas, 1)]

    # --- what is true afterwards

    def quiesce(self) -> None:
        """Let everything that was late happen, and every name have its rest."""
        self.points.at = self.points.transacting = None
        for name in self.backends:
            self.backend(name).faults = Faults()
        self.settle()
        for name in self.backends:
            self.backend(name).catch_up()
        for _ in range(5):
            self.advance(QUIET_PERIOD + 1)

    def contents(self, bucket: Bucket | None = None) -> dict[str, bytes]:
        """What clients see."""
        versions = self.run(
            self.core.ledger.versions.page(bucket or self.bucket, "", None, 1000, inclusive=True)
        )
        found = {}
        for version in versions:
            try:
                found[version.key] = self.get(version.key, bucket)
            except NoSuchKey:
                raise AssertionError(f"{version.key} is listed and cannot be found") from None
        return found

    def problems(self) -> list[str]:
        """What is wrong, at rest: each row is live or of an open upload, and nothing else is anywhere."""
        ledger, wrong = self.core.ledger, [str(finding) for finding in self.findings()]
        taken = {known.backend: known.taken for known in self.run(ledger.blobs.usage())}
        for name in self.backends:
            expected_taken, expected_objects, expected_uploads = 0, set(), set()
            for blob in self.run(ledger.blobs.names(name)):
                expected_taken += blob.size
                upload = self.run(ledger.uploads.of_blob(blob))
                if blob.state is BlobState.LIVE:
                    expected_objects.add(blob.name)
                elif (
                    blob.state is BlobState.PENDING
                    and upload
                    and upload.state
                    in (
                        UploadState.OPEN,
                        UploadState.COMPLETING,
                    )
                ):
                    expected_uploads.add(upload.backend_upload)
                    if upload.state is UploadState.COMPLETING:
                        expected_objects |= {blob.name} & self.backend(name).objects.keys()
                else:
                    wrong.append(f"{name}: {blob.name} is still {blob.state}")
            if taken.get(name, 0) != expected_taken:
                wrong.append(f"{name}: {taken.get(name)} taken instead of {expected_taken}")
            if extra := (self.backend(name).objects.keys() - {MARKER}) ^ expected_objects:
                wrong.append(f"{name}: objects that differ: {sorted(extra)}")
            if (
                extra := {upload.upload_id for upload in self.run(self.backend(name).list_uploads())}
                - expected_uploads
            ):
                wrong.append(f"{name}: uploads nobody knows: {sorted(extra)}")
        return wrong


Prepare = Callable[[World], Any]


@define(eq=False)
class Operation:
    """
    Something a client does, from a state of things to another.

    `prepare` makes the former and returns what `run` needs. A client who heard of a failure
    may `run` it again, which succeeds or raises one of `again`.
    """

    name: str
    prepare: Callable[[World], Any]
    run: Callable[[World, Any], Coroutine[Any, Any, object]]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    again: tuple[type[Exception], ...] = ()


def small_parts(patch: Callable[[object, str, object], object]) -> None:
    """Let parts be as small as one byte."""
    patch(completing, "MIN_PART", 1)
