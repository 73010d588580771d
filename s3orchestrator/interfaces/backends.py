"""Backends, what they say of objects, and how they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from attrs import Factory, evolve, field, frozen
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

from s3orchestrator.domain.usage import Counters
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.values import value

T = TypeVar("T")


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


@value
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


@value
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


@value
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
    A body's length must be known. One given to a failing call has been stopped, or was never started.
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
