"""Parts of a multipart upload: from a client's body, or copied from an object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, frozen

from s3orchestrator.concurrency import keep, shield
from s3orchestrator.domain.records import Blob, Bucket, Part, Upload, Version
from s3orchestrator.errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    BlobChanged,
    BodyAborted,
    IntegrityError,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import IBackend, IBlobs, IUploads, Stored
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.passing import Lent, Passing, is_md5
from s3orchestrator.objects.reading import Decide, ObjectReader
from s3orchestrator.objects.sending import Sending
from s3orchestrator.protocol.checksums import Checksum, check_part
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.telemetry.storage import Record

Send = Callable[[IBackend], Awaitable[tuple[Stored, str, Checksum | None]]]


@frozen
class PartPlace:
    """Which part of which upload."""

    bucket: Bucket
    key: str
    upload_id: str
    number: int


@frozen
class PartSource:
    """The object a part is copied from; `decide` refuses it or chooses the range."""

    bucket: Bucket
    key: str
    decide: Decide
    version_id: str | None = None


@define(eq=False)
class PartWriter:
    """
    Stores parts on the backend of their upload.

    A part cannot go to another backend: the upload is there. What fails gives its bytes
    back once it is clear that they are not coming.
    """

    log = make_logger()
    _backends: Backends
    _blobs: IBlobs
    _uploads: IUploads
    _reader: ObjectReader
    _cleaner: Cleaner
    _replay_limit: int

    async def put(self, place: PartPlace, incoming: Incoming) -> Part:
        """
        Store a client's part.

        :raises NoSuchUpload: no such upload is open.
        :raises S3Error: the part has another checksum than the upload was created with.
        :raises InsufficientStorage: its backend has no room.
        """
        with self._record("UploadPart", place) as record:
            record.tell(size=incoming.length)
            upload = await self._find(place, record)
            check_part(upload.checksum_algorithm, incoming.algorithm)
            return await self._put(upload, place.number, incoming, record)

    async def copy(self, place: PartPlace, source: PartSource) -> Part:
        """Make a part of (a range of) an object; on the backend, if the object has a copy there."""
        with self._record("UploadPartCopy", place) as record:
            record.tell(source_bucket=source.bucket.name, source_key=source.key)
            part = await self._copy(place, source, record)
            record.tell(size=part.size)
            return part

    async def _copy(self, place: PartPlace, source: PartSource, record: Record) -> Part:
        upload = await self._find(place, record)
        version = await self._reader.find(source.bucket, source.key, source.version_id)
        wanted = source.decide(version)
        near = self._near(upload, version)
        if near is not None and upload.checksum_algorithm is None:
            try:
                record.tell(source_backend=near.backend)
                return await self._copy_in_place(upload, place.number, version, near, wanted, record)
            except (NoSuchBlob, BlobChanged, BackendRefused, IntegrityError) as error:
                self.log.info("a part is copied through us: {error}", error=str(error))
        return await self._copy_through(upload, place.number, source, record)

    @staticmethod
    def _record(operation: str, place: PartPlace) -> Record:
        return Record(
            operation,
            bucket=place.bucket.name,
            key=place.key,
            upload_id=place.upload_id,
            part_number=place.number,
        )

    async def _copy_in_place(
        self,
        upload: Upload,
        number: int,
        version: Version,
        near: Blob,
        wanted: ByteRange | None,
        record: Record,
    ) -> Part:
        part = await self._begin(upload, number, wanted.length if wanted else version.size)

        async def send(backend: IBackend) -> tuple[Stored, str, Checksum | None]:
            stored = await backend.copy_part(
                upload.blob.name, _id_of(upload), number, near.name, wanted, source_etag=near.etag or None
            )
            if not await self._blobs.is_held(near):
                raise BlobChanged(f"{backend.name}: {near.name} was replaced while it was copied")
            if wanted is None and is_md5(version.etag) and stored.etag != version.etag:
                raise IntegrityError(f"{backend.name}: the part is not what was copied")
            return stored, stored.etag, None

        return await self._store(upload, part, send, record)

    def _near(self, upload: Upload, version: Version) -> Blob | None:
        """A copy on the upload's backend, where that one's ETags are what a client expects."""
        if version.size == 0 or not self._backends.traits_of(upload.blob.backend).md5_etags:
            return None
        return next((blob for blob in version.blobs if blob.backend == upload.blob.backend), None)

    async def _copy_through(self, upload: Upload, number: int, source: PartSource, record: Record) -> Part:
        opened = await self._reader.open(source.bucket, source.key, source.decide, source.version_id)
        record.tell(source_backend=opened.backend)
        whole = opened.wanted is None and is_md5(opened.version.etag)
        passing = Passing(
            opened.wanted.length if opened.wanted else opened.version.size,
            opened.version.etag if whole else None,
            opened.version.checksum if whole else None,
            upload.checksum_algorithm,
        )
        try:
            return await self._put(upload, number, Incoming(Lent(opened.body), passing), record)
        except (IntegrityError, BodyAborted) as error:
            opened.body.stopProducing()
            raise BackendUnavailable(str(error)) from error
        except BaseException:
            opened.body.stopProducing()
            raise

    async def _put(self, upload: Upload, number: int, incoming: Incoming, record: Record) -> Part:
        self._backends.check_size(upload.blob.backend, incoming.length)
        self._backends.check_usage(upload.blob.backend, incoming.length, "UploadPart")
        part = await self._begin(upload, number, incoming.length)
        sending = Sending(incoming, self._replay_limit, upload.checksum_algorithm)
        traits = self._backends.traits_of(upload.blob.backend)
        try:
            body = await sending.offer(traits)
        except BaseException:
            self._fail(part, unclear=False)
            raise

        async def send(backend: IBackend) -> tuple[Stored, str, Checksum | None]:
            stored = await backend.put_part(upload.blob.name, _id_of(upload), number, body)
            return stored, sending.etag_of(stored, traits), sending.digests().checksum

        return await self._store(upload, part, send, record)

    async def _find(self, place: PartPlace, record: Record) -> Upload:
        upload = await self._uploads.find(place.bucket, place.key, place.upload_id)
        record.backend = upload.blob.backend
        _id_of(upload)
        return upload

    async def _begin(self, upload: Upload, number: int, size: int) -> Part:
        return await keep(self._uploads.begin_part(upload, number, size), partial(self._fail, unclear=False))

    def _fail(self, part: Part, *, unclear: bool) -> None:
        self._cleaner.insist(partial(self._uploads.fail_part, part, unclear=unclear))

    async def _store(self, upload: Upload, part: Part, send: Send, record: Record) -> Part:
        try:
            stored, etag, checksum = await send(self._backends[upload.blob.backend])
        except NoSuchUpload:
            # Backends expire ids: there is nothing to add to any more.
            await shield(self._lost(upload, part))
            raise
        except BackendError as error:
            self._fail(part, unclear=error.is_unclear)
            self._backends.note(error, upload.blob.backend)
            if error.answered:
                raise
            raise BackendUnavailable(str(error)) from error
        except BaseException:
            self._fail(part, unclear=True)
            raise
        return await record.shielded(self._end(upload, part, stored, etag, checksum))

    async def _end(
        self, upload: Upload, part: Part, stored: Stored, etag: str, checksum: Checksum | None
    ) -> Part:
        try:
            return await self._uploads.end_part(part, stored, etag=etag, checksum=checksum)
        except NoSuchUpload:
            # Aborted while we were sending: the backend may have kept these bytes.
            self._cleaner.background(self._abort_again(upload))
            raise

    async def _abort_again(self, upload: Upload) -> None:
        if upload.backend_upload is not None:
            backend = self._backends[upload.blob.backend]
            await backend.abort_upload(upload.blob.name, upload.backend_upload)

    async def _lost(self, upload: Upload, part: Part) -> None:
        await self._uploads.fail_part(part, unclear=False)
        bucket = Bucket(upload.bucket_id, "", 0)
        aborted = await self._uploads.abort(bucket, upload.key, upload.id)
        if aborted is not None:
            self._cleaner.clean([aborted.blob])


def _id_of(upload: Upload) -> str:
    """
    Return the backend's id.

    :raises NoSuchUpload: the backend has never confirmed it.
    """
    if upload.backend_upload is None:
        raise NoSuchUpload(upload.id)
    return upload.backend_upload
