"""Lives of objects that are drawn by lot, to be lived in several ledgers alike."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, Bucket, Committed
from s3orchestrator.errors import NoSuchBucket
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.committing import LOCK_KEY
from s3orchestrator.store.counting import HOLD_BUCKET, count
from tests.contracts.store_kit import ABSENT, QUIET, Kit
from tests.contracts.store_races import outcomes

Act = Callable[["Life"], Coroutine[Any, Any, object]]

KEYS = ("k", "k/below", "l", "", "%s ~")
BACKENDS = ("a", "b", "u", "f")
CONDITIONS = (None, None, None, ABSENT, WriteCondition(if_match=("e1",)), WriteCondition(if_match=("*",)))

# What only a release that keeps versions will write.
NUMBER = """
    UPDATE versions SET version_id = :version_id
     WHERE bucket_id = :bucket_id AND key = :key AND is_latest AND version_id = 'null'
"""
NOT_LATEST = "UPDATE versions SET is_latest = FALSE WHERE bucket_id = :bucket_id AND key = :key AND is_latest"
MARK = """
    INSERT INTO versions (bucket_id, key, version_id, is_latest, is_delete_marker, size, etag,
                          modified_ms, metadata, storage_class)
    SELECT :bucket_id, :key, CASE WHEN count(CASE WHEN version_id = 'null' THEN 1 END) = 0
                                  THEN 'null' ELSE :version_id END,
           TRUE, TRUE, 0, '', coalesce(max(modified_ms), 0) + 1, '{}', 'STANDARD'
      FROM versions WHERE bucket_id = :bucket_id AND key = :key
"""
SPARE_IS_LIVE = """
    UPDATE blobs SET state = 'live', was_live = TRUE, owner = NULL, unclear = FALSE,
           version = (SELECT id FROM versions WHERE bucket_id = :bucket_id AND key = :key AND is_latest
                         AND NOT is_delete_marker)
     WHERE id = :id AND EXISTS (SELECT 1 FROM versions WHERE bucket_id = :bucket_id AND key = :key
                                   AND is_latest AND NOT is_delete_marker)
"""
IS_SERVED = "SELECT 1 FROM buckets WHERE id = :bucket_id AND deleted_ms IS NULL"
DRAIN = "UPDATE backends SET is_draining = :is_draining WHERE name = :backend"


class ChangedItsMind(Exception):
    """What a transaction says that has written, and is to be undone."""


@define(eq=False)
class Life:
    """
    One ledger's part: what happens depends on the lots, and on what the ledger has answered.

    So two that draw the same lots differ when the ledgers do, and not before.
    """

    kit: Kit
    _lots: Random
    buckets: list[Bucket] = field(init=False, factory=list)
    gone: list[Bucket] = field(init=False, factory=list)
    pending: list[Blob] = field(init=False, factory=list)
    doomed: list[Blob] = field(init=False, factory=list)
    committed: list[Blob] = field(init=False, factory=list)
    displaced: list[Blob] = field(init=False, factory=list)
    _etags: int = field(init=False, default=0)

    async def begin(self) -> None:
        """Have two buckets, and backends with and without a limit."""
        self.buckets = [await self.kit.buckets.adopt(name) for name in ("photos", "documents")]
        await self.kit.blobs.set_limits({"a": 400, "b": None, "u": 100, "f": None})

    async def step(self, at_once: int) -> list[object]:
        """Do several things in one turn of the reactor; returns what each of them was told."""
        acts = self._lots.choices(ACTS, WEIGHTS, k=at_once)
        told = await outcomes([start(act(self)) for act in acts])
        return [(act.__name__, type(one), _said(one)) for act, one in zip(acts, told, strict=True)]

    # --- what is drawn

    def bucket(self) -> Bucket:
        return self._lots.choice(self.buckets)

    def key(self) -> str:
        return self._lots.choice(KEYS)

    def backends(self) -> list[str]:
        return self._lots.sample(BACKENDS, self._lots.choice((1, 1, 2)))

    def is_so(self, chance: float) -> bool:
        return self._lots.random() < chance

    def one_of(self, blobs: list[Blob], *, keep: float = 0.0) -> Blob:
        """Draw one, which nearly always is no longer among them then."""
        if not blobs:
            raise ChangedItsMind("there is none")
        number = self._lots.randrange(len(blobs))
        return blobs[number] if self.is_so(keep) else blobs.pop(number)

    def etag(self) -> str:
        self._etags += 1
        return f"e{self._etags % 4}"

    # --- what is done

    async def put(self) -> object:
        condition, etag = self._lots.choice(CONDITIONS), self.etag()
        where = (self.bucket(), self.key(), self._lots.randrange(30), *self.backends())
        return self.made_current(await self.kit.put(*where, etag=etag, condition=condition))

    async def reserve(self) -> object:
        avoid_plain = self.is_so(0.2)
        where = (self.bucket(), self.key(), self._lots.randrange(30), *self.backends())
        blob = await self.kit.reserve(*where, avoid_plain=avoid_plain)
        self.pending.append(blob)
        return blob

    async def commit(self) -> object:
        blob, condition, etag = (
            self.one_of(self.pending, keep=0.2),
            self._lots.choice(CONDITIONS),
            self.etag(),
        )
        size = self._lots.choice((blob.size, blob.size, blob.size // 2, blob.size + 1))
        (bucket,) = [one for one in (*self.buckets, *self.gone) if one.id == blob.bucket_id]
        return self.made_current(
            await self.kit.commit(bucket, blob, size=size, etag=etag, condition=condition)
        )

    def made_current(self, committed: Committed) -> Committed:
        self.committed += committed.version.blobs
        self.displace(committed.displaced)
        return committed

    def displace(self, blobs: Sequence[Blob]) -> None:
        self.displaced += blobs
        self.doomed += blobs

    async def abandon(self) -> object:
        doomed = await self.kit.blobs.abandon(self.one_of(self.pending, keep=0.1), unclear=self.is_so(0.5))
        if doomed is not None:
            self.doomed.append(doomed)
        return doomed

    async def refused(self) -> object:
        return await self.kit.blobs.refused(self.one_of(self.pending, keep=0.1))

    async def remove(self) -> object:
        removed = await self.kit.versions.remove(self.bucket(), self.key())
        self.displace(removed.doomed)
        return removed

    async def remove_that(self) -> object:
        version_id = self._lots.choice((None, "null", "v1", "v2"))
        where = (self.bucket(), self.key(), version_id, self._lots.choice(CONDITIONS))
        removed = await self.kit.versions.remove(*where)
        self.displace(removed.doomed)
        return removed

    async def remove_many(self) -> object:
        entries = [(key, None, None) for key in self._lots.choices(KEYS, k=3)]
        removed = await self.kit.versions.remove_many(self.bucket(), entries)
        self.displace([blob for one in removed for blob in one.doomed])
        return removed

    async def forget(self) -> object:
        many = [
            (self.one_of(self.doomed, keep=0.1), self.is_so(0.3)) for _ in range(min(3, len(self.doomed)))
        ]
        return await self.kit.blobs.forget_many(many)

    async def wait(self) -> object:
        assert isinstance(self.kit.clock, Clock)
        self.kit.clock.advance(self._lots.choice((0.001, 1, QUIET)))
        return await self.kit.blobs.end_rests(100)

    async def upload(self) -> object:
        bucket, key, size = self.bucket(), self.key(), self._lots.randrange(1, 30)
        etag, backends = self.etag(), self.backends()
        upload = await self.kit.upload(bucket, key, *backends)
        await self.kit.part(upload, 1, size)
        completion = await self.kit.uploads.begin_complete(bucket, key, upload.id, [(1, "e1", None)])
        blob = completion.upload.blob
        return self.made_current(await self.kit.commit(bucket, blob, size=completion.size, etag=etag))

    async def copy(self) -> object:
        """Give a version a second blob."""
        blob = await self.kit.reserve(self.bucket(), self.key(), 6, "b")

        async def work(tx: ITransaction) -> bool:
            if not await self.is_held(tx, blob.bucket_id, blob.key):
                return False
            if not await tx.run(SPARE_IS_LIVE, id=blob.id, bucket_id=blob.bucket_id, key=blob.key):
                return False
            await count(tx, "b", blob.bucket_id, live=6, reserved=-6, objects=1)
            return True

        done = await self.kit.ledger.transact(work)
        (self.committed if done else self.pending).append(blob)
        return done

    async def number(self) -> object:
        """Give the latest version of a key a number, so that it stays when the key is overwritten."""
        where = {"bucket_id": self.bucket().id, "key": self.key()}
        version_id = self._lots.choice(("v1", "v2", "v3"))

        async def work(tx: ITransaction) -> None:
            if await self.is_held(tx, **where):
                await tx.run(NUMBER, version_id=version_id, **where)

        return await self.kit.ledger.transact(work)

    async def mark(self) -> object:
        """Put a delete marker on a key."""
        where = {"bucket_id": self.bucket().id, "key": self.key()}
        version_id = self._lots.choice(("m1", "m2"))

        async def work(tx: ITransaction) -> None:
            if await self.is_held(tx, **where):
                await tx.run(NOT_LATEST, **where)
                await tx.run(MARK, version_id=version_id, **where)

        return await self.kit.ledger.transact(work)

    async def is_held(self, tx: ITransaction, bucket_id: object, key: object) -> bool:
        """Lock a key, as everybody does who changes it; tell whether its bucket is still there."""
        await tx.soon(HOLD_BUCKET, bucket_id=bucket_id)
        await tx.soon(LOCK_KEY, bucket_id=bucket_id, key=key)
        return await tx.one(IS_SERVED, bucket_id=bucket_id) is not None

    async def fail(self) -> object:
        """Write and count, and be undone."""
        bucket = self.bucket()

        async def work(tx: ITransaction) -> None:
            await tx.run(DRAIN, backend="a", is_draining=True)
            await count(tx, "a", bucket.id, live=1000, objects=1)
            raise ChangedItsMind("after all")

        return await self.kit.ledger.transact(work)

    async def look(self) -> object:
        """Look at the counters in a transaction, and fail without having written."""

        async def work(tx: ITransaction) -> None:
            rows = await tx.all("SELECT sum(live), sum(reserved), sum(orphan) FROM backend_counts")
            raise ChangedItsMind(repr([tuple(row) for row in rows]))

        return await self.kit.ledger.transact(work)

    async def drain(self) -> object:
        return await self.kit.execute(DRAIN, backend=self.backends()[0], is_draining=self.is_so(0.2))

    async def limit(self) -> object:
        return await self.kit.blobs.set_limits(
            {self.backends()[0]: self._lots.choice((None, None, 200, 800))}
        )

    async def delete_bucket(self) -> object:
        """Delete a bucket, if it is empty and somebody else has not; another one takes its name."""
        bucket = self.bucket()
        with suppress(NoSuchBucket):
            await self.kit.buckets.delete(bucket)
        self.gone.append(bucket)
        self.buckets[self.buckets.index(bucket)] = await self.kit.buckets.adopt(bucket.name)
        return bucket


# How often each is done.
CHANCES: tuple[tuple[Act, int], ...] = (
    (Life.put, 30),
    (Life.reserve, 12),
    (Life.commit, 12),
    (Life.abandon, 4),
    (Life.refused, 2),
    (Life.remove, 16),
    (Life.remove_that, 4),
    (Life.remove_many, 2),
    (Life.forget, 12),
    (Life.wait, 4),
    (Life.upload, 3),
    (Life.copy, 4),
    (Life.number, 2),
    (Life.mark, 2),
    (Life.fail, 2),
    (Life.look, 2),
    (Life.drain, 3),
    (Life.limit, 3),
    (Life.delete_bucket, 2),
)
ACTS, WEIGHTS = [act for act, _ in CHANCES], [weight for _, weight in CHANCES]


def _said(answer: object) -> object:
    return str(answer).partition("~")[0] if isinstance(answer, Exception) else answer
