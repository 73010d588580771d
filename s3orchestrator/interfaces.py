"""
The ports: what the engine asks for, and what adapters provide.

The engine (`objects`) knows roles, never products. Each interface has a contract suite in
`tests/contracts`, run on every provider. All methods that wait are coroutines; anything
awaited here may be cancelled unless the docstring says it must be shielded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from attrs import Factory, evolve, field, frozen
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

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
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange

T = TypeVar("T")


class Filter(Protocol):
    """One stage in the life of a body: pure, incremental, raising if the bytes lie."""

    def resize(self, length: int) -> int:
        """Tell how many bytes come out for `length` bytes in."""

    def update(self, data: bytes) -> bytes:
        """Take the next bytes; give what may go on."""

    def finish(self) -> bytes:
        """Give the last bytes; called once, after everything has been taken."""


# --- backends -----------------------------------------------------------------------------


@frozen
class Traits:
    """
    What a backend can be relied on for.

    `exclusive` names the verbs ("put", "copy", "complete") that refuse to replace an object
    when asked to. `exact_names`: `//`, `..` and trailing slashes are held as they are.
    `md5_etags`: the ETag of a put or part is the MD5 of its bytes.
    """

    exclusive: frozenset[str] = frozenset()
    exact_names: bool = True
    md5_etags: bool = True


@frozen
class Description:
    """
    What a blob says of itself on the backend, so that it can be read without a ledger.

    `meta` holds names without `x-amz-meta-`, ASCII values; it includes the reserved `s3o`.
    `late` gives more of it once the whole body has been taken: a backend that keeps the
    description after the bytes asks for `whole`, others cannot.
    """

    content_type: str
    meta: Mapping[str, str] = Factory(dict)
    late: Callable[[], Mapping[str, str]] | None = field(default=None, eq=False, repr=False)

    def whole(self) -> Description:
        """Return it with what is known after the body."""
        return self if self.late is None else evolve(self, meta={**self.meta, **self.late()}, late=None)


@frozen
class Stored:
    """The backend's word that an object is there. `etag` is empty where it gave none."""

    etag: str
    version_id: str | None = None


@frozen
class Found:
    """An object as HEAD shows it. `meta` as in `Description`."""

    size: int
    etag: str
    modified_ms: int
    content_type: str = ""
    meta: Mapping[str, str] = Factory(dict)
    version_id: str | None = None


@frozen
class Fetched:
    """A reply whose headers are in. `size` is the whole object's, `body.length` that of the range."""

    size: int
    etag: str
    body: IBodyProducer


@frozen
class ListedObject:
    """An object as the backend's own listing shows it."""

    name: str
    size: int
    etag: str
    modified_ms: int


@frozen
class ListedUpload:
    """An unfinished multipart upload as the backend lists it."""

    name: str
    upload_id: str
    initiated_ms: int


class IBackend(Interface):
    """
    Somewhere objects can be put: one bucket of an S3 service, a directory, a dict.

    Names are `str` of at most 1024 UTF-8 bytes. Failures are the `BackendError` family of
    `s3orchestrator.errors`; `sent` is False only when nothing can have reached the backend.
    A body given to a failing call has been stopped, or was never started.
    """

    name: str = Attribute("what the configuration calls it")
    traits: Traits | None = Attribute("None until `probe` has found out")

    async def put(name: str, body: IBodyProducer, description: Description, *, exclusive: bool) -> Stored:
        """
        Store all of `body` under `name`; nothing of a body that fails ever appears.

        :raises NameTaken: `exclusive`, and there is an object of that name.
        """

    async def get(name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """
        Open the object; the body is not read until it is started, and must be started or stopped.

        :raises NoSuchBlob: there is none.
        :raises BlobChanged: `etag` was given and the object has another.
        """

    async def head(name: str) -> Found:
        """:raises NoSuchBlob: there is none."""

    async def delete(name: str, version_id: str | None = None) -> None:
        """Remove the object; one that is not there counts as removed."""

    async def copy(
        source: str, target: str, description: Description, *, exclusive: bool, source_etag: str | None = None
    ) -> Stored:
        """
        Copy on the backend, replacing the description.

        :raises NoSuchBlob: there is no source.
        :raises BlobChanged: the source has another ETag than `source_etag`.
        :raises NameTaken: `exclusive`, and there is an object of the target's name.
        """

    async def create_upload(name: str, description: Description) -> str:
        """Begin a multipart upload; returns the backend's id for it."""

    async def put_part(name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """
        Store a part; another of that number is replaced when this one is whole.

        :raises NoSuchUpload: the backend does not know the upload.
        """

    async def copy_part(
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        *,
        source_etag: str | None = None,
    ) -> Stored:
        """Make a part from (a range of) an object of the same backend."""

    async def complete_upload(
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """
        Make the object from parts, given as number and backend ETag in ascending order.

        `late` is added to the description that the upload was created with, where the backend
        can do that.

        :raises NoSuchUpload: the backend does not know the upload (it may have completed it before).
        :raises InvalidPart: a part is not there, or has another ETag.
        :raises NameTaken: `exclusive`, and there is an object of that name.
        """

    async def abort_upload(name: str, upload_id: str) -> None:
        """Discard an upload and its parts; one that is not there counts as discarded."""

    async def list_objects(prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[ListedObject]:
        """Up to `limit` objects whose names start with `prefix` and come after `after`, in byte order."""

    async def list_uploads(prefix: str = "") -> Sequence[ListedUpload]:
        """All unfinished uploads whose names start with `prefix`."""

    async def list_versions(name: str) -> Sequence[tuple[str, bool]]:
        """Version ids of exactly that name, and whether each is a delete marker; none without versioning."""

    async def probe(scratch: Sequence[str]) -> Traits:
        """
        Find out `traits` (and remember them), using only the two names in `scratch`.

        The caller owns the names in the ledger and cleans them up. A provider that knows
        its traits makes no call.
        """

    async def close() -> None:
        """Let go of connections and threads; transfers in progress fail."""


class ICountsRequests(Interface):
    """A backend some of whose calls are several requests, or are sent twice."""

    requests_sent: int = Attribute("requests that have left for it, ever")


class IStanding(Interface):
    """How the backends stand just now: who may be asked for what. Unknown names may be asked."""

    def may_write(name: str, size: int) -> bool:
        """Tell whether its monthly limits allow a call that sends it `size` bytes."""

    def may_read(name: str, size: int) -> bool:
        """Tell whether its monthly limits allow a call that has it send `size` bytes."""

    def is_failing(name: str) -> bool:
        """Tell whether it is being left alone; not once the time has come for somebody to try it."""


class ICounters(Interface):
    """
    What was used of the backends this month, in the ledger and beyond.

    Counting and asking wait for nothing: they are part of every call of a backend.
    """

    period: str = Attribute("the month it is, as in `IUsageLedger`")

    def add(backend: str, used: Counters) -> None:
        """Count for the month it is."""

    def used(backend: str) -> Counters:
        """Return everything known of this month, recorded or not."""

    def take() -> Mapping[tuple[str, str], Counters]:
        """
        Return what is to be recorded, by backend and month; it still counts.

        Either `recorded` or `give_back` must follow before it is taken again.
        """

    def recorded() -> None:
        """What was taken is in the ledger."""

    def give_back() -> None:
        """What was taken is not in the ledger; it is taken again next time."""

    def rebase(period: str, totals: Mapping[str, Counters]) -> None:
        """Take over what the ledger has for `period`, others' usage included; nothing is taken just now."""


# --- the ledger ---------------------------------------------------------------------------

Row = Any  # a row of the driver: read by column name, row["size"]


class ITransaction(Interface):
    """One transaction in progress; statements use `:name` parameters."""

    async def run(statement: str, **parameters: object) -> int:
        """Execute; returns the number of rows changed."""

    async def soon(statement: str, **parameters: object) -> None:
        """Execute before what comes next, which may be COMMIT: nobody waits to hear what it changed."""

    async def insert(statement: str, **parameters: object) -> int:
        """Execute an INSERT of one row; returns the `id` it was given."""

    async def one(statement: str, **parameters: object) -> Row | None:
        """Execute; returns the first row, or None."""

    async def all(statement: str, **parameters: object) -> list[Row]:
        """Execute; returns all rows."""


class IDatabase(Interface):
    """
    Where the ledger lives.

    `transact` runs a coroutine function inside one transaction: all or nothing, durable when
    it returns. What the coroutine raises rolls back and is raised here. It must await
    nothing but its transaction, and may be run more than once, each time from the start.
    """

    async def transact(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        :raises StoreUnavailable: the database cannot be asked.
        :raises TransactionUnclear: COMMIT got no answer.
        """

    async def query(statement: str, **parameters: object) -> list[Row]:
        """One read, without a transaction."""

    async def at_length(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """As `transact`, however long it takes: for an operator's command, and not for a service."""

    async def snapshot(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        Run a coroutine function that only reads, all of it as of one moment, however long it takes.

        Nobody waits for it. As in `transact` it must await nothing but its transaction, and it may
        run in another thread.

        :raises StoreUnavailable: the database cannot be asked, or has broken it off.
        """

    def now_ms() -> int:
        """Ledger time."""

    async def close() -> None:
        """Finish what is queued, then let go."""


class ILocks(Interface):
    """
    Locks by name, among all processes that share the ledger.

    They keep work from being done twice; what must not go wrong is guarded by compare-and-set,
    since a lock is lost with the connection that holds it.
    """

    def hold(name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a lock while the context lasts, without waiting for it; gives False if somebody else does."""


class ILease(Interface):
    """
    The right of this process to act on what it holds in the ledger, renewed again and again.

    Where there can be only one process it never ends.
    """

    interval: float = Attribute("seconds between renewals")
    clock_is_trusted: bool = Attribute("whether we may judge by our clock what is due, or lapsed")
    clock_skew_ms: int = Attribute("how far the database's clock is ahead of ours")

    def is_held() -> bool:
        """Tell whether what we hold is still ours for sure."""

    def may_send() -> bool:
        """Tell whether a change may be sent to a backend now: there is time left to hear its answer."""

    async def renew() -> None:
        """
        Take the lease, or take it for longer; one that had lapsed is taken under another name.

        :raises LedgerTooNew: this release may not write any more.
        """

    async def give_back() -> None:
        """Make everything we hold nobody's, and end: the last that is done before the ledger is closed."""

    async def lowest_level() -> int:
        """The schema level that all live instances know. States newer than that are not to be written."""


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
