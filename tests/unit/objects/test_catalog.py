"""Buckets: who made them, and whether they may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, Bucket
from s3orchestrator.errors import (
    BucketExists,
    BucketNotEmpty,
    NoSuchBucket,
    StoreUnavailable,
    TransactionUnclear,
)
from s3orchestrator.interfaces import IBuckets
from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.protocol.metadata import ObjectMetadata
from tests.unit.objects.world import SMALL, World


class CatalogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.w = World()
        self.catalog = self.w.core.objects.catalog

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def names(self) -> list[str]:
        return [bucket.name for bucket in self.catalog.all()]

    def fail(self, failure: Any) -> None:  # type: ignore[override]
        """Let the next transaction fail."""
        number = self.w.points.transactions
        self.w.points.transacting = lambda begun: failure if begun == number else None

    def test_made_and_removed(self) -> None:
        """What users make is served at once, also by the next process; what they remove is not."""
        self.w.run(self.catalog.create("docs", "alice"))
        self.assertEqual(self.names(), ["docs", "photos"])
        self.w.restart()
        self.catalog = self.w.core.objects.catalog
        self.assertEqual(self.names(), ["docs", "photos"])
        bucket = self.catalog.get("docs")
        self.assertEqual(bucket.owner, "alice")
        self.w.run(self.catalog.delete(bucket))
        self.assertEqual(self.names(), ["photos"])
        self.assertIsNone(self.catalog.find("docs"))
        with self.assertRaises(NoSuchBucket):
            self.catalog.get("docs")

    def test_taken(self) -> None:
        """A name is somebody's, and whoever asks hears whether it is theirs."""
        self.w.run(self.catalog.create("docs", "alice"))
        for name, owner, owned in (("docs", "alice", True), ("docs", "bob", False), ("photos", "bob", False)):
            error = self.w.expect(BucketExists, self.catalog.create(name, owner))
            assert isinstance(error, BucketExists)
            self.assertEqual(error.owned, owned)

    def test_another_file(self) -> None:
        """Another file takes effect in one step: what it adds is served, what it leaves out is not."""
        self.w.run(self.catalog.create("docs", "alice"))
        adopted = self.w.run(self.catalog.adopt(["docs", "music"]))
        self.assertEqual(self.names(), ["docs", "photos"])
        self.catalog.take_over(["docs", "music"], adopted)
        self.assertEqual(self.names(), ["docs", "music"])
        self.assertTrue(self.catalog.is_of_file(self.catalog.get("docs")))
        self.catalog.take_over(["photos"], self.w.run(self.catalog.adopt(["photos"])))
        self.assertEqual(self.names(), ["docs", "photos"])
        self.w.run(self.catalog.reload())
        self.assertEqual(self.names(), ["docs", "photos"])

    def test_deleted_before_it_is_taken_over(self) -> None:
        """A bucket that its owner removes while another file is prepared is not served again."""
        self.w.run(self.catalog.create("docs", "alice"))
        adopted = self.w.run(self.catalog.adopt(["docs"]))
        self.w.run(self.catalog.delete(self.catalog.get("docs")))
        self.catalog.take_over(["docs", "photos"], adopted)
        self.assertEqual(self.names(), ["photos"])

    def test_not_in_the_file_any_more(self) -> None:
        """A bucket taken out of the file is not served, and its name stays taken."""
        self.w.run(self.w.putting("k", SMALL))
        self.w.run(self.catalog.load([]))
        self.assertEqual(self.names(), [])
        error = self.w.expect(BucketExists, self.catalog.create("photos", "alice"))
        assert isinstance(error, BucketExists)
        self.assertFalse(error.owned)
        self.assertEqual(self.names(), [])
        self.w.run(self.catalog.load(["photos"]))
        self.assertEqual(self.w.get("k", self.catalog.get("photos")), SMALL)

    def test_not_empty(self) -> None:
        """A bucket with an object stays; uploads that were not finished do not keep it."""
        bucket = self.w.run(self.catalog.create("docs", "alice"))
        self.w.run(self.w.putting("k", SMALL, bucket))
        self.w.expect(BucketNotEmpty, self.catalog.delete(bucket))
        self.w.run(self.w.core.objects.deleting.delete(bucket, "k"))
        multipart = self.w.core.objects.multipart
        self.w.run(multipart.create(bucket, "u", ObjectMetadata(), owner="alice"))
        self.w.run(self.catalog.delete(bucket))
        self.w.settle()
        self.assertEqual(self.w.run(self.w.backend("a").list_uploads()), [])

    def test_made_anew(self) -> None:
        """A bucket of the same name is another one: a write to the old one does not get there."""
        old = self.w.run(self.catalog.create("docs", "alice"))
        self.w.run(self.catalog.delete(old))
        new = self.w.run(self.catalog.create("docs", "bob"))
        self.w.expect(NoSuchBucket, self.w.putting("k", SMALL, old))
        self.w.run(self.w.putting("k", SMALL, new))
        self.assertEqual(self.w.contents(new), {"k": SMALL})
        self.w.expect(NoSuchBucket, self.catalog.delete(old))
        self.assertEqual(self.catalog.find("docs"), new)

    def test_deleted_in_the_midst_of_a_write(self) -> None:
        """The bytes are there already when the bucket has gone: they go as well."""
        bucket = self.w.run(self.catalog.create("docs", "alice"))
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before put" else None
        writing = start(self.w.putting("k", SMALL, bucket))
        self.w.points.at = None
        self.w.run(self.catalog.delete(bucket))
        waiting.callback(None)
        self.failureResultOf(writing, NoSuchBucket)
        self.w.settle()
        self.assertEqual(self.w.stored(), {"a": {}, "b": {}})

    def test_create_without_an_answer(self) -> None:
        """One that has happened all the same is served when its owner tries again."""
        self.fail((TransactionUnclear,))
        self.w.expect(StoreUnavailable, self.catalog.create("docs", "alice"))
        error = self.w.expect(BucketExists, self.catalog.create("docs", "alice"))
        assert isinstance(error, BucketExists)
        self.assertTrue(error.owned)
        self.assertEqual(self.names(), ["docs", "photos"])

    def test_delete_without_an_answer(self) -> None:
        """One that has happened all the same is gone for whoever tries again."""
        bucket = self.w.run(self.catalog.create("docs", "alice"))
        self.fail((TransactionUnclear,))
        self.w.expect(StoreUnavailable, self.catalog.delete(bucket))
        self.w.expect(NoSuchBucket, self.catalog.delete(bucket))
        self.assertEqual(self.names(), ["photos"])


async def away(*_: object, **__: object) -> Any:
    """A read that is not answered."""
    raise StoreUnavailable("away")


class InstancesTests(SynchronousTestCase):
    """Two instances that serve the buckets of one ledger; notices are passed on by hand."""

    def setUp(self) -> None:
        self.w = World()
        self.one = self.w.core.objects.catalog
        self.two = Catalog(self.w.core.ledger.buckets, self.w.core.cleaner, is_shared=True)
        self.w.run(self.two.load(["photos"]))

    def names(self, catalog: Catalog) -> list[str]:
        return [bucket.name for bucket in catalog.all()]

    def test_heard_of(self) -> None:
        """What another instance makes or removes is served, or not served any more, once it is heard of."""
        bucket = self.w.run(self.one.create("docs", "alice"))
        self.assertIsNone(self.two.find("docs"))
        self.two.heard("buckets")
        self.assertEqual(self.two.get("docs"), bucket)
        self.w.run(self.two.delete(bucket))
        self.one.heard("")  # something may have been missed
        self.assertEqual(self.names(self.one), ["photos"])

    def test_asked_for_before_heard_of(self) -> None:
        """Whoever made a bucket elsewhere finds it here at once; a list of buckets is never behind."""
        bucket = self.w.run(self.one.create("docs", "alice"))
        self.w.run(self.two.look_for("docs"))
        self.assertEqual(self.two.get("docs"), bucket)
        self.w.run(self.one.delete(bucket))
        self.w.run(self.two.look_again())
        self.assertEqual(self.names(self.two), ["photos"])

    def test_asked_for_while_the_ledger_is_away(self) -> None:
        """What is not known is not served, and what is stays."""
        self.w.run(self.one.create("docs", "alice"))
        self.w.points.transacting = lambda number: StoreUnavailable
        self.w.ledger.query = away  # type: ignore[method-assign]
        self.w.run(self.two.look_for("docs"))
        self.w.run(self.two.look_again())
        self.assertEqual(self.names(self.two), ["photos"])

    def test_other_notices(self) -> None:
        """Of anything else nothing is read."""
        self.w.run(self.one.create("docs", "alice"))
        self.two.heard("credentials")
        self.assertEqual(self.names(self.two), ["photos"])

    def test_made_elsewhere(self) -> None:
        """Making what another instance has just made is answered as if it were ours, and it is served."""
        self.w.run(self.one.create("docs", "alice"))
        for owner, owned in (("bob", False), ("alice", True)):
            error = self.w.expect(BucketExists, self.two.create("docs", owner))
            assert isinstance(error, BucketExists)
            self.assertEqual(error.owned, owned)
        self.assertEqual(self.names(self.two), ["docs", "photos"])

    def test_removed_elsewhere(self) -> None:
        """Nothing is written to a bucket that has gone elsewhere, and it can be made anew at once."""
        bucket = self.w.run(self.one.create("docs", "alice"))
        self.two.heard("buckets")
        self.w.run(self.one.delete(bucket))
        self.w.expect(NoSuchBucket, self.w.putting("k", SMALL, self.two.get("docs")))
        again = self.w.run(self.two.create("docs", "bob"))
        self.assertEqual(self.two.get("docs"), again)
        self.one.heard("buckets")
        self.assertEqual(self.one.get("docs"), again)

    def test_change_of_our_own_meanwhile(self) -> None:
        """A list that was read before our own change does not undo it; nor is it read once per notice."""
        buckets = SlowBuckets(self.w.core.ledger.buckets)
        catalog = Catalog(buckets, self.w.core.cleaner)
        buckets.answer_all()
        self.w.run(catalog.load(["photos"]))
        buckets.hold()
        for _ in range(5):
            catalog.heard("buckets")
        self.w.run(catalog.create("docs", "alice"))
        buckets.answer_all()
        self.assertEqual(self.names(catalog), ["docs", "photos"])
        self.assertLessEqual(buckets.asked, 4)

    def test_ledger_away(self) -> None:
        """What is served stays as it is while nothing can be read."""
        buckets = SlowBuckets(self.w.core.ledger.buckets)
        catalog = Catalog(buckets, self.w.core.cleaner)
        buckets.answer_all()
        self.w.run(catalog.load(["photos"]))
        buckets.is_away = True
        catalog.heard("")
        self.assertEqual(self.names(catalog), ["photos"])
        buckets.is_away = False
        self.w.run(self.one.create("docs", "alice"))
        catalog.heard("")
        self.assertEqual(self.names(catalog), ["docs", "photos"])


@define(eq=False)
class SlowBuckets:
    """The buckets of a ledger, whose list was read a while ago when it arrives."""

    _buckets: IBuckets
    is_away: bool = False
    asked: int = 0
    _held: Deferred[None] | None = None

    def hold(self) -> None:
        """Let nothing arrive."""
        self._held = Deferred()

    def answer_all(self) -> None:
        """Let everything arrive."""
        held, self._held = self._held, None
        if held is not None:
            held.callback(None)

    async def all(self) -> Sequence[Bucket]:
        if self.is_away:
            raise StoreUnavailable("it is away")
        self.asked += 1
        answer: Sequence[Bucket] = await self._buckets.all()
        if self._held is not None:
            await self._held
        return answer

    async def adopt(self, name: str) -> Bucket:
        adopted: Bucket = await self._buckets.adopt(name)
        return adopted

    async def create(self, name: str, owner: str) -> Bucket:
        created: Bucket = await self._buckets.create(name, owner)
        return created

    async def delete(self, bucket: Bucket) -> Sequence[Blob]:
        doomed: Sequence[Blob] = await self._buckets.delete(bucket)
        return doomed
