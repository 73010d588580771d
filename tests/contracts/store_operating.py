"""The contracts of what operators look at and decide: `IBrowse`, dead blobs, long looks."""

from __future__ import annotations

from threading import Event

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, BlobState, Usage
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IBrowse, ITransaction
from s3orchestrator.store.browse import Browse
from s3orchestrator.store.fsck import check, look
from tests.contracts.store_kit import QUIET, LedgerCase


class OperatingCase(LedgerCase):
    """With blobs that have died."""

    async def setUp(self) -> None:
        await super().setUp()
        self.browse = Browse(self.kit.ledger)
        verifyObject(IBrowse, self.browse)

    async def doomed(self, key: str, *backends: str) -> Blob:
        blob = await self.kit.reserve(self.bucket, key, 10, *backends)
        doomed = await self.kit.blobs.abandon(blob, unclear=False)
        assert doomed is not None
        return doomed

    async def dead(self, key: str = "k", *backends: str) -> Blob:
        blob = await self.doomed(key, *backends)
        await self.kit.execute("UPDATE blobs SET attempts = 9 WHERE id = :id", id=blob.id)
        (row,) = await self.kit.rows("SELECT attempts FROM blobs WHERE id = :id", id=blob.id)
        self.assertEqual(row, (9,))
        held = await self.kit.blobs.by_name(blob.backend, blob.name)
        assert held is not None
        await self.kit.blobs.retry_later(held, counted=True)
        return blob

    async def state(self, blob: Blob) -> str | None:
        held = await self.kit.blobs.by_name(blob.backend, blob.name)
        return held.state if held is not None else None


class DeadContract(OperatingCase):
    """Again, or never mind."""

    async def test_revive(self) -> None:
        """
        A dead blob is doomed again, due now, and has all its attempts before it.
        """
        blob = await self.dead()
        self.assertEqual(await self.state(blob), BlobState.DEAD)
        self.assertTrue(await self.kit.blobs.revive(blob.id))
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))
        (claimed,) = await self.kit.blobs.claim_doomed(10)
        self.assertEqual((claimed.id, claimed.attempts), (blob.id, 0))
        await self.kit.blobs.forget(claimed, unclear=False)

    async def test_last_error(self) -> None:
        """
        What a backend said last is kept, whatever it is; a try that says nothing changes nothing.
        """
        blob = await self.doomed("k")
        for error, expected in (("no\0\ud800", "no?"), ("", "no?"), (600 * "x", 500 * "x")):
            await self.kit.blobs.retry_later(blob, counted=True, error=error)
            ((entry,), _) = await self.browse.unwanted()
            self.assertEqual(entry.last_error, expected)
            self.kit.clock.advance(86_400)
            (blob,) = await self.kit.blobs.claim_doomed(10)
        await self.kit.blobs.forget(blob, unclear=False)

    async def test_only_dead(self) -> None:
        """
        Nothing but a dead blob is revived or written off.
        """
        blobs = [await self.kit.reserve(self.bucket, "pending"), await self.doomed("doomed")]
        committed = await self.kit.put(self.bucket, "live")
        blobs += committed.version.blobs
        before = [await self.state(blob) for blob in blobs]
        for blob_id in (*(blob.id for blob in blobs), 0, 10**9):
            self.assertFalse(await self.kit.blobs.revive(blob_id))
            self.assertFalse(await self.kit.blobs.write_off(blob_id))
        self.assertEqual([await self.state(blob) for blob in blobs], before)

    async def test_revive_some(self) -> None:
        """
        All of one backend, so many at a time.
        """
        for number in range(5):
            await self.dead(f"k{number}")
        other = await self.dead("other", "b")
        self.assertEqual([await self.kit.blobs.revive_some("a", 3) for _ in range(3)], [3, 2, 0])
        self.assertEqual(await self.state(other), BlobState.DEAD)
        self.assertEqual(len(await self.kit.blobs.claim_doomed(10)), 5)

    async def test_write_off(self) -> None:
        """
        What is written off counts nothing, rests once, and is forgotten without another look.
        """
        blob = await self.dead()
        self.assertTrue(await self.kit.blobs.write_off(blob.id))
        self.assertFalse(await self.kit.blobs.write_off(blob.id))
        self.assertFalse(await self.kit.blobs.revive(blob.id))
        self.assertEqual(await self.state(blob), BlobState.RESTING)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 0, None))
        self.clock.advance(QUIET - 1)
        self.assertEqual(await self.kit.blobs.end_rests(10), 0)
        self.clock.advance(1)
        self.assertEqual(await self.kit.blobs.claim_unclear_rests(10), [])
        self.assertEqual(await self.kit.blobs.end_rests(10), 1)
        self.assertFalse(await self.kit.blobs.is_held(blob))

    async def test_write_off_makes_room(self) -> None:
        """
        On a backend with a limit there is room again.
        """
        await self.kit.blobs.set_limits({"a": 10})
        blob = await self.dead()
        self.assertTrue(await self.kit.blobs.write_off(blob.id))
        await self.kit.reserve(self.bucket, "other", 10)


class BrowseContract(OperatingCase):
    """Where things are, and what waits."""

    async def test_copies(self) -> None:
        """
        An object is found by bucket and key, with its place and what clients know of it.
        """
        blob = (await self.kit.put(self.bucket, "a/b", 7, etag="e")).version.blobs[0]
        (copy,) = await self.browse.copies("photos", "a/b")
        self.assertEqual((copy.backend, copy.name, copy.size), ("a", blob.name, 7))
        self.assertEqual((copy.object_size, copy.etag, copy.is_latest, copy.suspect), (7, "e", True, False))
        self.assertEqual((copy.created_ms, copy.key_id, copy.sha256), (blob.created_ms, None, None))

    async def test_no_copies(self) -> None:
        """
        There is nothing to be found of what is not there, is deleted, or is in another bucket.
        """
        await self.kit.put(self.bucket, "k")
        await self.kit.versions.remove(self.bucket, "k")
        gone = await self.kit.buckets.create("albums", "alice")
        await self.kit.buckets.delete(gone)
        for bucket, key in (("photos", "k"), ("photos", ""), ("albums", "k"), ("nowhere", "k")):
            self.assertEqual(await self.browse.copies(bucket, key), [])

    async def test_unwanted(self) -> None:
        """
        An entry tells what it is, why it is there, and when it is tried next.
        """
        doomed, dead = await self.doomed("1"), await self.dead("2")
        (second, first), after = await self.browse.unwanted()
        self.assertEqual(after, "")
        self.assertEqual(
            (first.id, first.state, first.claimed, first.attempts), (doomed.id, "doomed", True, 0)
        )
        self.assertEqual(
            (second.id, second.state, second.claimed, second.attempts), (dead.id, "dead", False, 10)
        )
        self.assertEqual((second.backend, second.name, second.size), ("a", dead.name, 10))
        self.assertEqual((second.reason, second.due_ms), ("abandoned", None))
        self.assertEqual(first.doomed_ms, self.kit.ledger.now_ms())
        self.assertEqual(await self.browse.unwanted_count(), (1, 1))

    async def test_unwanted_pages(self) -> None:
        """
        Pages of any size have every entry exactly once, the dead first.
        """
        blobs = [await self.dead(f"d{number}", "ba"[number % 2]) for number in range(5)]
        for number in range(9):
            blob = await self.doomed(f"k{number}")
            blobs.append(blob)
            if number % 2:
                await self.kit.blobs.retry_later(blob, counted=bool(number % 4 == 1))
        wanted = {"": 14, "dead": 5, "doomed": 9}
        for limit in (1, 2, 3, 5, 13, 14, 15):
            for state, number in wanted.items():
                seen: list[int] = []
                after = ""
                while True:
                    page, after = await self.browse.unwanted(state, after, limit)
                    self.assertLessEqual(len(page), limit)
                    seen += [entry.id for entry in page]
                    if not after:
                        break
                    self.assertEqual(len(page), limit)
                self.assertEqual((len(seen), len(set(seen))), (number, number), (limit, state))
        page, _ = await self.browse.unwanted("", "", 6)
        self.assertEqual([entry.state for entry in page], ["dead"] * 5 + ["doomed"])

    async def test_unwanted_places(self) -> None:
        """
        What no page has returned is refused.
        """
        for after in (
            "x",
            "dead",
            "dead.1.1.1",
            "gone.1.1.1.a",
            "dead.1.1.x.a",
            f"dead.{1 << 63}.1.1.a",
            "....",
        ):
            with self.assertRaises(ValueError):
                await self.browse.unwanted("", after)
        with self.assertRaises(ValueError):
            await self.browse.unwanted("dead", "waiting.0.1.1.")


class SnapshotContract(OperatingCase):
    """Long looks."""

    async def test_reads(self) -> None:
        """
        What has been committed is seen, and what the look returns is returned.
        """
        await self.kit.put(self.bucket)

        async def work(tx: ITransaction) -> list[str]:
            return [row[0] for row in await tx.all("SELECT key FROM versions")]

        self.assertEqual(await self.kit.ledger.snapshot(work), ["k"])

    async def test_raises(self) -> None:
        """
        What the look raises is raised.
        """

        async def work(tx: ITransaction) -> None:
            await tx.one("SELECT 1")
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            await self.kit.ledger.snapshot(work)

    async def test_look(self) -> None:
        """
        The check in a snapshot finds what the other finds; what is too much is counted only.
        """
        self.clean_at_the_end = False
        self.assertEqual(await look(self.kit.ledger, 10), ([], 0))
        for number in range(7):
            await self.kit.put(self.bucket, f"k{number}")
        await self.kit.execute("UPDATE blobs SET suspect = TRUE")
        await self.kit.execute("UPDATE byte_counts SET live = live + 1")
        every = await check(self.kit.ledger)
        self.assertEqual(len(every), 8)
        for most in (0, 1, 7, 8, 9):
            found, number = await look(self.kit.ledger, most)
            self.assertEqual((len(found), number), (min(most, 8), 8))
            self.assertLessEqual(set(found), set(every))


class LongLooksContract(OperatingCase):
    """Looks that last, where something else can happen meanwhile."""

    endless_statement = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.begun: Deferred[None] = Deferred()
        self.go_on = Event()

    async def begin(self, tx: ITransaction) -> None:
        # In a thread of its own with some.
        from twisted.internet import reactor

        await tx.all("SELECT count(*) FROM buckets")
        reactor.callFromThread(self.begun.callback, None)  # type: ignore[attr-defined]

    async def endless(self, tx: ITransaction) -> None:
        await self.begin(tx)
        await tx.one(self.endless_statement)

    async def test_one_moment(self) -> None:
        """
        What is committed while a look lasts is not seen by it; nobody waits for the other.
        """

        async def work(tx: ITransaction) -> int:
            await self.begin(tx)
            while not self.go_on.is_set():
                await tx.all("SELECT 1")
            (row,) = await tx.all("SELECT count(*) FROM buckets")
            return int(row[0])

        looking = start(self.kit.ledger.snapshot(work))
        await self.begun
        await self.kit.buckets.adopt("albums")
        self.assertEqual(len(await self.kit.buckets.all()), 2)
        self.go_on.set()
        self.assertEqual(await looking, 1)

    async def test_closed(self) -> None:
        """
        Closing breaks a look off and waits until it has let go.
        """
        self.clean_at_the_end = False
        looking = start(self.kit.ledger.snapshot(self.endless))
        await self.begun
        await self.kit.ledger.close()
        with self.assertRaises(StoreUnavailable):
            await looking
        with self.assertRaises(StoreUnavailable):
            await self.kit.ledger.snapshot(self.endless)

    async def test_cancelled(self) -> None:
        """
        A caller that leaves ends the look.
        """
        self.clean_at_the_end = False
        looking = start(self.kit.ledger.snapshot(self.endless))
        await self.begun
        looking.cancel()
        with self.assertRaises(CancelledError):
            await looking
        await self.kit.ledger.close()

    async def test_reads_only(self) -> None:
        """
        Nothing can be changed.
        """

        async def work(tx: ITransaction) -> None:
            await tx.run("DELETE FROM buckets")

        with self.assertRaises(StoreUnavailable):
            await self.kit.ledger.snapshot(work)
        self.assertEqual(len(await self.kit.buckets.all()), 1)

    async def test_several(self) -> None:
        """
        Looks do not wait for each other.
        """

        async def count(tx: ITransaction) -> int:
            (row,) = await tx.all("SELECT count(*) FROM buckets")
            return int(row[0])

        looking = start(self.kit.ledger.snapshot(self.endless))
        await self.begun
        self.assertEqual(await self.kit.ledger.snapshot(count), 1)
        looking.cancel()
        with self.assertRaises(CancelledError):
            await looking
