"""The contract of `IBlobs`: names, room, and the life of a blob."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from s3orchestrator.domain.records import Blob, BlobState, Usage
from s3orchestrator.errors import InsufficientStorage, NoSuchBucket
from tests.contracts.store_kit import QUIET, LedgerCase


def told(value: object) -> str:
    """What an operator reads: the databases have types of their own for times and truth."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
    return str(int(value) if isinstance(value, bool) else value).removesuffix(".000")


class NamesContract(LedgerCase):
    """What blobs are called."""

    async def test_plain(self) -> None:
        """
        The first blob of a key gets the name users recognise; it is pending and unclear.
        """
        blob = await self.kit.reserve(self.bucket, "a/b.jpg", 7)
        self.assertEqual((blob.name, blob.plain, blob.state), ("photos/a/b.jpg", True, BlobState.PENDING))
        self.assertEqual((blob.size, blob.backend, blob.key), (7, "a", "a/b.jpg"))
        self.assertTrue(blob.unclear)
        self.assertEqual(await self.kit.blobs.by_name("a", "photos/a/b.jpg"), blob)

    async def test_taken(self) -> None:
        """
        A name that any row holds, in any state, is not given out again (L1).
        """
        first = await self.kit.reserve(self.bucket)
        for step in (self.leave, self.make_live, self.overwrite, self.forget):
            await step(first)
            blob = await self.kit.reserve(self.bucket)
            self.assertFalse(blob.plain)
            self.assertRegex(blob.name, r"^photos/k~[0-9a-v]{26}$")

    async def leave(self, blob: Blob) -> None:
        """It stays pending."""

    async def make_live(self, blob: Blob) -> None:
        await self.kit.commit(self.bucket, blob)

    async def overwrite(self, blob: Blob) -> None:
        self.displaced = (await self.kit.put(self.bucket, "k", 10, "u")).displaced

    async def forget(self, blob: Blob) -> None:
        await self.kit.blobs.forget(self.displaced[0], unclear=False)

    async def test_free_again(self) -> None:
        """
        When its rest is over a plain name can be taken again.
        """
        blob = await self.kit.reserve(self.bucket)
        doomed = await self.kit.blobs.abandon(blob, unclear=False)
        assert doomed is not None
        await self.kit.blobs.forget(doomed, unclear=False)
        self.clock.advance(QUIET)
        self.assertEqual(await self.kit.blobs.end_rests(10), 1)
        self.assertTrue((await self.kit.reserve(self.bucket)).plain)

    async def test_avoided(self) -> None:
        """
        A caller that knows of a stranger's object gets another name.
        """
        self.assertFalse((await self.kit.reserve(self.bucket, avoid_plain=True)).plain)

    async def test_verb_not_exclusive(self) -> None:
        """
        Where the backend would overwrite, plain names are not used.
        """
        self.assertFalse((await self.kit.reserve(self.bucket, "k", 1, "u")).plain)
        self.assertFalse((await self.kit.reserve(self.bucket, verb="append")).plain)

    async def test_unknown_backend(self) -> None:
        """
        Of a backend nobody has reached the least is assumed.
        """
        self.kit.traits["new"] = None
        self.assertFalse((await self.kit.reserve(self.bucket, "k", 1, "new")).plain)
        odd = await self.kit.reserve(self.bucket, "a//b", 1, "new")
        self.assertTrue(odd.name.startswith("~s3o/"), odd.name)

    async def test_same_name_elsewhere(self) -> None:
        """
        Names are per backend.
        """
        await self.kit.reserve(self.bucket)
        self.assertTrue((await self.kit.reserve(self.bucket, "k", 1, "b")).plain)

    async def test_long(self) -> None:
        """
        Keys whose plain name would be too long are hashed; the row knows the key.
        """
        blob = await self.kit.reserve(self.bucket, "ü" * 512)
        self.assertRegex(blob.name, r"^~s3o/[a-z2-7]{52}~[0-9a-v]{26}$")
        self.assertEqual((blob.plain, blob.key), (False, "ü" * 512))

    async def test_folders(self) -> None:
        """
        Where names are paths, odd ones and those in each other's way are hashed.
        """
        for key, hashed in (
            ("a", False),
            ("a/b", True),
            ("c/d", False),
            ("c", True),
            ("e/", True),
            ("f", False),
        ):
            blob = await self.kit.reserve(self.bucket, key, 1, "f")
            self.assertEqual(blob.name.startswith("~s3o/"), hashed, key)

    async def test_two_buckets_of_one_name(self) -> None:
        """
        A bucket created anew does not share names with what is left of its predecessor.
        """
        created = await self.kit.buckets.create("albums", "alice")
        pending = await self.kit.reserve(created)
        await self.kit.buckets.delete(created)
        again = await self.kit.buckets.create("albums", "alice")
        self.assertNotEqual((await self.kit.reserve(again)).name, pending.name)

    async def test_scratch(self) -> None:
        """
        Scratch objects have rows like everything else, and belong to no bucket.
        """
        simple, odd = await self.kit.blobs.reserve_scratch("a")
        self.assertIn("//", odd.name)
        self.assertIn("/../", odd.name)
        self.assertTrue(odd.name.endswith("/"))
        self.assertIsNone(simple.bucket_id)
        doomed = await self.kit.blobs.abandon(simple, unclear=False)
        assert doomed is not None
        await self.kit.blobs.forget(doomed, unclear=False)
        self.assertFalse(await self.kit.blobs.is_held(simple))
        self.assertTrue(await self.kit.blobs.is_held(odd))

    async def test_listed(self) -> None:
        """
        Names are listed in byte order, page by page, in any state.
        """
        for key in ("b", "a", "ä", "Z"):
            await self.kit.reserve(self.bucket, key)
        first = await self.kit.blobs.names("a", limit=3)
        self.assertEqual([blob.key for blob in first], ["Z", "a", "b"])
        rest = await self.kit.blobs.names("a", after=first[-1].name)
        self.assertEqual([blob.key for blob in rest], ["ä"])
        self.assertEqual(await self.kit.blobs.names("b"), [])
        self.assertIsNone(await self.kit.blobs.by_name("b", "photos/a"))


class RoomContract(LedgerCase):
    """Limits that hold."""

    async def test_first_with_room(self) -> None:
        """
        Backends are asked in the order they are given.
        """
        await self.kit.blobs.set_limits({"a": 15, "b": None})
        self.assertEqual((await self.kit.reserve(self.bucket, "1", 10, "a", "b")).backend, "a")
        self.assertEqual((await self.kit.reserve(self.bucket, "2", 10, "a", "b")).backend, "b")
        self.assertEqual((await self.kit.reserve(self.bucket, "3", 5, "a", "b")).backend, "a")

    async def test_full(self) -> None:
        """
        Nothing is set aside when nobody has room; a byte of nothing always fits.
        """
        await self.kit.blobs.set_limits({"a": 10})
        await self.kit.reserve(self.bucket, "1", 10)
        with self.assertRaises(InsufficientStorage):
            await self.kit.reserve(self.bucket, "2", 1)
        await self.kit.reserve(self.bucket, "3", 0)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 10, 0, 10))

    async def test_until_it_is_gone(self) -> None:
        """
        Bytes are taken until the backend has said that they are gone.
        """
        await self.kit.blobs.set_limits({"a": 10})
        blob = await self.kit.reserve(self.bucket)
        committed = await self.kit.commit(self.bucket, blob)
        self.assertEqual(await self.kit.usage(), Usage("a", 10, 0, 0, 10))
        removed = await self.kit.versions.remove(self.bucket, committed.version.key)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, 10))
        with self.assertRaises(InsufficientStorage):
            await self.kit.reserve(self.bucket, "other", 1)
        await self.kit.blobs.forget(removed.doomed[0], unclear=False)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, 10))
        await self.kit.reserve(self.bucket, "other", 10)

    async def test_less_than_reserved(self) -> None:
        """
        What was reserved and not used is given back by the commit.
        """
        await self.kit.blobs.set_limits({"a": 10})
        blob = await self.kit.reserve(self.bucket)
        await self.kit.commit(self.bucket, blob, size=4)
        self.assertEqual(await self.kit.usage(), Usage("a", 4, 0, 0, 10))
        await self.kit.reserve(self.bucket, "other", 6)

    async def test_limit_given_later(self) -> None:
        """
        A limit counts what is there already; lifting it forgets nothing but the limit.
        """
        await self.kit.put(self.bucket, "k", 10)
        await self.kit.blobs.set_limits({"a": 12})
        with self.assertRaises(InsufficientStorage):
            await self.kit.reserve(self.bucket, "2", 3)
        await self.kit.blobs.set_limits({"a": 13})
        await self.kit.reserve(self.bucket, "2", 3)
        await self.kit.blobs.set_limits({"a": None})
        await self.kit.reserve(self.bucket, "3", 1000)
        self.assertEqual(await self.kit.usage(), Usage("a", 10, 1003, 0, None))

    async def test_bucket_limit(self) -> None:
        """
        A bucket's limit holds over all backends.
        """
        await self.kit.limit_bucket(self.bucket, 15)
        await self.kit.blobs.set_limits({"a": 100})
        await self.kit.reserve(self.bucket, "1", 10, "a")
        with self.assertRaises(InsufficientStorage):
            await self.kit.reserve(self.bucket, "2", 10, "a", "b")
        await self.kit.reserve(self.bucket, "3", 5, "b")

    async def test_draining(self) -> None:
        """
        Nothing new goes to a backend that is being emptied.
        """
        await self.kit.blobs.set_limits({"a": None, "b": None})
        await self.kit.execute("UPDATE backends SET is_draining = TRUE WHERE name = 'a'")
        self.assertEqual((await self.kit.reserve(self.bucket, "k", 1, "a", "b")).backend, "b")
        with self.assertRaises(InsufficientStorage):
            await self.kit.reserve(self.bucket, "k", 1, "a")

    async def test_deleted_bucket(self) -> None:
        """
        There is no room in a bucket that does not exist.
        """
        await self.kit.buckets.delete(self.bucket)
        with self.assertRaises(NoSuchBucket):
            await self.kit.reserve(self.bucket)


class UsageContract(LedgerCase):
    """What is counted, however many buckets there are."""

    clean_at_the_end = False  # the buckets are made up

    async def test_many_buckets(self) -> None:
        """
        Placing an object does not look at what each of ten thousand buckets holds.
        """
        await self.kit.put(self.bucket)
        before = await self.kit.usage()
        await self.kit.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 11000)
            INSERT INTO byte_counts SELECT 'a', i, 0, 0, 0, 0, 0, 0 FROM n
            """
        )
        begin = time.process_time()
        for _ in range(100):
            await self.kit.blobs.usage()
        self.assertLess(time.process_time() - begin, 0.05)
        self.assertEqual(await self.kit.usage(), before)


class LifeContract(LedgerCase):
    """Every transition, and what is counted."""

    async def doomed(self, key: str = "k", *, unclear: bool = False, plain: bool = True) -> Blob:
        blob = await self.kit.reserve(self.bucket, key, avoid_plain=not plain)
        doomed = await self.kit.blobs.abandon(blob, unclear=unclear)
        assert doomed is not None
        return doomed

    async def state(self, blob: Blob) -> str | None:
        held = await self.kit.blobs.by_name(blob.backend, blob.name)
        return held.state if held is not None else None

    async def test_abandon(self) -> None:
        """
        An abandoned blob is doomed, once, and claimed by who abandoned it.
        """
        blob = await self.kit.reserve(self.bucket)
        doomed = await self.kit.blobs.abandon(blob, unclear=False)
        assert doomed is not None
        self.assertEqual((doomed.id, doomed.state, doomed.was_live), (blob.id, BlobState.DOOMED, False))
        self.assertIsNone(await self.kit.blobs.abandon(blob, unclear=False))
        self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))

    async def test_abandon_too_late(self) -> None:
        """
        What is live is not abandoned.
        """
        blob = await self.kit.reserve(self.bucket)
        await self.kit.commit(self.bucket, blob)
        self.assertIsNone(await self.kit.blobs.abandon(blob, unclear=True))
        self.assertEqual(await self.state(blob), BlobState.LIVE)

    async def test_forget_unique(self) -> None:
        """
        A clear unique name is forgotten at once.
        """
        blob = await self.doomed(plain=False)
        await self.kit.blobs.forget(blob, unclear=False)
        self.assertFalse(await self.kit.blobs.is_held(blob))
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, None))

    async def test_forget_plain(self) -> None:
        """
        A clear plain name rests, counting nothing, and is forgotten without another look (L8).
        """
        blob = await self.doomed()
        await self.kit.blobs.forget(blob, unclear=False)
        self.assertEqual(await self.state(blob), BlobState.RESTING)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, None))
        self.clock.advance(QUIET - 1)
        self.assertEqual(await self.kit.blobs.end_rests(10), 0)
        self.clock.advance(1)
        self.assertEqual(await self.kit.blobs.claim_unclear_rests(10), [])
        self.assertEqual(await self.kit.blobs.end_rests(10), 1)
        self.assertIsNone(await self.state(blob))

    async def test_forget_unclear(self) -> None:
        """
        An unclear name rests, counts as orphan, and only a look lets it go (L8).
        """
        for plain in (True, False):
            blob = await self.doomed(plain=plain)
            await self.kit.blobs.forget(blob, unclear=True)
            self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))
            self.clock.advance(QUIET)
            self.assertEqual(await self.kit.blobs.end_rests(10), 0)
            (looked_at,) = await self.kit.blobs.claim_unclear_rests(10)
            self.assertEqual((looked_at.id, looked_at.unclear), (blob.id, True))
            self.assertEqual(await self.kit.blobs.claim_unclear_rests(10), [])
            await self.kit.blobs.rest_again(looked_at)
            self.assertEqual(await self.kit.blobs.claim_unclear_rests(10), [])
            self.clock.advance(QUIET)
            (again,) = await self.kit.blobs.claim_unclear_rests(10)
            await self.kit.blobs.rested(again)
            self.assertIsNone(await self.state(blob))
            self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, None))

    async def test_earlier_unclear_write(self) -> None:
        """
        A clear answer to the delete says nothing of a write that was unclear before.
        """
        blob = await self.doomed(unclear=True, plain=False)
        await self.kit.blobs.forget(blob, unclear=False)
        self.clock.advance(QUIET)
        self.assertEqual(len(await self.kit.blobs.claim_unclear_rests(10)), 1)

    async def test_earlier_unclear_delete(self) -> None:
        """
        Nor does a clear answer to a second delete say anything of the first.
        """
        blob = await self.doomed(plain=False)
        await self.kit.blobs.retry_later(blob, counted=False)
        self.clock.advance(60)
        (claimed,) = await self.kit.blobs.claim_doomed(10)
        await self.kit.blobs.forget(claimed, unclear=False)
        self.assertEqual(await self.state(blob), BlobState.RESTING)

    async def test_forget_many(self) -> None:
        """
        Many are forgotten as one by one; what is not claimed is left alone.
        """
        mine, plain = await self.doomed("1", plain=False), await self.doomed("2")
        given_back = await self.doomed("3", plain=False)
        await self.kit.blobs.retry_later(given_back, counted=False)
        live = (await self.kit.put(self.bucket, "4")).version.blobs[0]
        unclear = await self.doomed("5", plain=False)
        blobs = (unclear, mine, plain, given_back, live)
        await self.kit.blobs.forget_many([(blob, blob is unclear) for blob in blobs])
        states = [await self.state(blob) for blob in blobs]
        rests = BlobState.RESTING
        self.assertEqual(states, [rests, None, rests, BlobState.DOOMED, BlobState.LIVE])
        self.assertEqual(await self.kit.usage(), Usage("a", 10, 0, 20, None))

    async def test_refused(self) -> None:
        """
        A name that is a stranger's rests, clear, and nothing of it is ever deleted.
        """
        blob = await self.kit.reserve(self.bucket)
        await self.kit.blobs.refused(blob)
        self.assertEqual(await self.state(blob), BlobState.RESTING)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, None))
        self.clock.advance(QUIET)
        self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
        self.assertEqual(await self.kit.blobs.claim_unclear_rests(10), [])
        self.assertEqual(await self.kit.blobs.end_rests(10), 1)

    async def test_backoff(self) -> None:
        """
        Failed deletes wait longer and longer; the tenth is for the operator, its bytes stay counted.
        """
        blob = await self.doomed()
        for attempt in range(1, 10):
            await self.kit.blobs.retry_later(blob, counted=True)
            self.clock.advance(60 * 2 ** (attempt - 1) - 1)
            self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
            self.clock.advance(1)
            (blob,) = await self.kit.blobs.claim_doomed(10)
            self.assertEqual(blob.attempts, attempt)
        await self.kit.blobs.retry_later(blob, counted=True)
        self.assertEqual(await self.state(blob), BlobState.DEAD)
        self.clock.advance(10**6)
        self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))
        (seen,) = await self.kit.rows("SELECT object_key, attempts, size_bytes FROM cleanup_dlq")
        self.assertEqual(seen, ("photos/k", 10, 10))

    async def test_not_counted(self) -> None:
        """
        A backend that cannot be reached uses up no attempts.
        """
        blob = await self.doomed()
        for _ in range(20):
            await self.kit.blobs.retry_later(blob, counted=False)
            self.clock.advance(60)
            (blob,) = await self.kit.blobs.claim_doomed(10)
        self.assertEqual(blob.attempts, 0)

    async def test_oldest_first(self) -> None:
        """
        What has been due longest is claimed first, and by one only.
        """
        for key in ("1", "2", "3"):
            await self.kit.blobs.retry_later(await self.doomed(key), counted=False)
            self.clock.advance(1)
        self.clock.advance(60)
        first = await self.kit.blobs.claim_doomed(2)
        rest = await self.kit.blobs.claim_doomed(2)
        self.assertEqual([[blob.key for blob in blobs] for blobs in (first, rest)], [["1", "2"], ["3"]])

    async def test_recover(self) -> None:
        """
        At start what is pending is doomed, never promoted, and claims are nobody's.
        """
        pending = await self.kit.reserve(self.bucket, "pending")
        claimed = await self.doomed("claimed")
        live = (await self.kit.put(self.bucket, "live")).version.blobs[0]
        upload = await self.kit.upload(self.bucket, "upload")
        unclear = await self.doomed("unclear")
        await self.kit.blobs.forget(unclear, unclear=True)
        self.clock.advance(QUIET)
        self.assertEqual(len(await self.kit.blobs.claim_unclear_rests(10)), 1)
        self.assertEqual(await self.kit.restarted(), 1)
        due = await self.kit.blobs.claim_doomed(10)
        self.assertEqual({blob.key for blob in due}, {"pending", "claimed"})
        self.assertTrue(all(blob.unclear for blob in due))
        self.assertEqual(await self.state(pending), BlobState.DOOMED)
        self.assertEqual(await self.state(claimed), BlobState.DOOMED)
        self.assertEqual(await self.state(live), BlobState.LIVE)
        self.assertEqual(await self.state(upload.blob), BlobState.PENDING)
        self.assertEqual(len(await self.kit.blobs.claim_unclear_rests(10)), 1)
        self.assertEqual(await self.kit.restarted(), 0)

    async def test_views(self) -> None:
        """
        Operators find everything under the names they know.
        """
        await self.kit.blobs.set_limits({"a": 1000})
        await self.kit.put(self.bucket, "live", 1)
        await self.kit.reserve(self.bucket, "pending", 2)
        await self.kit.blobs.retry_later(await self.doomed("doomed"), counted=False)
        views = {
            "object_locations": "object_key, backend_name, size_bytes, encrypted, created_at",
            "pending_objects": "object_key, backend_name, size_bytes, created_at",
            "cleanup_queue": "object_key, backend_name, size_bytes, reason, attempts",
            "backend_quotas": "backend_name, bytes_used, bytes_limit, orphan_bytes",
        }
        seen = {view: await self.kit.rows(f"SELECT {columns} FROM {view}") for view, columns in views.items()}
        born = "2023-11-14 22:13:20"
        self.assertEqual(
            {view: [tuple(map(told, row)) for row in rows] for view, rows in seen.items()},
            {
                "object_locations": [("photos/live", "a", "1", "0", born)],
                "pending_objects": [("photos/pending", "a", "2", born)],
                "cleanup_queue": [("photos/doomed", "a", "10", "abandoned", "0")],
                "backend_quotas": [("a", "1", "1000", "10")],
            },
        )
