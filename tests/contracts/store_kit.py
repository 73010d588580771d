"""What the contracts of the ledger share: its roles, ways to fill it, and `fsck` at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import (
    Blob,
    Bucket,
    Committed,
    NewVersion,
    PartInfo,
    Upload,
    Usage,
)
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import (
    IBlobs,
    IBuckets,
    ITransaction,
    IUploads,
    IVersions,
    Row,
    Stored,
    Traits,
)
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.fsck import check
from s3orchestrator.store.operations import ILedger, Operations
from s3orchestrator.store.owners import Lease, Registration
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.versions import Versions

R = TypeVar("R")

QUIET = 3600.0
MIB = 1 << 20
PLAIN = Traits(exclusive=frozenset({"put", "copy", "complete"}))
UNIQUE = Traits()
FOLDERS = Traits(exclusive=frozenset({"put", "copy", "complete"}), exact_names=False)
ABSENT = WriteCondition(if_none_match=("*",))
METADATA = ObjectMetadata(content_type="text/plain", user={"colour": "green"})


@define(eq=False)
class TimedReactor:
    """A clock that a test turns by hand, with a real reactor's turns and its way to be called by threads."""

    clock: Clock
    reactor: Any

    def seconds(self) -> float:
        return self.clock.seconds()

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        self.reactor.callFromThread(call, *arguments)

    def callLater(self, seconds: float, call: Any, *arguments: Any) -> Any:
        return (self.clock if seconds else self.reactor).callLater(seconds, call, *arguments)


@implementer(ILedger)
@define(eq=False)
class FailingLedger:
    """Another ledger that goes away `after` some transactions."""

    _ledger: ILedger
    after: int

    @property
    def ledger_id(self) -> str:
        return self._ledger.ledger_id

    @property
    def operations(self) -> Operations:
        return self._ledger.operations

    async def transact(self, work: Callable[[ITransaction], Awaitable[Any]]) -> Any:
        if not self.after:
            raise StoreUnavailable("it is away")
        self.after -= 1
        return await self._ledger.transact(work)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        return await self._ledger.query(statement, **parameters)

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[Any]]) -> Any:
        return await self._ledger.snapshot(work)

    def now_ms(self) -> int:
        return self._ledger.now_ms()

    @property
    def clock_skew_ms(self) -> int:
        return self._ledger.clock_skew_ms

    async def measure_time(self) -> None:
        await self._ledger.measure_time()

    async def close(self) -> None:
        await self._ledger.close()


@implementer(ILedger)
@define(eq=False)
class SharedLedger:
    """Another instance's view of a ledger: the same rows, another owner."""

    _ledger: ILedger
    operations: Operations = field(factory=lambda: Operations(0, is_shared=True))
    clock_skew_ms: int = 0

    @property
    def ledger_id(self) -> str:
        return self._ledger.ledger_id

    async def transact(self, work: Callable[[ITransaction], Awaitable[Any]]) -> Any:
        return await self._ledger.transact(work)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        return await self._ledger.query(statement, **parameters)

    def now_ms(self) -> int:
        return self._ledger.now_ms()

    async def measure_time(self) -> None:
        """It is the same clock."""

    async def close(self) -> None:
        """The ledger is not ours to close."""


def all_traits() -> dict[str, Traits | None]:
    """What the backends of the contracts can be relied on for."""
    return {"a": PLAIN, "b": PLAIN, "u": UNIQUE, "f": FOLDERS}


def built(ledger: ILedger, kind: type[R], role: str) -> type[R]:
    """The class of a role on a ledger, which may be one that has others write for it."""
    choose = getattr(ledger, "built", None)
    return kind if choose is None else choose(kind, role)


def lease_on(ledger: ILedger, length: float | None, clock: Clock, **told: Any) -> Lease:
    """The lease of whoever has the ledger."""
    registration = built(ledger, Registration, "registration")(ledger, length)
    return Lease(ledger, length, clock.seconds, registration=registration, **told)


@define(eq=False)
class Kit:
    """All roles on one ledger, with backends `a`, `b` (plain names), `u` (unique) and `f` (folders)."""

    ledger: ILedger
    clock: Clock
    traits: dict[str, Traits | None] = field()
    blobs: Blobs = field(init=False)
    buckets: Buckets = field(init=False)
    versions: Versions = field(init=False)
    uploads: Uploads = field(init=False)

    @traits.default
    def _all_traits(self) -> dict[str, Traits | None]:
        # Where names are chosen by another process that process must know.
        parent = getattr(self.ledger, "parent", None)
        return all_traits() if parent is None else parent.traits

    def __attrs_post_init__(self) -> None:
        ledger, traits_of = self.ledger, self.traits.get
        self.blobs = built(ledger, Blobs, "blobs")(ledger, traits_of=traits_of, quiet_period=QUIET)
        self.buckets = built(ledger, Buckets, "buckets")(ledger)
        self.versions = built(ledger, Versions, "versions")(ledger)
        self.uploads = built(ledger, Uploads, "uploads")(ledger, traits_of=traits_of)

    def verify(self) -> None:
        """The roles keep to their interfaces."""
        verifyObject(IBlobs, self.blobs)
        verifyObject(IBuckets, self.buckets)
        verifyObject(IVersions, self.versions)
        verifyObject(IUploads, self.uploads)

    async def reserve(
        self, bucket: Bucket, key: str = "k", size: int = 10, *backends: str, **how: Any
    ) -> Blob:
        """Set bytes aside on `a`, unless told otherwise."""
        return await self.blobs.reserve(bucket, key, size, backends or ("a",), **how)

    async def put(
        self,
        bucket: Bucket,
        key: str = "k",
        size: int = 10,
        *backends: str,
        etag: str = "etag",
        condition: WriteCondition | None = None,
    ) -> Committed:
        """Write a key, as far as the ledger is concerned."""
        blob = await self.reserve(bucket, key, size, *backends)
        return await self.commit(bucket, blob, etag=etag, condition=condition)

    async def commit(
        self,
        bucket: Bucket,
        blob: Blob,
        *,
        size: int | None = None,
        etag: str = "etag",
        condition: WriteCondition | None = None,
        parts: tuple[PartInfo, ...] = (),
    ) -> Committed:
        """Make a blob current."""
        new = NewVersion(blob.size if size is None else size, etag, METADATA, parts=parts)
        return await self.versions.commit(bucket, blob, Stored(f"b-{etag}"), new, condition)

    async def upload(self, bucket: Bucket, key: str = "k", *backends: str, **how: Any) -> Upload:
        """Open an upload whose backend has answered."""
        upload = await self.uploads.create(bucket, key, backends or ("a",), METADATA, **how)
        return await self.uploads.opened(upload, f"on-backend-{upload.id}")

    async def part(self, upload: Upload, number: int, size: int = 5 * MIB, etag: str = "") -> None:
        """Upload a part."""
        part = await self.uploads.begin_part(upload, number, size)
        await self.uploads.end_part(part, Stored(f"b{number}"), etag=etag or f"e{number}", checksum=None)

    async def usage(self, backend: str = "a") -> Usage:
        """What is counted against a backend."""
        by_name = {usage.backend: usage for usage in await self.blobs.usage()}
        return by_name.get(backend, Usage(backend))

    async def limit_bucket(self, bucket: Bucket, bytes_limit: int) -> None:
        """Give a bucket a limit, as a later release will let operators do."""
        await self.execute(
            "INSERT INTO bucket_guards (bucket_id, taken, bytes_limit) VALUES (:id, 0, :bytes_limit)",
            id=bucket.id,
            bytes_limit=bytes_limit,
        )

    async def execute(self, statement: str, **parameters: object) -> None:
        """Change the ledger behind the roles' backs."""

        async def work(tx: ITransaction) -> None:
            await tx.run(statement, **parameters)

        await self.ledger.transact(work)

    async def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Read the ledger behind the roles' backs."""
        return [tuple(row) for row in await self.ledger.query(statement, **parameters)]

    async def restarted(self) -> int:
        """
        Be another process than the one that did all this, and tidy up after it.

        Returns how many pending blobs it had left behind.
        """
        if not self.ledger.operations.is_shared:
            return await self.blobs.recover()
        await self.execute("UPDATE owners SET lease_until_ms = 0")
        await lease_on(self.ledger, None, self.clock).renew()
        return await self.blobs.reap(100, 0)

    async def findings(self) -> Sequence[str]:
        """What `fsck` says."""
        return [
            f"{finding.rule} {finding.subject}: {finding.message}" for finding in await check(self.ledger)
        ]


class LedgerCase:
    """
    Mixed into `twisted.trial.unittest.TestCase` together with a contract.

    A provider says how its ledger is opened; whatever a test has done, `fsck` finds nothing.
    """

    clean_at_the_end = True

    def opened(self) -> ILedger | Awaitable[ILedger]:
        """A fresh, empty ledger on `self.clock`."""
        raise NotImplementedError

    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        opened = self.opened()
        self.kit = Kit(await opened if isinstance(opened, Awaitable) else opened, self.clock)
        self.addCleanup(lambda: start(self.kit.ledger.close()))
        self.addCleanup(lambda: start(self.look_for_findings()))
        self.bucket = await self.kit.buckets.adopt("photos")

    async def another(self) -> ILedger:
        """The same ledger as another instance sees it."""
        return SharedLedger(self.kit.ledger)

    async def look_for_findings(self) -> None:
        if self.clean_at_the_end:
            self.assertEqual(await self.kit.findings(), [])
