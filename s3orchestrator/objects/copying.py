"""
Copying an object: on its backend where the bytes can stay, through us otherwise.

What makes a copy on a backend safe is not the backend's word but our row: as long as the
source blob's row exists, in any state, nobody else can have had its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, evolve, frozen

from s3orchestrator.concurrency import keep
from s3orchestrator.domain.describing import Known
from s3orchestrator.domain.records import Blob, Bucket, NewVersion, Version
from s3orchestrator.errors import (
    BackendError,
    BackendUnavailable,
    BlobChanged,
    BodyAborted,
    InsufficientStorage,
    IntegrityError,
    NameTaken,
)
from s3orchestrator.interfaces import IBlobs, Stored
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.passing import Lent, Passing, is_md5
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import Committer, ObjectWriter, description_of
from s3orchestrator.protocol.checksums import FULL_OBJECT, Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.telemetry.storage import Record


@frozen
class CopyOrder:
    """
    What to copy, and what the copy is to be.

    `check` refuses a source version (conditions, size); it is asked before anything is
    sent. `metadata` None keeps the source's. `algorithm` asks for another checksum.
    """

    source_bucket: Bucket
    source_key: str
    target_bucket: Bucket
    target_key: str
    check: Callable[[Version], None]
    source_version: str | None = None
    metadata: ObjectMetadata | None = None
    algorithm: str | None = None
    condition: WriteCondition | None = None


@define(eq=False)
class ObjectCopier:
    """Copies objects within and across buckets and backends."""

    log = make_logger()
    _backends: Backends
    _blobs: IBlobs
    _reader: ObjectReader
    _writer: ObjectWriter
    _committer: Committer
    _cleaner: Cleaner
    _ledger_id: str

    async def copy(self, order: CopyOrder) -> tuple[Version, Version]:
        """
        Make the copy; returns the source and the new version.

        :raises NoSuchKey: there is no source.
        :raises InsufficientStorage: there is no room for a copy.
        """
        with Record(
            "CopyObject",
            source_bucket=order.source_bucket.name,
            source_key=order.source_key,
            dest_bucket=order.target_bucket.name,
            dest_key=order.target_key,
        ) as record:
            source, made = await self._copy(order, record)
            record.tell(dest_backend=made.blobs[0].backend, size=made.size)
            return source, made

    async def _copy(self, order: CopyOrder, record: Record) -> tuple[Version, Version]:
        source = await self._reader.find(order.source_bucket, order.source_key, order.source_version)
        order.check(source)
        await self._committer.check_early(order.target_bucket, order.target_key, order.condition)
        if self._bytes_can_stay(order, source):
            made = await self._copy_in_place(order, source, record)
            if made is not None:
                return source, made
        return await self._copy_through(order, record)

    @staticmethod
    def _bytes_can_stay(order: CopyOrder, source: Version) -> bool:
        """A checksum that is not known yet can only be had by reading."""
        return order.algorithm is None or _full_checksum(source, order.algorithm) is not None

    # --- on one backend

    async def _copy_in_place(self, order: CopyOrder, source: Version, record: Record) -> Version | None:
        """None: no backend could do it alone; nothing is left behind."""
        for blob in self._backends.copyable(source.blobs, source.size):
            record.backend = blob.backend
            record.tell(source_backend=blob.backend)
            made = await self._copy_on(order, source, blob, record)
            if made is not None:
                return made
        return None

    async def _copy_on(self, order: CopyOrder, source: Version, blob: Blob, record: Record) -> Version | None:
        """None: this backend cannot do it."""
        try:
            target, stored = await self._send(order, source, blob)
        except InsufficientStorage:
            return None
        except BackendError as error:
            self._backends.note(error, blob.backend)
            self.log.info("a copy is made through us: {error}", error=str(error))
            return None
        return await record.shielded(self._commit(order, source, blob, target, stored, record))

    async def _send(self, order: CopyOrder, source: Version, blob: Blob) -> tuple[Blob, Stored]:
        avoid_plain = False
        while True:
            target = await keep(
                self._blobs.reserve(
                    order.target_bucket,
                    order.target_key,
                    source.size,
                    [blob.backend],
                    verb="copy",
                    avoid_plain=avoid_plain,
                ),
                partial(self._cleaner.abandon, unclear=False),
            )
            try:
                stored = await self._attempt(order, source, blob, target)
            except NameTaken:
                self._cleaner.insist(partial(self._blobs.refused, target))
                if avoid_plain:
                    raise
                avoid_plain = True
            except BackendError as error:
                self._cleaner.abandon(target, unclear=error.is_unclear)
                raise
            except BaseException:
                self._cleaner.abandon(target, unclear=True)
                raise
            else:
                return target, stored

    async def _attempt(self, order: CopyOrder, source: Version, blob: Blob, target: Blob) -> Stored:
        known = Known(source.etag, _full_checksum(source, order.algorithm))
        return await self._backends[blob.backend].copy(
            blob.name,
            target.name,
            description_of(target, order.metadata or source.metadata, self._ledger_id, known),
            exclusive=target.plain,
            source_etag=blob.etag or None,
        )

    async def _commit(
        self,
        order: CopyOrder,
        source: Version,
        blob: Blob,
        target: Blob,
        stored: Stored,
        record: Record,
    ) -> Version | None:
        try:
            etag = await self._check_copy(source, blob, target, stored)
        except Exception as error:
            self._cleaner.abandon(evolve(target, backend_version=stored.version_id), unclear=False)
            if isinstance(error, BackendError | IntegrityError):
                self.log.warn("a copy is made again, through us: {error}", error=str(error))
                return None
            raise
        version = NewVersion(
            source.size,
            etag,
            order.metadata or source.metadata,
            _full_checksum(source, order.algorithm),
            sha256=source.sha256,
        )
        return await self._committer.commit(
            order.target_bucket, target, stored, version, order.condition, record
        )

    async def _check_copy(self, source: Version, blob: Blob, target: Blob, stored: Stored) -> str:
        """
        Return the ETag to tell the client.

        :raises BlobChanged: somebody else may have had the source's name while it was read.
        :raises IntegrityError: it is not a copy of the source.
        """
        if not await self._blobs.is_held(blob):
            raise BlobChanged(f"{blob.backend}: {blob.name} was replaced while it was copied")
        tells_md5 = self._backends.traits_of(blob.backend).md5_etags and is_md5(stored.etag)
        if tells_md5 and is_md5(source.etag):
            if source.etag != stored.etag:
                raise IntegrityError(f"{blob.backend}: the copy of {blob.name} has another ETag")
            return source.etag
        # Nothing tells us yet that it is what it should be, nor that its ETag is as was said.
        found = await self._backends[blob.backend].head(target.name)
        if (found.size, found.etag) != (source.size, stored.etag):
            raise IntegrityError(f"{blob.backend}: the copy of {blob.name} is not what it was said to be")
        return stored.etag if tells_md5 else source.etag

    # --- through us

    async def _copy_through(self, order: CopyOrder, record: Record) -> tuple[Version, Version]:
        def decide(version: Version) -> ByteRange | None:
            order.check(version)
            return None

        opened = await self._reader.open(order.source_bucket, order.source_key, decide, order.source_version)
        source = opened.version
        record.tell(source_backend=opened.backend)
        known = _full_checksum(source, order.algorithm)
        algorithm = order.algorithm or (known.algorithm if known else None)
        passing = Passing(source.size, source.etag if is_md5(source.etag) else None, known, algorithm)
        try:
            made = await self._writer.store(
                order.target_bucket,
                order.target_key,
                Incoming(Lent(opened.body), passing),
                order.metadata or source.metadata,
                order.condition,
                record,
            )
        except (IntegrityError, BodyAborted) as error:
            opened.body.stopProducing()
            raise BackendUnavailable(str(error)) from error
        except BaseException:
            opened.body.stopProducing()
            raise
        return source, made


def _full_checksum(source: Version, algorithm: str | None) -> Checksum | None:
    """The source's checksum if it is one of the whole object, and of the wanted algorithm."""
    known = source.checksum
    if known is None or known.kind != FULL_OBJECT or algorithm not in (None, known.algorithm):
        return None
    return known
