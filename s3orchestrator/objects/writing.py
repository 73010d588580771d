"""
Writing an object: reserve a name, send the bytes there, make them current.

Nothing is overwritten: until the commit the old object is what everybody reads, and a
write that fails leaves a doomed blob, which the ledger knows and the cleaner deletes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, evolve

from s3orchestrator.concurrency import keep
from s3orchestrator.domain.describing import NOTHING_KNOWN, Known, afterword, describe
from s3orchestrator.domain.records import Blob, BlobState, Bucket, NewVersion, Version
from s3orchestrator.errors import (
    BackendError,
    BackendUnavailable,
    InsufficientStorage,
    NameTaken,
    NoSuchKey,
    StoreUnavailable,
    TransactionUnclear,
    UsageLimitExceeded,
)
from s3orchestrator.interfaces import Description, IBackend, IBlobs, IVersions, Stored
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.locations import Forget, forget_nothing
from s3orchestrator.objects.sending import Sending
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.storage import Record


@define(eq=False)
class Committer:
    """
    The last step of every write: a pending blob becomes a key's current bytes.

    `forget` is told of each key that may have changed.
    """

    _versions: IVersions
    _blobs: IBlobs
    _cleaner: Cleaner
    _forget: Forget = forget_nothing

    async def commit(
        self,
        bucket: Bucket,
        blob: Blob,
        stored: Stored,
        version: NewVersion,
        condition: WriteCondition | None,
        record: Record,
    ) -> Version:
        """
        Make `version` current; goes on to its end, and `record` with it, if the caller is cancelled.

        Whatever is raised, the blob has been taken care of.
        """
        return await record.shielded(self._commit(bucket, blob, stored, version, condition))

    async def _commit(
        self,
        bucket: Bucket,
        blob: Blob,
        stored: Stored,
        version: NewVersion,
        condition: WriteCondition | None,
    ) -> Version:
        try:
            committed = await self._versions.commit(bucket, blob, stored, version, condition)
        except TransactionUnclear:
            return await self._read_back(bucket, blob, stored)
        except StoreUnavailable:
            self._give_up(blob, stored)
            raise
        except Exception:
            self._abandon(blob, stored)
            raise
        finally:
            self._forget(bucket.id, blob.key)
        if committed.displaced:
            audit(
                "storage.overwrite_displaced",
                bucket=bucket.name,
                key=blob.key,
                new_backend=blob.backend,
                displaced_copies=len(committed.displaced),
            )
            self._cleaner.clean(committed.displaced)
        return committed.version

    async def _read_back(self, bucket: Bucket, blob: Blob, stored: Stored) -> Version:
        row = await self._blobs.by_name(blob.backend, blob.name)
        if row is not None and row.id == blob.id and row.state is BlobState.LIVE:
            return await self._versions.find(bucket, blob.key)
        self._give_up(blob, stored)
        raise StoreUnavailable("the write could not be recorded")

    def _give_up(self, blob: Blob, stored: Stored) -> None:
        """Nothing was recorded. An upload stays as it is: a repeated Complete records it."""
        if blob.upload_id is None:
            self._abandon(blob, stored)

    def _abandon(self, blob: Blob, stored: Stored) -> None:
        self._cleaner.abandon(evolve(blob, backend_version=stored.version_id), unclear=False)

    async def check_early(self, bucket: Bucket, key: str, condition: WriteCondition | None) -> None:
        """Refuse a write whose condition does not hold already, before any byte is sent."""
        if not condition:
            return
        try:
            current = (await self._versions.find(bucket, key)).etag
        except NoSuchKey:
            current = None
        condition.check(current)


def description_of(
    blob: Blob,
    metadata: ObjectMetadata,
    ledger_id: str,
    known: Known = NOTHING_KNOWN,
    told: Callable[[], Known] | None = None,
) -> Description:
    """
    Return what is stored with a blob on its backend.

    `known` is what is known of its bytes now, `told` gives what is known after them.
    """
    meta = describe(blob, ledger_id, metadata, known)
    return Description(metadata.content_type, meta, None if told is None else lambda: afterword(told()))


@define(eq=False)
class ObjectWriter:
    """Puts whole objects."""

    _backends: Backends
    _blobs: IBlobs
    _committer: Committer
    _cleaner: Cleaner
    _ledger_id: str
    _replay_limit: int

    async def put(
        self,
        bucket: Bucket,
        key: str,
        incoming: Incoming,
        metadata: ObjectMetadata,
        condition: WriteCondition | None = None,
    ) -> Version:
        """
        Store a body as the key's current version; a line of the audit trail.

        :raises: as `store` does.
        """
        with Record("PutObject", bucket=bucket.name, key=key, size=incoming.length) as record:
            return await self.store(bucket, key, incoming, metadata, condition, record)

    async def store(
        self,
        bucket: Bucket,
        key: str,
        incoming: Incoming,
        metadata: ObjectMetadata,
        condition: WriteCondition | None,
        record: Record,
    ) -> Version:
        """
        Store a body as part of the operation that `record` is of.

        :raises InsufficientStorage: no backend has room; the body was not read.
        :raises BackendUnavailable: no backend took it, or one died half-way through a body too large to keep.
        :raises PreconditionFailed: `condition` does not hold, before or after the upload.
        """
        await self._committer.check_early(bucket, key, condition)
        sending = Sending(incoming, self._replay_limit)
        blob, stored = await self._send(bucket, key, sending, metadata, record)
        try:
            etag = sending.etag_of(stored, self._backends.traits_of(blob.backend))
        except Exception:
            self._cleaner.abandon(evolve(blob, backend_version=stored.version_id), unclear=False)
            raise
        digests = sending.digests()
        version = NewVersion(sending.length, etag, metadata, digests.checksum, sha256=digests.sha256)
        return await self._committer.commit(bucket, blob, stored, version, condition, record)

    async def _send(
        self, bucket: Bucket, key: str, sending: Sending, metadata: ObjectMetadata, record: Record
    ) -> tuple[Blob, Stored]:
        candidates = await self._backends.writable(sending.length)
        avoid_plain = False
        failure: BackendError | None = None
        failed: list[str] = []
        while True:
            try:
                blob = await keep(
                    self._blobs.reserve(bucket, key, sending.length, candidates, avoid_plain=avoid_plain),
                    partial(self._cleaner.abandon, unclear=False),
                )
            except InsufficientStorage as error:
                failure = failure or self._backends.left_alone(sending.length)
                if failure is None:
                    raise
                raise BackendUnavailable(f"{failure}; {error}") from failure
            record.backend = blob.backend
            try:
                stored = await self._attempt(self._backends[blob.backend], blob, sending, metadata)
            except NameTaken as error:
                self._cleaner.insist(partial(self._blobs.refused, blob))
                avoid_plain = True
                if not sending.is_replayable:
                    raise BackendUnavailable(f"{blob.backend}: the name is taken; try again") from error
            except BackendError as error:
                if not isinstance(error, UsageLimitExceeded):
                    failure = error
                elif failure is None:
                    failure = self._backends.left_alone(sending.length)
                failed.append(blob.backend)
                self._backends.note(error, blob.backend)
                self._cleaner.abandon(blob, unclear=error.is_unclear)
                candidates = [name for name in candidates if name != blob.backend]
                if not candidates or not sending.is_replayable:
                    raise self._given_up(failure, error) from error
            else:
                self._backends.took_over("PutObject", failed, blob.backend)
                return blob, stored

    def _given_up(self, failure: BackendError | None, last: BackendError) -> BackendError:
        """Return what to tell the client: that there is no room only if nothing else stood in the way."""
        if failure is None and isinstance(last, UsageLimitExceeded):
            return self._backends.rejected(last, "PutObject")
        return BackendUnavailable(str(failure or last))

    async def _attempt(
        self, backend: IBackend, blob: Blob, sending: Sending, metadata: ObjectMetadata
    ) -> Stored:
        asked = False
        try:
            body = await sending.offer(self._backends.traits_of(blob.backend))
            # A client may take any time; others may have doomed the blob and forgotten it meanwhile.
            if self._blobs.is_of_former_lease(blob):
                raise StoreUnavailable("the lease has lapsed while the body came")
            asked = True
            told = None if sending.is_kept else sending.told
            description = description_of(blob, metadata, self._ledger_id, sending.foretold(), told)
            return await backend.put(blob.name, body, description, exclusive=blob.plain)
        except BackendError:
            raise
        except BaseException:
            # The client left, or its bytes were not what it declared: the request is over.
            self._cleaner.abandon(blob, unclear=asked)
            raise
