"""Reserving, committing and deleting with few statements, on SQLite: the same as with many."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import Conflict, NoSuchBucket
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from tests.contracts.store_kit import Kit, TimedReactor
from tests.contracts.store_shortcuts import SameContract


class SameTests(SameContract, TestCase):
    async def kits(self) -> list[Kit]:
        return [self.kit(is_short) for is_short in (True, False)]

    def kit(self, is_short: bool) -> Kit:
        clock = Clock()
        clock.advance(1_700_000_000)
        database = SqliteDatabase(IN_MEMORY, clock, threaded=False).open()
        self.addCleanup(database.close)
        if not is_short:
            database.operations.shortcuts = None
        return Kit(database, clock)


class SameInGroupsTests(SameContract, TestCase):
    """The same where several things are done in one transaction."""

    lives = 6
    at_once = 6

    async def kits(self) -> list[Kit]:
        return [self.kit(is_short) for is_short in (True, False)]

    def kit(self, is_short: bool) -> Kit:
        from twisted.internet import reactor

        clock = Clock()
        clock.advance(1_700_000_000)
        database = SqliteDatabase(self.mktemp(), TimedReactor(clock, reactor)).open()
        self.addCleanup(database.close)
        if not is_short:
            database.operations.shortcuts = None
        return Kit(database, clock)


class InGroupsTests(TestCase):
    """Members of one group: what was looked up for the first of them must hold for the last."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        database = SqliteDatabase(self.mktemp(), TimedReactor(self.clock, reactor)).open()
        self.addCleanup(database.close)
        self.kit = Kit(database, self.clock)

    async def test_one_key(self) -> None:
        """
        Of writers of one key the last is current, and all others are displaced, each once.
        """
        kit = self.kit
        bucket = await kit.buckets.adopt("photos")
        blobs = await gatherResults([start(kit.reserve(bucket)) for _ in range(20)])
        self.assertEqual([blob.plain for blob in blobs].count(True), 1)
        commits = await gatherResults([start(kit.commit(bucket, blob, etag=str(blob.id))) for blob in blobs])
        displaced = [blob.id for committed in commits for blob in committed.displaced]
        current = await kit.versions.find(bucket, "k")
        self.assertEqual(sorted([*displaced, current.blobs[0].id]), sorted(blob.id for blob in blobs))
        self.assertEqual(
            [committed.version.modified_ms for committed in commits],
            sorted({committed.version.modified_ms for committed in commits}),
        )
        self.assertEqual(await kit.findings(), [])

    async def test_limit_in_between(self) -> None:
        """
        A limit that is set by a member holds for those behind it.
        """
        kit = self.kit
        bucket = await kit.buckets.adopt("photos")
        await kit.blobs.set_limits({"a": None, "b": None})
        work = [kit.reserve(bucket, "before", 60, "a", "b"), kit.blobs.set_limits({"a": 100})]
        work += [kit.reserve(bucket, key, 30, "a", "b") for key in ("first", "second")]
        before, _, first, second = await gatherResults([start(each) for each in work])
        self.assertEqual([blob.backend for blob in (before, first, second)], ["a", "a", "b"])
        self.assertEqual(await kit.findings(), [])

    async def test_bucket_deleted_in_between(self) -> None:
        """
        A bucket that is deleted by a member takes no more writes from those behind it.
        """
        kit = self.kit
        bucket = await kit.buckets.adopt("photos")
        blob, other = await kit.reserve(bucket), await kit.reserve(bucket, "other")
        await kit.commit(bucket, other)
        (gone,) = (await kit.versions.remove(bucket, "other")).doomed
        forgotten = start(kit.blobs.forget(gone, unclear=False))
        deleted = start(kit.buckets.delete(bucket))
        late = start(kit.commit(bucket, blob))
        later = start(kit.reserve(bucket, "later"))
        await forgotten
        await deleted
        for refused in (late, later):
            with self.assertRaises(NoSuchBucket):
                await refused
        self.assertEqual(await kit.findings(), [])

    async def test_failing_neighbour(self) -> None:
        """
        One that fails after it has written is undone, and nobody else with it.
        """
        kit = self.kit
        bucket = await kit.buckets.adopt("photos")
        await kit.put(bucket, "k", etag="old")
        blobs = [await kit.reserve(bucket, key) for key in ("k", "other")]
        abandoned = await kit.reserve(bucket)
        await kit.blobs.abandon(abandoned, unclear=False)
        commits = [start(kit.commit(bucket, blob, etag="new")) for blob in (blobs[0], abandoned, blobs[1])]
        await commits[0]
        with self.assertRaises(Conflict):
            await commits[1]
        await commits[2]
        for key in ("k", "other"):
            self.assertEqual((await kit.versions.find(bucket, key)).etag, "new")
        self.assertEqual(await kit.findings(), [])
