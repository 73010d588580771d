"""A name and room for a blob, before its backend hears of it (L1, L2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen
from prometheus_client import Counter

from s3orchestrator.domain.naming import (
    ENTROPY,
    ancestors,
    descendants,
    hashed_name,
    other_name,
    token,
    usable_plain_name,
)
from s3orchestrator.domain.records import Blob, BlobState, Bucket
from s3orchestrator.errors import InsufficientStorage, NoSuchBucket
from s3orchestrator.interfaces import ITransaction, Row, Traits
from s3orchestrator.store.counting import HOLD_BACKEND, HOLD_BUCKET, Kind, Tally, take
from s3orchestrator.store.operations import ILedger, Short

TraitsOf = Callable[[str], Traits | None]

# Of a backend that was never reached we assume the least.
UNKNOWN = Traits(exclusive=frozenset(), exact_names=False, md5_etags=False)

HOLD_NAME = "$hold_name"
LOCK_NAME = "$lock_name"

LOOK = """
    SELECT EXISTS (SELECT 1 FROM buckets WHERE id = :bucket_id AND deleted_ms IS NULL) AS is_served,
           EXISTS (SELECT 1 FROM bucket_guards WHERE bucket_id = :bucket_id) AS bucket_limited,
           EXISTS (SELECT 1 FROM backend_guards WHERE backend = :backend) AS limited,
           EXISTS (SELECT 1 FROM backends WHERE name = :backend AND is_draining) AS is_draining,
           EXISTS (SELECT 1 FROM blobs WHERE backend = :backend AND name = :plain) AS is_taken
"""

RESERVED = Counter(
    "s3o_pending_intents_enqueued_total",
    "Objects and uploads that were written down before their backend heard of them.",
)

NAMES_BELOW = "SELECT 1 FROM blobs WHERE backend = :backend AND name >= :lower AND name < :upper LIMIT 1"
NAME = "SELECT 1 FROM blobs WHERE backend = :backend AND name = :name"

INSERT = """
    INSERT INTO blobs (backend, name, state, size, created_ms, bucket_id, key, is_plain,
                       upload_id, multipart, owner, operation)
    VALUES (:backend, :name, 'pending', :size, :now_ms, :bucket_id, :key, :is_plain,
            :upload_id, :multipart, :owner, :operation)
"""


@frozen
class Wanted:
    """
    What a blob is to be reserved for.

    `room` is how much must be free, `size` what is set aside; `upload_id` is of the upload
    whose parts will make it grow.
    """

    bucket: Bucket
    key: str
    size: int
    room: int
    verb: str
    avoid_plain: bool = False
    upload_id: str | None = None

    def pending(self, blob_id: int, backend: str, name: str, now_ms: int, *, is_plain: bool) -> Blob:
        """Return what has been reserved for it."""
        return Blob(
            id=blob_id,
            backend=backend,
            name=name,
            state=BlobState.PENDING,
            size=self.size,
            created_ms=now_ms,
            bucket_id=self.bucket.id,
            key=self.key,
            plain=is_plain,
            upload_id=self.upload_id,
            multipart=self.upload_id is not None,
        )


@frozen
class Offer:
    """A backend, and the names that a blob may get there: `plain` (or None) if it is free, else `other`."""

    backend: str
    plain: str | None
    _make_other: Callable[[], str]

    @property
    def other(self) -> str:
        """A name that nobody ever had, another one each time."""
        return self._make_other()


@frozen
class Reserving:
    """Finds a backend and a name for what is wanted."""

    _ledger: ILedger
    _traits_of: TraitsOf
    _random: Callable[[int], bytes]

    def _fresh_token(self) -> str:
        return token(self._ledger.now_ms(), self._random(ENTROPY))

    async def reserve(
        self, tx: ITransaction, wanted: Wanted, backends: Sequence[str], operation: int
    ) -> Blob:
        """
        Insert a pending blob on the first of `backends` that has room.

        :raises InsufficientStorage: none has.
        :raises NoSuchBucket: the bucket has been deleted.
        """
        await tx.soon(HOLD_BUCKET, bucket_id=wanted.bucket.id)
        for backend in backends:
            await tx.soon(HOLD_BACKEND, backend=backend)
            traits = self._traits_of(backend) or UNKNOWN
            plain = usable_plain_name(wanted.bucket.name, wanted.key, exact=traits.exact_names)
            look = await self._look(tx, wanted, backend, plain)
            if look["is_draining"] or not await take(
                tx,
                backend,
                wanted.bucket.id,
                wanted.size,
                limited=look["limited"],
                bucket_limited=look["bucket_limited"],
                room=wanted.room,
            ):
                continue
            if wanted.avoid_plain or look["is_taken"] or wanted.verb not in traits.exclusive:
                plain = None
            name = await self._name(tx, wanted, backend, plain, traits)
            return await self._insert(tx, wanted, backend, name, operation, is_plain=name == plain)
        raise InsufficientStorage(f"no backend has room for {wanted.room} bytes")

    def short(self, wanted: Wanted, backends: Sequence[str], operation: int) -> Short[Blob] | None:
        """Return the shortcut to the first of `backends`, where there is one."""
        shortcuts = self._ledger.operations.shortcuts
        if not shortcuts or not backends or not (offer := self._offer(wanted, backends[0])):
            return None
        return lambda tx: shortcuts.reserve(tx, wanted, offer, operation)

    def _offer(self, wanted: Wanted, backend: str) -> Offer | None:
        """Return what needs only one name looked up: where folders exclude objects it is not enough."""
        traits = self._traits_of(backend) or UNKNOWN
        if wanted.upload_id is not None or not traits.exact_names:
            return None
        bucket, key, plain = wanted.bucket.name, wanted.key, None
        if wanted.verb in traits.exclusive and not wanted.avoid_plain:
            plain = usable_plain_name(bucket, key, exact=True)
        return Offer(backend, plain, lambda: other_name(bucket, key, self._fresh_token(), exact=True))

    async def _name(
        self, tx: ITransaction, wanted: Wanted, backend: str, plain: str | None, traits: Traits
    ) -> str:
        """Return the name to take: `plain` if it may be had, else one that nobody ever had."""
        bucket, key, exact = wanted.bucket.name, wanted.key, traits.exact_names
        name = plain or other_name(bucket, key, self._fresh_token(), exact=exact)
        if not exact and await _is_in_the_way(tx, backend, name):
            return hashed_name(bucket, key, self._fresh_token())
        return name

    async def _look(self, tx: ITransaction, wanted: Wanted, backend: str, plain: str | None) -> Row:
        look = await tx.one(LOOK, bucket_id=wanted.bucket.id, backend=backend, plain=plain)
        assert look is not None
        if not look["is_served"]:
            raise NoSuchBucket(wanted.bucket.name)
        return look

    async def _insert(
        self, tx: ITransaction, wanted: Wanted, backend: str, name: str, operation: int, *, is_plain: bool
    ) -> Blob:
        now_ms = self._ledger.now_ms()
        blob_id = await tx.insert(
            INSERT,
            backend=backend,
            name=name,
            size=wanted.size,
            now_ms=now_ms,
            bucket_id=wanted.bucket.id,
            key=wanted.key,
            is_plain=is_plain,
            upload_id=wanted.upload_id,
            multipart=wanted.upload_id is not None,
            owner=self._ledger.operations.owner,
            operation=operation,
        )
        tally = Tally()
        tally.move(backend, wanted.bucket.id, Kind.ABSENT, 0, Kind.RESERVED, wanted.size)
        await tally.write(tx)
        return wanted.pending(blob_id, backend, name, now_ms, is_plain=is_plain)


async def _is_in_the_way(tx: ITransaction, backend: str, name: str) -> bool:
    """Tell whether the name needs a folder where there is an object, or the other way round."""
    folders = ancestors(name)
    for folder in folders:
        await tx.soon(HOLD_NAME, backend=backend, name=folder)
    await tx.soon(LOCK_NAME, backend=backend, name=name)
    lower, upper = descendants(name)
    if await tx.one(NAMES_BELOW, backend=backend, lower=lower, upper=upper):
        return True
    for folder in folders:
        if await tx.one(NAME, backend=backend, name=folder):
            return True
    return False
