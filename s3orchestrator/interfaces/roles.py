"""The ledger's roles: a few coroutines each, over one database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from zope.interface import Interface

from s3orchestrator.domain.browsing import Copy, Unwanted
from s3orchestrator.domain.records import (
    Backlog,
    Blob,
    Bucket,
    Committed,
    Completion,
    Inventory,
    ListedVersion,
    NewVersion,
    Part,
    Removed,
    Upload,
    Usage,
    Version,
)
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces.backends import Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata


class IBuckets(Interface):
    """The buckets that exist."""

    async def all() -> Sequence[Bucket]:
        """Every bucket that is not deleted, by name."""

    async def adopt(name: str) -> Bucket:
        """Return the row of a bucket of the configuration file, made if need be."""

    async def create(name: str, owner: str) -> Bucket:
        """:raises BucketExists: the name is taken (`owned` if by `owner`)."""

    async def delete(bucket: Bucket) -> Sequence[Blob]:
        """
        Delete an empty bucket and abort its uploads; returns their blobs, doomed and claimed.

        Once it is deleted, nothing is raised any more: uploads that could not be aborted then
        are left to `IUploads.expire`.

        :raises BucketNotEmpty: it holds a version.
        :raises NoSuchBucket: it has gone meanwhile.
        """


class IBlobs(Interface):
    """The physical objects on the backends, and what each backend may still hold."""

    async def set_limits(limits: Mapping[str, int | None]) -> None:
        """Make the guard rows say what the configuration says; None is no limit."""

    async def usage() -> Sequence[Usage]:
        """Bytes counted per backend."""

    async def reserve(
        bucket: Bucket,
        key: str,
        size: int,
        backends: Sequence[str],
        *,
        verb: str = "put",
        avoid_plain: bool = False,
    ) -> Blob:
        """
        Set `size` bytes aside on the first of `backends` that has room.

        The blob is pending: its name is taken and its bytes are counted before the backend
        hears of it. It gets the plain name if no row of any state holds it, `avoid_plain` is
        False and the backend honours exclusive creation for `verb`; else a unique or hashed
        one. (The provider is constructed with `traits_of: Callable[[str], Traits | None]`.)

        :raises InsufficientStorage: none of them has room.
        :raises NoSuchBucket: it has been deleted.
        """

    async def reserve_scratch(backend: str) -> Sequence[Blob]:
        """Two pending blobs of no bucket for `IBackend.probe`: a simple name, and an odd one."""

    async def abandon(blob: Blob, *, unclear: bool) -> Blob | None:
        """
        pending -> doomed, claimed by the caller, who deletes it and then calls `forget`.

        None when the blob was no longer pending. `unclear`: a write may still arrive.
        """

    async def refused(blob: Blob) -> None:
        """pending -> resting: the backend says the name is not ours (412). Nothing may be deleted."""

    async def forget(blob: Blob, *, unclear: bool) -> None:
        """doomed -> nothing or resting (L8): the backend said deleted or not found."""

    async def forget_many(blobs: Sequence[tuple[Blob, bool]]) -> None:
        """`forget` for (blob, unclear) pairs in one transaction."""

    async def retry_later(blob: Blob, *, counted: bool, error: str = "") -> None:
        """
        Give the claim back; due again after the backoff. The tenth counted attempt makes it dead.

        `error` is what operators are told of the attempt.
        """

    async def retry_later_many(blobs: Sequence[tuple[Blob, bool]]) -> None:
        """`retry_later` for (blob, counted) pairs in one transaction."""

    async def claim_doomed(limit: int, *, busy: Collection[str] = ()) -> Sequence[Blob]:
        """Doomed blobs that are due, oldest first, now claimed by the caller; none of `busy` backends."""

    async def revive(blob_id: int) -> bool:
        """dead -> doomed, due now, with all its attempts before it; tells whether it was dead."""

    async def revive_some(backend: str, limit: int) -> int:
        """`revive` for at most `limit` dead blobs of a backend; returns how many that were."""

    async def write_off(blob_id: int) -> bool:
        """
        dead -> resting, as a clear name; tells whether it was dead.

        Nobody will look at it again: its bytes are no longer counted, whether they are there or not.
        """

    async def end_rests(limit: int) -> int:
        """Forget clear resting names whose quiet period is over; returns how many."""

    async def claim_unclear_rests(limit: int) -> Sequence[Blob]:
        """Unclear resting names whose quiet period is over: look once more, then `rested` or `rest_again`."""

    async def rested(blob: Blob) -> None:
        """resting -> nothing."""

    async def rest_again(blob: Blob) -> None:
        """Another quiet period; something was unclear or was found."""

    async def recover() -> int:
        """
        At start, with nobody else on the ledger: dooms pending blobs of no open upload, gives claims back.

        Returns how many were doomed. On a ledger that others may be working on nothing is done: the
        rest of our last run is the reaper's.
        """

    async def reap(limit: int, min_age_ms: int) -> int:
        """
        Doom up to `limit` pending blobs that are nobody's, or whose owner's lease has lapsed.

        Never those of an open upload; one that its backend has not confirmed is not open any more
        when its creator's lease has lapsed. They are left due. What lapsed owners had claimed
        becomes nobody's. Returns how many were doomed.
        """

    async def tie_up() -> None:
        """Hand back what operations of this process left behind of which nobody heard the outcome."""

    async def suspect(blob: Blob) -> None:
        """Mark a live blob that a reader missed or found wrong: it is read last, and not counted upon."""

    async def trust(blob: Blob) -> None:
        """Take the mark off a live blob that was found good."""

    async def names(backend: str, after: str = "", limit: int = 1000) -> Sequence[Blob]:
        """Rows of any state on `backend` whose names come after `after`, in byte order."""

    async def by_name(backend: str, name: str) -> Blob | None:
        """The row that holds that name, whatever its state."""

    def is_of_former_lease(blob: Blob) -> bool:
        """Tell whether our lease has lapsed since a blob was reserved: its name may be nobody's by now."""

    async def is_held(blob: Blob) -> bool:
        """Tell whether the row is still there, in any state."""


class IBrowse(Interface):
    """What operators look at; nothing here is for requests of clients."""

    async def copies(bucket: str, key: str) -> Sequence[Copy]:
        """Where an object is: all its versions, the latest first; nothing if there is no such object."""

    async def unwanted(state: str = "", after: str = "", limit: int = 50) -> tuple[Sequence[Unwanted], str]:
        """
        Return a page of what waits to be deleted, the dead first, and where the next one begins.

        `state` is doomed, dead or empty for both. `after` is empty or what a page before returned, and
        what is returned is empty with the last page. An entry that is tried again meanwhile moves.

        :raises ValueError: `after` is nothing a page has returned.
        """

    async def unwanted_count() -> tuple[int, int]:
        """How many blobs are doomed, and how many dead."""


class IVersions(Interface):
    """What clients see."""

    async def find(bucket: Bucket, key: str, version_id: str | None = None) -> Version:
        """
        The latest version (or the named one) with its live blobs, in one query.

        :raises NoSuchKey: there is none, or the latest is a delete marker.
        :raises NoSuchVersion: `version_id` was given and there is none.
        """

    async def describe(bucket: Bucket, key: str, version_id: str | None = None) -> Version:
        """As `find`, without the blobs: for whoever reads no byte."""

    async def commit(
        bucket: Bucket,
        blob: Blob,
        stored: Stored,
        version: NewVersion,
        condition: WriteCondition | None = None,
    ) -> Committed:
        """
        Make `version` current with `blob` as its bytes; pending -> live. Must be shielded.

        `version.size` may be less than was reserved. For a blob of an upload in `completing`
        the upload becomes completed and remembers the result in the same transaction.

        :raises PreconditionFailed: `condition` does not hold now; the blob is still pending.
        :raises NoSuchKey: `condition` wants an object and there is none.
        :raises NoSuchBucket: the bucket has been deleted.
        :raises Conflict: the blob is no longer pending.
        """

    async def remove(
        bucket: Bucket, key: str, version_id: str | None = None, condition: WriteCondition | None = None
    ) -> Removed:
        """Remove the latest (or named) version; one that is not there is no error."""

    async def remove_many(
        bucket: Bucket, entries: Sequence[tuple[str, str | None, WriteCondition | None]]
    ) -> Sequence[Removed]:
        """
        `remove` for at most 1000 entries, in transactions of at most 100; answers in their order.

        When one of them fails it is the `error` of its entries and of all that follow; it is
        raised only if nothing has been committed.
        """

    async def page(
        bucket: Bucket, lower: str, upper: str | None, limit: int, *, inclusive: bool
    ) -> Sequence[ListedVersion]:
        """Latest versions that are no delete markers, `lower` <(=) key < `upper`, ascending."""

    async def page_versions(
        bucket: Bucket,
        lower: str,
        upper: str | None,
        limit: int,
        *,
        inclusive: bool,
        after_version: str | None = None,
    ) -> Sequence[ListedVersion]:
        """All versions, key ascending, newest first; `after_version` continues within `lower`."""


class IUploads(Interface):
    """Multipart uploads from create to complete."""

    async def create(
        bucket: Bucket,
        key: str,
        backends: Sequence[str],
        metadata: ObjectMetadata,
        *,
        owner: str = "",
        checksum_algorithm: str | None = None,
        checksum_kind: str | None = None,
        max_open: int = 0,
        avoid_plain: bool = False,
    ) -> Upload:
        """
        A new upload with a pending blob of no size on the first of `backends` that has any room.

        :raises TooManyUploads: `max_open` (0: no limit) are open in this bucket.
        """

    async def opened(upload: Upload, backend_upload: str) -> Upload:
        """Remember the backend's id. Must be shielded."""

    async def find(bucket: Bucket, key: str, upload_id: str) -> Upload:
        """:raises NoSuchUpload: no such upload of that bucket and key is open or completing."""

    async def begin_part(upload: Upload, number: int, size: int) -> Part:
        """
        Reserve `size` bytes for another attempt at a part.

        :raises NoSuchUpload: it is not open any more.
        :raises InsufficientStorage: its backend has no room.
        """

    async def end_part(part: Part, stored: Stored, *, etag: str, checksum: Checksum | None) -> Part:
        """
        Record the answer. Of two attempts at one number the one recorded last counts.

        :raises NoSuchUpload: the upload was aborted meanwhile. Must be shielded.
        """

    async def fail_part(part: Part, *, unclear: bool) -> None:
        """Record that the attempt failed; its bytes stay reserved if `unclear`. Must be shielded."""

    async def parts(upload: Upload, after: int = 0, limit: int = 1000) -> Sequence[Part]:
        """The parts that count, ascending by number."""

    async def begin_complete(
        bucket: Bucket,
        key: str,
        upload_id: str,
        listed: Sequence[tuple[int, str, Checksum | None]],
        condition: WriteCondition | None = None,
    ) -> Completion:
        """
        open -> completing, with the list fixed; or, repeated with the same list, what was begun or done.

        :raises NoSuchUpload: unknown, aborted, or completed with another list.
        :raises InvalidPart: a listed part is not there or has another ETag or checksum.
        :raises PartTooSmall: one that is not the last is under 5 MiB.
        :raises PreconditionFailed: `condition` does not hold; the upload stays open.
        :raises Conflict: another Complete with another list is under way.
        """

    async def reopen(upload: Upload) -> None:
        """completing -> open: the backend refused clearly. Must be shielded."""

    async def abort(bucket: Bucket, key: str, upload_id: str) -> Upload | None:
        """
        open -> aborted; its blob is doomed and claimed by the caller. None if it was completed before.

        :raises NoSuchUpload: no such upload.
        :raises Conflict: it is completing.
        """

    async def page(
        bucket: Bucket,
        lower: str,
        upper: str | None,
        limit: int,
        *,
        inclusive: bool,
        after_upload: str | None = None,
    ) -> Sequence[Upload]:
        """Open uploads by key, then initiation, then id; `after_upload` continues within `lower`."""

    async def of_blob(blob: Blob) -> Upload | None:
        """The upload a blob was made for, in any state: cleaning up must abort it on the backend too."""

    async def expire(stale_before_ms: int, forget_before_ms: int) -> Sequence[Blob]:
        """
        Abort uploads without activity since the former, and what deleted buckets still have; forget
        completed ones older than the latter.

        Aborts at most 100, the oldest first: call it until it returns nothing. Returns the blobs
        of the aborted, doomed and claimed.
        """


class IUsageLedger(Interface):
    """What was used of the backends, by month (`YYYY-MM`, in UTC)."""

    async def record(used: Mapping[tuple[str, str], Counters]) -> None:
        """
        Add to what is recorded, by backend and month; all or nothing.

        :raises TransactionUnclear: it may be recorded, or not.
        """

    async def totals(period: str) -> Mapping[str, Counters]:
        """What all instances have recorded for a month, by backend."""

    async def inventory() -> Mapping[str, Inventory]:
        """How much the backends hold, by name; those that hold nothing may be missing."""

    async def backlog(most: int) -> Backlog:
        """How much is being written or to be deleted; of each no more than `most` are counted."""
