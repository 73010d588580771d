"""
Multipart uploads: native on the backend from create to complete, so completing moves no byte.

Complete first fixes its list in the ledger (`completing`), then asks the backend, then
commits like any other write. Whatever dies in between, a repeated Complete finds out where
it was: by the backend's object and our stamp in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import DeferredLock

from s3orchestrator.concurrency import keep, shield
from s3orchestrator.domain.describing import Known, afterword
from s3orchestrator.domain.multipart import composite_etag, object_checksum
from s3orchestrator.domain.records import Bucket, Completion, NewVersion, PartInfo, Upload, Version
from s3orchestrator.domain.stamping import read_stamp
from s3orchestrator.errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    Conflict,
    InsufficientStorage,
    InvalidPart,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
    UsageLimitExceeded,
)
from s3orchestrator.interfaces import IBackend, IUploads, Stored
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.writing import Committer, description_of
from s3orchestrator.protocol.checksums import Checksum, check_listed
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.telemetry.storage import Record

Listed = Sequence[tuple[int, str, Checksum | None]]


@define(eq=False)
class MultipartUploads:
    """Creates, completes and aborts uploads."""

    _backends: Backends
    _uploads: IUploads
    _committer: Committer
    _cleaner: Cleaner
    _ledger_id: str
    _locks: dict[str, tuple[DeferredLock, int]] = Factory(dict)

    async def create(
        self,
        bucket: Bucket,
        key: str,
        metadata: ObjectMetadata,
        *,
        owner: str,
        algorithm: str | None = None,
        kind: str | None = None,
        max_open: int = 0,
    ) -> Upload:
        """
        Open an upload on the best backend that answers.

        :raises TooManyUploads: the bucket has `max_open` already.
        :raises BackendUnavailable: no backend answered.
        """
        with Record("CreateMultipartUpload", bucket=bucket.name, key=key) as record:
            upload = await self._create(
                partial(
                    self._uploads.create,
                    bucket,
                    key,
                    metadata=metadata,
                    owner=owner,
                    checksum_algorithm=algorithm,
                    checksum_kind=kind,
                    max_open=max_open,
                ),
                record,
            )
            record.tell(upload_id=upload.id)
            return upload

    async def _create(self, reserve: Callable[..., Coroutine[Any, Any, Upload]], record: Record) -> Upload:
        candidates = await self._backends.writable_for_parts()
        avoid_plain = False
        last: BackendError | None = self._backends.left_alone(0)
        failed: list[str] = []
        while candidates:
            try:
                upload = await keep(
                    reserve(backends=candidates, avoid_plain=avoid_plain),
                    partial(self._discard, unclear=False),
                )
            except InsufficientStorage as error:
                if last is None:
                    raise
                raise BackendUnavailable(f"{last}; {error}") from last
            record.backend = upload.blob.backend
            try:
                if await self._is_taken(upload):
                    avoid_plain = True
                    self._discard(upload, unclear=False)
                    continue
                opened = await self._open(upload)
            except BackendError as error:
                last = last if last and isinstance(error, UsageLimitExceeded) else error
                failed.append(upload.blob.backend)
                self._backends.note(error, upload.blob.backend)
                candidates = [name for name in candidates if name != upload.blob.backend]
            else:
                self._backends.took_over("CreateMultipartUpload", failed, upload.blob.backend)
                return opened
        if isinstance(last, UsageLimitExceeded):
            raise self._backends.rejected(last, "CreateMultipartUpload")
        raise BackendUnavailable(str(last)) from last

    async def _open(self, upload: Upload) -> Upload:
        backend = self._backends[upload.blob.backend]
        description = description_of(upload.blob, upload.metadata, self._ledger_id)
        try:
            opened = await backend.create_upload(upload.blob.name, description)
        except BackendError as error:
            self._discard(upload, unclear=error.is_unclear)
            raise
        except BaseException:
            self._discard(upload, unclear=True)
            raise
        return await keep(self._remember(backend, upload, opened), partial(self._discard, unclear=False))

    async def _remember(self, backend: IBackend, upload: Upload, opened: str) -> Upload:
        try:
            return await self._uploads.opened(upload, opened)
        except Exception:
            # Nobody will ever know of it: neither this client nor, perhaps, the ledger.
            self._discard(upload, unclear=True)
            self._cleaner.background(backend.abort_upload(upload.blob.name, opened))
            raise

    async def _is_taken(self, upload: Upload) -> bool:
        """Ask now, so that Complete is refused for its name only in a race."""
        if not upload.blob.plain:
            return False
        try:
            await self._backends[upload.blob.backend].head(upload.blob.name)
        except NoSuchBlob:
            return False
        except BaseException:
            self._discard(upload, unclear=False)
            raise
        return True

    async def abort(self, bucket: Bucket, key: str, upload_id: str) -> None:
        """
        Give an upload up; one that has been completed is left as it is.

        :raises NoSuchUpload: no such upload.
        """
        await shield(self._abort(bucket, key, upload_id))

    async def _abort(self, bucket: Bucket, key: str, upload_id: str) -> None:
        with Record("AbortMultipartUpload", bucket=bucket.name, key=key, upload_id=upload_id) as record:
            aborted = await self._uploads.abort(bucket, key, upload_id)
            if aborted is not None:
                record.backend = aborted.blob.backend
                record.tell(parts_cleaned=aborted.dropped_parts)
        if aborted is not None:
            # Parts that may be on their way are known to the ledger; the create may be, too.
            self._cleaner.clean([aborted.blob], unclear=aborted.backend_upload is None)

    def _discard(self, upload: Upload, *, unclear: bool) -> None:
        """Abort an upload of which no client knows, in the background."""
        self._cleaner.insist(partial(self._discarding, upload, unclear=unclear))

    async def _discarding(self, upload: Upload, *, unclear: bool) -> None:
        try:
            aborted = await self._uploads.abort(Bucket(upload.bucket_id, "", 0), upload.key, upload.id)
        except NoSuchUpload:
            return  # it has been, by an attempt whose answer was lost or with its bucket
        if aborted is not None:
            self._cleaner.clean([aborted.blob], unclear=unclear)

    # --- complete

    async def complete(
        self,
        bucket: Bucket,
        key: str,
        upload_id: str,
        listed: Listed,
        *,
        size: int | None = None,
        expected: Checksum | None = None,
        condition: WriteCondition | None = None,
    ) -> Version:
        """
        Make the object of the listed parts; repeated with the same list, the same answer.

        `size` and `expected` are what the client says of the whole, if it does.

        :raises InvalidPart: a listed part is not there; the upload stays open.
        :raises BackendUnavailable: the backend's answer is not known; repeating is right.
        """
        # A client that leaves now finds the object there, or the upload as it was, when it asks again.
        return await shield(
            self._one_at_a_time(
                upload_id,
                partial(self._complete, bucket, key, upload_id, listed, size, expected, condition),
            )
        )

    async def _one_at_a_time(self, upload_id: str, work: Callable[[], Awaitable[Version]]) -> Version:
        """Clients that tire of waiting send Complete again; only one of them may ask the backend."""
        lock, users = self._locks.get(upload_id, (DeferredLock(), 0))
        self._locks[upload_id] = lock, users + 1
        await lock.acquire()
        try:
            return await work()
        finally:
            lock.release()
            lock, users = self._locks.pop(upload_id)
            if users > 1:
                self._locks[upload_id] = lock, users - 1

    async def _complete(
        self,
        bucket: Bucket,
        key: str,
        upload_id: str,
        listed: Listed,
        size: int | None,
        expected: Checksum | None,
        condition: WriteCondition | None,
    ) -> Version:
        with Record("CompleteMultipartUpload", bucket=bucket.name, key=key, upload_id=upload_id) as record:
            completion = await self._uploads.begin_complete(bucket, key, upload_id, listed, condition)
            blob = completion.upload.blob
            record.backend = blob.backend
            record.tell(total_size=completion.size, parts_count=len(listed))
            if completion.done is not None:
                return completion.done
            version = await self._version_of(completion, listed, size, expected)
            stored = await self._ask(completion, Known(version.etag, version.checksum))
            try:
                return await self._committer.commit(bucket, blob, stored, version, condition, record)
            except Conflict:
                # Another process was asked to complete it, too, and was faster.
                again = await self._uploads.begin_complete(bucket, key, upload_id, listed, condition)
                if again.done is None:
                    raise
                return again.done

    async def _version_of(
        self, completion: Completion, listed: Listed, size: int | None, expected: Checksum | None
    ) -> NewVersion:
        upload, parts = completion.upload, completion.parts
        try:
            self._backends.check_size(upload.blob.backend, completion.size)
            if size is not None and size != completion.size:
                raise S3Error(
                    "InvalidRequest",
                    f"The provided 'x-amz-mp-object-size' header value {size} does not match what was"
                    f" computed: {completion.size}",
                )
            if upload.checksum_algorithm is not None and upload.checksum_kind is not None:
                told = [(number, checksum) for number, _, checksum in listed]
                check_listed(upload.checksum_algorithm, upload.checksum_kind, told)
            checksum = object_checksum(upload.checksum_algorithm, upload.checksum_kind, parts, expected)
        except Exception:
            await self._uploads.reopen(upload)
            raise
        return NewVersion(
            completion.size,
            composite_etag([part.etag for part in parts]),
            upload.metadata,
            checksum,
            tuple(PartInfo(part.number, part.size, part.checksum) for part in parts),
        )

    async def _ask(self, completion: Completion, told: Known) -> Stored:
        upload = completion.upload
        assert upload.backend_upload is not None
        backend = self._backends[upload.blob.backend]
        parts = [(part.number, part.backend_etag) for part in completion.parts]
        try:
            stored = await backend.complete_upload(
                upload.blob.name,
                upload.backend_upload,
                parts,
                exclusive=upload.blob.plain,
                late=afterword(told),
            )
        except (InvalidPart, BackendRefused, NameTaken) as error:
            # It may also be refused because an earlier Complete, whose answer was lost, has done it.
            found = await self._look(backend, completion)
            if found is not None:
                return found
            await self._uploads.reopen(upload)
            if isinstance(error, NameTaken):
                raise BackendUnavailable(str(error)) from error
            raise
        except NoSuchUpload:
            found = await self._look(backend, completion)
            if found is not None:
                return found
            await self._give_up(upload)
            raise
        except BackendError as error:
            self._backends.note(error, backend.name)
            if not error.sent:
                raise BackendUnavailable(str(error), sent=False) from error
            found = await self._look(backend, completion)
            if found is None:
                raise BackendUnavailable(str(error)) from error
            return found
        expected = composite_etag([etag for _, etag in parts])
        if stored.etag == expected or not self._backends.traits_of(backend.name).md5_etags:
            return stored
        # What else an ETag can mean is only known by looking.
        found = await self._look(backend, completion)
        if found is None or found.etag not in (stored.etag, expected):
            raise BackendUnavailable(f"{backend.name}: what it completed is not what it said")
        return found

    async def _look(self, backend: IBackend, completion: Completion) -> Stored | None:
        """Find out whether the object is there, made by this upload."""
        blob = completion.upload.blob
        try:
            found = await backend.head(blob.name)
        except NoSuchBlob:
            return None
        stamp = read_stamp(found.meta)
        if stamp is None or not stamp.is_of(blob, self._ledger_id) or found.size != completion.size:
            return None
        return Stored(found.etag, found.version_id)

    async def _give_up(self, upload: Upload) -> None:
        """The backend has lost the upload: nobody can complete it any more."""
        await self._uploads.reopen(upload)
        # A Complete whose answer was lost may still be at work.
        self._discard(upload, unclear=True)
