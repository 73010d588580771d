"""The contracts of `IVersions` and `IBuckets`: what clients see."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import (
    NULL_VERSION,
    BlobState,
    Bucket,
    NewVersion,
    PartInfo,
    Usage,
)
from s3orchestrator.errors import (
    BucketExists,
    BucketNotEmpty,
    Conflict,
    NoSuchBucket,
    NoSuchKey,
    NoSuchVersion,
    PreconditionFailed,
    StoreUnavailable,
)
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.versions import Change, Notice, Versions
from tests.contracts.store_kit import ABSENT, QUIET, FailingLedger, LedgerCase


class CommitContract(LedgerCase):
    """Making a version current."""

    async def test_found(self) -> None:
        """
        What was committed is found, with all that was said about it and where it is.
        """
        blob = await self.kit.reserve(self.bucket, "k", 10)
        new = NewVersion(
            size=10,
            etag="e",
            metadata=ObjectMetadata("text/x", {"Cache-Control": "no-cache"}, {"a": "b"}),
            checksum=Checksum("sha256", "abc=", "COMPOSITE"),
            parts=(PartInfo(1, 6, Checksum("sha256", "x=")), PartInfo(2, 4)),
            sha256="00ff",
        )
        committed = await self.kit.versions.commit(self.bucket, blob, Stored("on-backend", "v7"), new)
        found = await self.kit.versions.find(self.bucket, "k")
        self.assertEqual(found, committed.version)
        self.assertEqual(
            (found.size, found.etag, found.metadata, found.checksum, found.sha256),
            (new.size, new.etag, new.metadata, new.checksum, new.sha256),
        )
        self.assertEqual(tuple(found.parts), new.parts)
        self.assertEqual((found.version_id, found.is_latest), (NULL_VERSION, True))
        self.assertEqual(found.modified_ms, 1_700_000_000_000)
        (held,) = found.blobs
        self.assertEqual((held.id, held.name, held.state), (blob.id, "photos/k", BlobState.LIVE))
        self.assertEqual((held.etag, held.backend_version), ("on-backend", "v7"))
        self.assertEqual((held.was_live, held.unclear), (True, False))
        self.assertEqual(await self.kit.versions.find(self.bucket, "k", NULL_VERSION), found)
        described = evolve(found, blobs=())
        self.assertEqual(await self.kit.versions.describe(self.bucket, "k"), described)
        self.assertEqual(await self.kit.versions.describe(self.bucket, "k", NULL_VERSION), described)

    async def test_not_there(self) -> None:
        """
        A key without a version, or without that one, is told apart.
        """
        other = await self.kit.buckets.adopt("documents")
        for look_up in (self.kit.versions.find, self.kit.versions.describe):
            with self.assertRaises(NoSuchKey):
                await look_up(self.bucket, "k")
        await self.kit.put(self.bucket)
        for look_up in (self.kit.versions.find, self.kit.versions.describe):
            with self.assertRaises(NoSuchVersion):
                await look_up(self.bucket, "k", "other")
            with self.assertRaises(NoSuchKey):
                await look_up(other, "k")

    async def test_pending_is_not_seen(self) -> None:
        """
        What is still being written is not there.
        """
        await self.kit.reserve(self.bucket)
        with self.assertRaises(NoSuchKey):
            await self.kit.versions.find(self.bucket, "k")

    async def test_displaces(self) -> None:
        """
        The old bytes stay until the commit, which dooms them for the caller to delete.
        """
        first = await self.kit.put(self.bucket, "k", 10, etag="1")
        blob = await self.kit.reserve(self.bucket, "k", 20)
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).etag, "1")
        second = await self.kit.commit(self.bucket, blob, etag="2")
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).etag, "2")
        self.assertNotEqual(second.version.id, first.version.id)
        (displaced,) = second.displaced
        self.assertEqual((displaced.id, displaced.state), (first.version.blobs[0].id, BlobState.DOOMED))
        self.assertEqual((displaced.was_live, displaced.unclear), (True, False))
        self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
        self.assertEqual(await self.kit.usage(), Usage("a", 20, 0, 10, None))

    async def test_time_never_goes_back(self) -> None:
        """
        On one key the time of the last change grows, whatever the clock does.
        """
        first = (await self.kit.put(self.bucket)).version.modified_ms
        second = (await self.kit.put(self.bucket)).version.modified_ms
        self.assertEqual(second, first + 1)
        self.clock.advance(10)
        self.assertEqual((await self.kit.put(self.bucket)).version.modified_ms, first + 10_000)

    async def test_only_once(self) -> None:
        """
        A blob is committed once, and not after it was abandoned.
        """
        blob = await self.kit.reserve(self.bucket)
        await self.kit.commit(self.bucket, blob)
        with self.assertRaises(Conflict):
            await self.kit.commit(self.bucket, blob)
        abandoned = await self.kit.reserve(self.bucket)
        await self.kit.blobs.abandon(abandoned, unclear=False)
        with self.assertRaises(Conflict):
            await self.kit.commit(self.bucket, abandoned)
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).blobs[0].id, blob.id)

    async def test_condition(self) -> None:
        """
        A condition is decided in the commit; when it fails nothing has happened, and the blob is pending.
        """
        matching = WriteCondition(if_match=("1",))
        blob = await self.kit.reserve(self.bucket)
        with self.assertRaises(NoSuchKey):
            await self.kit.commit(self.bucket, blob, condition=matching)
        await self.kit.commit(self.bucket, blob, etag="1", condition=ABSENT)
        second = await self.kit.reserve(self.bucket)
        with self.assertRaises(PreconditionFailed):
            await self.kit.commit(self.bucket, second, condition=ABSENT)
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).etag, "1")
        await self.kit.commit(self.bucket, second, etag="2", condition=matching)
        third = await self.kit.reserve(self.bucket)
        with self.assertRaises(PreconditionFailed):
            await self.kit.commit(self.bucket, third, etag="3", condition=matching)

    async def test_bucket_deleted_meanwhile(self) -> None:
        """
        A write that ends after its bucket is told so; its blob is for the caller to abandon.
        """
        blob = await self.kit.reserve(self.bucket)
        await self.kit.buckets.delete(self.bucket)
        with self.assertRaises(NoSuchBucket):
            await self.kit.commit(self.bucket, blob)
        self.assertIsNotNone(await self.kit.blobs.abandon(blob, unclear=False))

    async def test_more_than_reserved(self) -> None:
        """
        Nobody stores more than was set aside.
        """
        blob = await self.kit.reserve(self.bucket, "k", 10)
        with self.assertRaises(ValueError):
            await self.kit.commit(self.bucket, blob, size=11)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 10, 0, None))


class RemoveContract(LedgerCase):
    """Removing versions."""

    async def test_removed(self) -> None:
        """
        What is removed is gone at once; its blobs are doomed for the caller to delete.
        """
        committed = await self.kit.put(self.bucket)
        removed = await self.kit.versions.remove(self.bucket, "k")
        self.assertEqual((removed.key, removed.version_id), ("k", NULL_VERSION))
        self.assertEqual([blob.id for blob in removed.doomed], [committed.version.blobs[0].id])
        self.assertFalse(removed.doomed[0].unclear)
        with self.assertRaises(NoSuchKey):
            await self.kit.versions.find(self.bucket, "k")
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))

    async def test_nothing_to_remove(self) -> None:
        """
        That there is none is no error.
        """
        for version_id in (None, NULL_VERSION, "other"):
            removed = await self.kit.versions.remove(self.bucket, "k", version_id)
            self.assertEqual((removed.version_id, removed.doomed), (None, ()))

    async def test_named(self) -> None:
        """
        A version can be removed by its id.
        """
        await self.kit.put(self.bucket)
        self.assertIsNone((await self.kit.versions.remove(self.bucket, "k", "other")).version_id)
        removed = await self.kit.versions.remove(self.bucket, "k", NULL_VERSION)
        self.assertEqual(removed.version_id, NULL_VERSION)

    async def test_condition(self) -> None:
        """
        What has changed meanwhile is not removed.
        """
        await self.kit.put(self.bucket, etag="1")
        with self.assertRaises(PreconditionFailed):
            await self.kit.versions.remove(self.bucket, "k", None, WriteCondition(if_match=("2",)))
        removed = await self.kit.versions.remove(self.bucket, "k", None, WriteCondition(if_match=("1",)))
        self.assertEqual(removed.version_id, NULL_VERSION)

    async def test_many(self) -> None:
        """
        Many are answered in their order; one that is refused keeps nobody from going.
        """
        for number in range(250):
            await self.kit.put(self.bucket, f"{number:03}", 1)
        entries = [(f"{number:03}", None, None) for number in reversed(range(250))]
        refused = ("100", None, WriteCondition(if_match=("other",)))
        removed = await self.kit.versions.remove_many(
            self.bucket, [refused, ("missing", None, None), *entries, ("000", None, None)]
        )
        self.assertIsInstance(removed[0].error, PreconditionFailed)
        self.assertEqual(removed[0].doomed, ())
        self.assertIsNone(removed[1].version_id)
        self.assertEqual([one.key for one in removed[2:-1]], [key for key, _, _ in entries])
        self.assertTrue(all(len(one.doomed) == 1 for one in removed[2:-1]))
        self.assertIsNone(removed[-1].version_id)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 250, None))

    async def test_many_in_part(self) -> None:
        """
        When a later transaction fails, what was removed before is told, and so is what was not.
        """
        for number in range(250):
            await self.kit.put(self.bucket, f"{number:03}", 1)
        entries = [(f"{number:03}", None, None) for number in range(250)]
        versions = Versions(FailingLedger(self.kit.ledger, after=1))
        removed = await versions.remove_many(self.bucket, entries)
        self.assertEqual([one.key for one in removed], [key for key, _, _ in entries])
        self.assertEqual([len(one.doomed) for one in removed], [1] * 100 + [0] * 150)
        self.assertEqual([type(one.error) for one in removed[99:101]], [type(None), StoreUnavailable])
        with self.assertRaises(StoreUnavailable):
            await versions.remove_many(self.bucket, entries[100:])

    async def test_next_becomes_latest(self) -> None:
        """
        When the latest goes, the newest of the others is the latest.
        """
        await self.stack("k", "v1", "v2", "v3")
        removed = await self.kit.versions.remove(self.bucket, "k")
        self.assertEqual(removed.version_id, "v3")
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).version_id, "v2")
        await self.kit.versions.remove(self.bucket, "k", "v1")
        self.assertEqual((await self.kit.versions.find(self.bucket, "k")).version_id, "v2")

    async def stack(self, key: str, *version_ids: str) -> None:
        """Give a key several versions, as versioning will."""
        for version_id in version_ids:
            await self.kit.put(self.bucket, key)
            await self.kit.execute(
                "UPDATE versions SET version_id = :to WHERE key = :key AND version_id = 'null'",
                key=key,
                to=version_id,
            )


class ListingContract(RemoveContract):
    """Pages of keys and of versions."""

    KEYS = ("Z", "a", "a/b", "a/ä", "b", "ä", "🙂")  # in byte order

    async def fill(self, keys: Iterable[str] = KEYS) -> None:
        for key in keys:
            await self.kit.put(self.bucket, key, 1, etag=f"e-{key}")

    async def page(self, lower: str, upper: str | None, limit: int, *, inclusive: bool) -> list[str]:
        listed = await self.kit.versions.page(self.bucket, lower, upper, limit, inclusive=inclusive)
        return [one.key for one in listed]

    async def test_pages(self) -> None:
        """
        Keys come in byte order, between bounds of which the lower may be included.
        """
        await self.fill(reversed(self.KEYS))
        self.assertEqual(await self.page("", None, 100, inclusive=True), list(self.KEYS))
        self.assertEqual(await self.page("a", None, 2, inclusive=True), ["a", "a/b"])
        self.assertEqual(await self.page("a", None, 2, inclusive=False), ["a/b", "a/ä"])
        self.assertEqual(await self.page("a/", "a0", 100, inclusive=True), ["a/b", "a/ä"])
        self.assertEqual(await self.page("a", "ä", 100, inclusive=False), ["a/b", "a/ä", "b"])
        self.assertEqual(await self.page("🙂", None, 100, inclusive=False), [])

    async def test_what_a_page_shows(self) -> None:
        """
        A listing needs no other look at the ledger.
        """
        committed = (await self.kit.put(self.bucket, "k", 7)).version
        (listed,) = await self.kit.versions.page(self.bucket, "", None, 10, inclusive=True)
        self.assertEqual(
            (listed.key, listed.size, listed.etag, listed.modified_ms, listed.version_id, listed.is_latest),
            ("k", 7, "etag", committed.modified_ms, NULL_VERSION, True),
        )
        self.assertEqual((listed.storage_class, listed.checksum_algorithm), ("STANDARD", None))

    async def test_other_buckets(self) -> None:
        """
        A bucket lists its own.
        """
        await self.fill()
        other = await self.kit.buckets.adopt("documents")
        self.assertEqual(await self.kit.versions.page(other, "", None, 10, inclusive=True), [])

    async def test_versions(self) -> None:
        """
        Versions of a key come newest first, pages go on within a key.
        """
        await self.stack("b", "v1", "v2", "v3")
        await self.kit.put(self.bucket, "a")
        await self.stack("c", "w1", "w2")
        expected = ["a null", "b v3", "b v2", "b v1", "c w2", "c w1"]
        self.assertEqual(await self.versions("", None, 100, inclusive=True), expected)
        for limit in range(1, 7):
            self.assertEqual(await self.walk(limit), expected)
        self.assertEqual(await self.versions("b", "c", 100, inclusive=True), expected[1:4])
        self.assertEqual(await self.versions("b", None, 100, inclusive=False), expected[4:])

    async def test_versions_removed_while_listing(self) -> None:
        """
        A client that removes each page before it asks for the next misses nothing.
        """
        await self.stack("b", "v1", "v2", "v3")
        await self.stack("c", "w1", "w2")
        seen, key, version_id = [], "", None
        while page := await self.kit.versions.page_versions(
            self.bucket, key, None, 2, inclusive=False, after_version=version_id
        ):
            for one in page:
                await self.kit.versions.remove(self.bucket, one.key, one.version_id)
            seen += [f"{one.key} {one.version_id}" for one in page]
            key, version_id = page[-1].key, page[-1].version_id
        self.assertEqual(seen, ["b v3", "b v2", "b v1", "c w2", "c w1"])

    async def versions(self, lower: str, upper: str | None, limit: int, *, inclusive: bool) -> list[str]:
        listed = await self.kit.versions.page_versions(self.bucket, lower, upper, limit, inclusive=inclusive)
        return [f"{one.key} {one.version_id}" for one in listed]

    async def walk(self, limit: int) -> list[str]:
        seen, key, version_id = [], "", None
        while page := await self.kit.versions.page_versions(
            self.bucket, key, None, limit, inclusive=False, after_version=version_id
        ):
            self.assertLessEqual(len(page), limit)
            seen += [f"{one.key} {one.version_id}" for one in page]
            key, version_id = page[-1].key, page[-1].version_id
        return seen


class OutboxContract(LedgerCase):
    """Events exist exactly if their change does (L6)."""

    async def setUp(self) -> None:
        await super().setUp()
        self.kit.versions = Versions(self.kit.ledger, notices_of=self.notices_of)

    def notices_of(self, change: Change) -> list[Notice]:
        event = "put" if change.committed is not None else "delete"
        return [Notice(event, endpoint, change.key) for endpoint in ("one", "two")]

    async def events(self) -> list[tuple[object, ...]]:
        return await self.kit.rows("SELECT event, endpoint, payload FROM outbox ORDER BY id")

    async def test_written_with_the_change(self) -> None:
        """
        One event per subscriber for what happened, none for what did not.
        """
        await self.kit.put(self.bucket)
        with self.assertRaises(PreconditionFailed):
            await self.kit.put(self.bucket, condition=ABSENT)
        await self.kit.versions.remove(self.bucket, "missing")
        await self.kit.versions.remove(self.bucket, "k")
        self.assertEqual(
            await self.events(),
            [
                ("put", "one", "k"),
                ("put", "two", "k"),
                ("delete", "one", "k"),
                ("delete", "two", "k"),
            ],
        )


class BucketsContract(LedgerCase):
    """Buckets come and go."""

    async def names(self) -> list[str]:
        return [bucket.name for bucket in await self.kit.buckets.all()]

    async def test_adopt(self) -> None:
        """
        A bucket of the configuration file has one row, however often the program starts.
        """
        self.assertEqual(await self.kit.buckets.adopt("photos"), self.bucket)
        self.assertEqual((self.bucket.name, self.bucket.owner), ("photos", None))
        await self.kit.buckets.adopt("albums")
        self.assertEqual(await self.names(), ["albums", "photos"])

    async def test_create(self) -> None:
        """
        A name is taken once; its owner is told so in another way than others are.
        """
        created = await self.kit.buckets.create("new", "alice")
        self.assertEqual((created.name, created.owner), ("new", "alice"))
        for name, owner, owned in (("new", "alice", True), ("new", "bob", False), ("photos", "bob", False)):
            with self.assertRaises(BucketExists) as taken:
                await self.kit.buckets.create(name, owner)
            self.assertEqual(taken.exception.owned, owned)
        self.assertEqual(await self.names(), ["new", "photos"])

    async def test_delete(self) -> None:
        """
        Only an empty bucket is deleted, and only once.
        """
        await self.kit.put(self.bucket)
        with self.assertRaises(BucketNotEmpty):
            await self.kit.buckets.delete(self.bucket)
        self.assertEqual(await self.names(), ["photos"])
        await self.kit.versions.remove(self.bucket, "k")
        self.assertEqual(await self.kit.buckets.delete(self.bucket), [])
        self.assertEqual(await self.names(), [])
        with self.assertRaises(NoSuchBucket):
            await self.kit.buckets.delete(self.bucket)

    async def test_uploads_end(self) -> None:
        """
        Deleting a bucket ends its uploads; their blobs are the caller's to delete.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 100)
        await self.kit.put(self.bucket, "other")
        await self.kit.versions.remove(self.bucket, "other")
        (doomed,) = await self.kit.buckets.delete(self.bucket)
        self.assertEqual((doomed.id, doomed.size, doomed.unclear), (upload.blob.id, 100, True))
        aborted = await self.kit.uploads.of_blob(doomed)
        assert aborted is not None
        self.assertEqual((aborted.state, aborted.backend_upload), ("aborted", f"on-backend-{upload.id}"))

    async def test_created_anew(self) -> None:
        """
        A bucket of the name of a deleted one is another, and empty.
        """
        first = await self.kit.buckets.create("new", "alice")
        await self.kit.buckets.delete(first)
        second = await self.kit.buckets.create("new", "bob")
        self.assertNotEqual(second.id, first.id)
        with self.assertRaises(NoSuchBucket):
            await self.kit.buckets.delete(first)

    async def test_row_goes_with_its_last_blob(self) -> None:
        """
        While a deleted bucket has blobs it has a row; then nothing is left of it.
        """
        bucket = await self.kit.buckets.create("new", "alice")
        await self.kit.limit_bucket(bucket, 1000)
        blob = await self.kit.reserve(bucket)
        await self.kit.buckets.delete(bucket)
        await self.kit.blobs.end_rests(10)
        self.assertTrue(await self.is_known(bucket))
        doomed = await self.kit.blobs.abandon(blob, unclear=False)
        assert doomed is not None
        await self.kit.blobs.forget(doomed, unclear=False)
        await self.kit.blobs.end_rests(10)
        self.assertTrue(await self.is_known(bucket))
        self.clock.advance(QUIET)
        await self.kit.blobs.end_rests(10)
        self.assertFalse(await self.is_known(bucket))
        counted = await self.kit.rows("SELECT 1 FROM byte_counts WHERE bucket_id = :id", id=bucket.id)
        self.assertEqual(counted, [])

    async def is_known(self, bucket: Bucket) -> bool:
        return bool(await self.kit.rows("SELECT 1 FROM buckets WHERE id = :id", id=bucket.id))

    async def test_roles(self) -> None:
        """
        The roles keep to their interfaces.
        """
        self.kit.verify()

    async def test_side_by_side(self) -> None:
        """
        Two who create one bucket at the same time: one of them has it.
        """
        results = [start(self.kit.buckets.create("new", owner)) for owner in ("alice", "bob")]
        taken = 0
        for result in results:
            try:
                await result
            except BucketExists:
                taken += 1
        self.assertEqual(taken, 1)
