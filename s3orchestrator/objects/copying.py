"""
Copying an object: on its backend where the bytes can stay, through us otherwise.

What makes a copy on a backend safe is not the backend's word but our row: as long as the
source blob's row exists, in any state, nobody else can have had its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field, frozen

from s3orchestrator.concurrency import keep, shield
from s3orchestrator.domain.records import Blob, Bucket, NewVersion, Version
from s3orchestrator.errors import (
    BackendError,
    BackendUnavailable,
    BlobChanged,
    InsufficientStorage,
    IntegrityError,
    NameTaken,
    NoSuchBlob,
)
from s3orchestrator.interfaces import Filter, IBlobs, Stored
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.reading import ObjectReader
from s3orchestrator.objects.writing import Committer, ObjectWriter, description_of
from s3orchestrator.protocol.checksums import FULL_OBJECT, Checksum, Hasher, new
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.digests import Digests
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange

_MD5 = re.compile(r"[0-9a-f]{32}\Z")


def is_md5(etag: str) -> bool:
    """Tell whether an ETag can be the MD5 of its object; one of a multipart object cannot."""
    return _MD5.match(etag) is not None


@define(eq=False)
class Passing:
    """
    Bytes that one of our own backends sends: measured on the way, and compared with what we know.

    `md5` is what they must hash to, None if nobody knows; then it is computed.
    """

    length: int
    _md5: str | None = None
    _algorithm: str | None = None
    _measure: Measure | None = field(default=None, init=False)

    def filters(self, *, want_md5: bool, want: str | None = None) -> Sequence[Filter]:
        """One filter, measuring what will be asked for."""
        self._algorithm = want or self._algorithm
        self._measure = Measure(self.length, self._md5, self._algorithm, want_md5=want_md5 or not self._md5)
        return [self._measure]

    def digests(self) -> Digests:
        """What was measured; a known MD5 counts even if it was not computed again."""
        assert self._measure is not None
        return Digests(md5=self._measure.md5 or self._md5, checksum=self._measure.checksum)


class Measure:
    """Hashes what passes; holds the last bytes back until they are known to be right."""

    md5: str | None = None
    checksum: Checksum | None = None

    def __init__(self, length: int, md5: str | None, algorithm: str | None, *, want_md5: bool) -> None:
        self._left = length
        self._expected = md5
        self._hash = hashlib.md5(usedforsecurity=False) if want_md5 else None
        self._running: Hasher | None = new(algorithm) if algorithm else None
        self._algorithm = algorithm
        self._held = b""

    def resize(self, length: int) -> int:
        """The bytes are not changed."""
        return length

    def update(self, data: bytes) -> bytes:
        """Pass on what came before."""
        if self._hash is not None:
            self._hash.update(data)
        if self._running is not None:
            self._running.update(data)
        self._left -= len(data)
        passed, self._held = self._held, data
        return passed

    def finish(self) -> bytes:
        """
        Pass on the last bytes.

        :raises IntegrityError: they are not what the ledger says.
        """
        if self._left:
            raise IntegrityError(f"the copy has {-self._left} bytes more than the ledger says")
        if self._hash is not None:
            self.md5 = self._hash.hexdigest()
            if self._expected is not None and self.md5 != self._expected:
                raise IntegrityError(f"the copy has the MD5 {self.md5} instead of {self._expected}")
        if self._running is not None and self._algorithm is not None:
            self.checksum = Checksum.of_digest(self._algorithm, self._running.digest())
        return self._held


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
        source = await self._reader.find(order.source_bucket, order.source_key, order.source_version)
        order.check(source)
        await self._committer.check_early(order.target_bucket, order.target_key, order.condition)
        if self._bytes_can_stay(order, source):
            made = await self._copy_in_place(order, source)
            if made is not None:
                return source, made
        return await self._copy_through(order)

    @staticmethod
    def _bytes_can_stay(order: CopyOrder, source: Version) -> bool:
        """A checksum that is not known yet can only be had by reading."""
        return order.algorithm is None or _full_checksum(source, order.algorithm) is not None

    # --- on one backend

    async def _copy_in_place(self, order: CopyOrder, source: Version) -> Version | None:
        """None: no backend could do it alone; nothing is left behind."""
        candidates = await self._backends.writable(source.size)
        avoid_plain = False
        for blob in self._backends.readable(source.blobs):
            if blob.backend not in candidates:
                continue
            for _ in range(2):
                try:
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
                except InsufficientStorage:
                    break
                try:
                    stored = await self._attempt(order, source, blob, target)
                except NameTaken:
                    await shield(self._blobs.refused(target))
                    avoid_plain = True
                    continue
                except BackendError as error:
                    self._cleaner.abandon(target, unclear=error.sent)
                    if not isinstance(error, NoSuchBlob | BlobChanged):
                        self._backends.failed(blob.backend)
                    break
                return await shield(self._record(order, source, blob, target, stored))
        return None

    async def _attempt(self, order: CopyOrder, source: Version, blob: Blob, target: Blob) -> Stored:
        try:
            return await self._backends[blob.backend].copy(
                blob.name,
                target.name,
                description_of(target, order.metadata or source.metadata, self._ledger_id),
                exclusive=target.plain,
                source_etag=blob.etag or None,
            )
        except BackendError:
            raise
        except BaseException:
            self._cleaner.abandon(target, unclear=True)
            raise

    async def _record(
        self, order: CopyOrder, source: Version, blob: Blob, target: Blob, stored: Stored
    ) -> Version | None:
        if not await self._blobs.is_held(blob):
            # Somebody else may have had the name while the backend was reading it.
            self._cleaner.abandon(target, unclear=False)
            return None
        etag = source.etag
        if self._backends.traits_of(blob.backend).md5_etags and is_md5(stored.etag):
            if is_md5(etag) and etag != stored.etag:
                self._cleaner.abandon(target, unclear=False)
                raise IntegrityError(f"{blob.backend}: the copy of {blob.name} has another ETag")
            etag = stored.etag
        version = NewVersion(
            source.size,
            etag,
            order.metadata or source.metadata,
            _full_checksum(source, order.algorithm),
            sha256=source.sha256,
        )
        return await self._committer.commit(order.target_bucket, target, stored, version, order.condition)

    # --- through us

    async def _copy_through(self, order: CopyOrder) -> tuple[Version, Version]:
        def decide(version: Version) -> ByteRange | None:
            order.check(version)
            return None

        opened = await self._reader.open(order.source_bucket, order.source_key, decide, order.source_version)
        source = opened.version
        known = _full_checksum(source, order.algorithm)
        algorithm = order.algorithm or (known.algorithm if known else None)
        passing = Passing(source.size, source.etag if is_md5(source.etag) else None, algorithm)
        try:
            made = await self._writer.put(
                order.target_bucket,
                order.target_key,
                Incoming(opened.body, passing),
                order.metadata or source.metadata,
                order.condition,
            )
        except IntegrityError as error:
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
