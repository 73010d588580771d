"""
Reading an object: look it up, prove a copy, and stay with it to the last byte.

Every read says which ETag it expects. A copy that has gone or changed means that the
version may just have been replaced, so it is looked up again; a copy that dies half-way is
continued elsewhere at the same offset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define
from twisted.web.iweb import IBodyProducer

from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.domain.records import Blob, Bucket, Version
from s3orchestrator.errors import (
    BackendError,
    BackendUnavailable,
    BlobChanged,
    NoSuchBlob,
    StoreUnavailable,
    UsageLimitExceeded,
)
from s3orchestrator.interfaces import Fetched, IVersions
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.degraded import DegradedReads
from s3orchestrator.objects.doubting import Doubts
from s3orchestrator.objects.resuming import ResumedBody
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.telemetry.storage import Record
from s3orchestrator.values import value

# How often a version may be replaced between looking it up and opening it before we say
# that it cannot be read just now: each time means a writer won a race of milliseconds.
LOOK_UPS = 5

Decide = Callable[[Version], ByteRange | None]
LookUp = Callable[[Bucket, str, str | None], Awaitable[Version]]


class Answered(Exception):
    """What `decide` raises when no byte needs to be read: an answer, and no failure."""

    def __init__(self, version: Version) -> None:
        super().__init__(version.key)
        self.version = version


@value
class Opened:
    """A version being read: the bytes of `wanted`, or all of them."""

    version: Version
    wanted: ByteRange | None
    body: IBodyProducer

    @property
    def backend(self) -> str:
        """Who is being read; nobody, if there is nothing to read."""
        return self.body.backend if isinstance(self.body, ResumedBody) else ""


@define(eq=False)
class ObjectReader:
    """Opens objects."""

    log = make_logger()
    _versions: IVersions
    _backends: Backends
    _doubts: Doubts
    _degraded: DegradedReads | None = None

    async def head(
        self, bucket: Bucket, key: str, version_id: str | None = None, *, degraded: str = ""
    ) -> Version:
        """Like `find`, without the blobs; and a line of the audit trail."""
        with Record("HeadObject", bucket=bucket.name, key=key) as record:
            version = await self._looked_up(self._versions.describe, bucket, key, version_id, degraded)
            record.tell(size=version.size)
            return version

    async def get(
        self,
        bucket: Bucket,
        key: str,
        decide: Decide,
        version_id: str | None = None,
        *,
        degraded: str = "",
    ) -> Opened:
        """
        Like `open`, and a line of the audit trail.

        :raises Answered: `decide` did.
        """
        with Record("GetObject", bucket=bucket.name, key=key) as record:
            try:
                opened = await self.open(bucket, key, decide, version_id, degraded=degraded)
            except Answered as answered:
                record.tell(size=answered.version.size)
                record.succeeded()
                raise
            record.backend = opened.backend
            record.tell(size=opened.version.size)
            return opened

    async def find(
        self, bucket: Bucket, key: str, version_id: str | None = None, *, degraded: str = ""
    ) -> Version:
        """
        Return what the ledger says of a version and its blobs; no backend is asked.

        `degraded` names the operation if it may do without the ledger while that is away: the
        backends are asked for the latest version. Nothing may be written on their word.
        """
        return await self._looked_up(self._versions.find, bucket, key, version_id, degraded)

    async def _looked_up(
        self, look_up: LookUp, bucket: Bucket, key: str, version_id: str | None, degraded: str
    ) -> Version:
        try:
            return await look_up(bucket, key, version_id)
        except StoreUnavailable:
            if not degraded or self._degraded is None or version_id is not None:
                raise
        return await self._degraded.find(bucket, key, degraded)

    async def open(
        self,
        bucket: Bucket,
        key: str,
        decide: Decide,
        version_id: str | None = None,
        *,
        degraded: str = "",
    ) -> Opened:
        """
        Look a version up, let `decide` refuse it or choose a range, and open a copy.

        `decide` is asked again if the version is replaced meanwhile. `degraded` as in `find`.

        :raises NoSuchKey: there is nothing to read.
        :raises BackendUnavailable: there is, but no copy can be read just now.
        """
        version = await self._looked_up(self._versions.find, bucket, key, version_id, degraded)
        for _ in range(LOOK_UPS):
            wanted = decide(version)
            body = await self.open_version(version, wanted)
            if body is not None:
                return Opened(version, wanted, body)
            latest = await self.find(bucket, key, version_id, degraded=degraded)
            if latest.id == version.id:
                break
            version = latest
        raise BackendUnavailable(f"no copy of {bucket.name}/{key} can be read")

    async def open_version(self, version: Version, wanted: ByteRange | None) -> IBodyProducer | None:
        """
        Open the best copy of exactly this version.

        None: every copy that answered has gone or changed; look the version up again.

        :raises BackendUnavailable: no copy answered.
        :raises UsageLimitExceeded: no copy may be read any more this month.
        """
        if version.size == 0:
            return BytesBody(b"")
        wanted = wanted or ByteRange(0, version.size - 1)
        unanswered: BackendError | None = None
        used_up: UsageLimitExceeded | None = None
        for blob in self._backends.readable(version.blobs, wanted.length):
            try:
                fetched = await self._fetch(blob, wanted)
            except (NoSuchBlob, BlobChanged) as error:
                self.log.warn("a copy is missing or changed: {error}", error=str(error))
                self._doubts.missed(blob)
            except UsageLimitExceeded as error:
                used_up = error  # somebody else has just used what was left
            except BackendError as error:
                self._backends.failed(blob.backend)
                unanswered = error
            else:
                self._doubts.seen(blob)
                return ResumedBody(fetched.body, wanted, version.blobs, blob, self._refetch)
        if unanswered is not None:
            raise BackendUnavailable(str(unanswered)) from unanswered
        if used_up is not None:
            raise self._backends.rejected(used_up, "GetObject")
        return None

    async def _fetch(self, blob: Blob, wanted: ByteRange) -> Fetched:
        whole = wanted.start == 0 and wanted.end == blob.size - 1
        backend = self._backends[blob.backend]
        fetched = await backend.get(blob.name, None if whole else wanted, etag=blob.etag or None)
        expected = wanted.end - wanted.start + 1
        if fetched.size != blob.size or fetched.body.length != expected:
            fetched.body.stopProducing()
            raise BlobChanged(f"{blob.backend}: {blob.name} has {fetched.size} bytes instead of {blob.size}")
        return fetched

    async def _refetch(
        self, failed: Blob, blobs: tuple[Blob, ...], wanted: ByteRange
    ) -> tuple[Blob, IBodyProducer]:
        """Open the rest of a body at another copy, or at the same one if there is no other."""
        self._backends.failed(failed.backend)
        last: BackendError | None = None
        for blob in self._backends.readable(blobs, wanted.length):
            try:
                return blob, (await self._fetch(blob, wanted)).body
            except BackendError as error:
                if isinstance(error, (NoSuchBlob, BlobChanged)):
                    self._doubts.missed(blob)
                last = error
        raise BackendUnavailable("no other copy can be read") from last
