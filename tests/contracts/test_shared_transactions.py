"""Reserving, committing and deleting at once: one transaction, in which each ends as it would alone."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from s3orchestrator.concurrency import start
from s3orchestrator.errors import InsufficientStorage, NoSuchBucket, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.operations import Left
from tests.contracts.store_kit import Kit
from tests.contracts.store_lives import Life
from tests.contracts.store_postgres import LosesAnswer, PostgresCase
from tests.contracts.store_races import outcomes
from tests.contracts.test_postgres import LOCK_KEY
from tests.contracts.test_shortcuts import ONE, Asked


class SharedTests(PostgresCase):
    """Those of one turn of the reactor share a transaction, and nothing else."""

    async def kits(self, count: int = 1, **how: Any) -> list[Kit]:
        kits = [Kit(await self.open(**how), self.reactor) for _ in range(count)]
        self.bucket = await kits[0].buckets.adopt("photos")
        return kits

    async def test_one_trip(self) -> None:
        """
        Whatever is reserved, committed or removed at once is one round trip, and each gets what is its own.
        """
        (kit,) = await self.kits(limits=ONE)
        await kit.put(self.bucket, "2", etag="old")
        asked = Asked(self)
        blobs = await gatherResults(
            [start(kit.reserve(self.bucket, f"{n}", n, "ab"[n % 2])) for n in range(6)]
        )
        self.assertEqual(asked.since(), 1)
        self.assertEqual(
            [(blob.key, blob.size, blob.backend) for blob in blobs][2:4], [("2", 2, "a"), ("3", 3, "b")]
        )
        committed = await gatherResults([start(kit.commit(self.bucket, blob)) for blob in blobs])
        self.assertEqual(asked.since(), 1)
        self.assertEqual([[gone.key for gone in one.displaced] for one in committed][1:4], [[], ["2"], []])
        for blob, one in zip(blobs, committed, strict=True):
            self.assertEqual((one.version.key, one.version.blobs[0].id), (blob.key, blob.id))
            self.assertEqual(await kit.versions.find(self.bucket, blob.key), one.version)
        asked.since()
        removed = await gatherResults([start(kit.versions.remove(self.bucket, f"{n}")) for n in range(2, 8)])
        self.assertEqual(asked.since(), 1)
        self.assertEqual(
            [[gone.id for gone in one.doomed] for one in removed], [[b.id] for b in blobs[2:]] + [[], []]
        )
        self.assertEqual(await kit.findings(), [])

    async def test_forgetting(self) -> None:
        """
        Many are forgotten in as many round trips as few, in whatever order they are told.
        """
        (kit,) = await self.kits(limits=ONE)
        keys = [f"{number}" for number in range(10)]
        await gatherResults([start(kit.put(self.bucket, key, 1, "u")) for key in keys])
        gone = await gatherResults([start(kit.versions.remove(self.bucket, key)) for key in keys])
        asked = Asked(self)
        await kit.blobs.forget_many(
            [(one.doomed[0], key == "3") for key, one in zip(keys, gone, strict=True)][::-1]
        )
        self.assertLessEqual(asked.since(), 4)
        self.assertEqual(await kit.rows("SELECT key, state FROM blobs"), [("3", "resting")])
        self.assertEqual(await kit.findings(), [])

    async def test_out_of_the_ordinary(self) -> None:
        """
        What is not ordinary ends as it would alone, and so do the others.
        """
        (kit,) = await self.kits()
        await kit.blobs.set_limits({"a": 25})
        gone = await kit.buckets.adopt("gone")
        await kit.buckets.delete(gone)
        sizes = {f"{number}": 10 for number in range(3)}
        asking = [start(kit.reserve(self.bucket, key, size)) for key, size in sizes.items()]
        asking += [start(kit.reserve(gone)), start(kit.reserve(self.bucket, "u", 1, "u"))]
        asking += [start(kit.reserve(self.bucket, "large", 30, "a", "b"))]
        one, two, *others = await outcomes(asking)
        self.assertEqual((one.backend, two.backend), ("a", "a"))
        self.assertEqual([type(other) for other in others[:2]], [InsufficientStorage, NoSuchBucket])
        self.assertEqual([other.backend for other in others[2:]], ["u", "b"])
        await kit.blobs.abandon(two, unclear=False)
        ended = await outcomes([start(kit.commit(self.bucket, blob)) for blob in (one, two, others[2])])
        self.assertEqual([isinstance(end, Exception) for end in ended], [False, True, False])
        self.assertEqual(await kit.findings(), [])

    async def test_refused(self) -> None:
        """
        What the server refuses is refused to whoever asked for it, and to nobody else.
        """
        (kit,) = await self.kits()
        keys = ("a", "nul\0", "b")
        ended = await outcomes([start(kit.reserve(self.bucket, key)) for key in keys])
        self.assertEqual([isinstance(end, Exception) for end in ended], [False, True, False])
        self.assertEqual(len(await kit.rows("SELECT id FROM blobs")), 2)
        self.assertEqual(await kit.findings(), [])

    async def locked(self, kit: Kit, key: str) -> tuple[Deferred[None], Deferred[None]]:
        """Lock a key until the first of these is called back; then the second will be."""
        held: Deferred[None] = Deferred()
        release: Deferred[None] = Deferred()

        async def holding(tx: ITransaction) -> None:
            await tx.run(LOCK_KEY, bucket_id=self.bucket.id, key=key)
            await tx.one("SELECT 1")
            held.callback(None)
            await release

        keeping = start(kit.ledger.transact(holding))
        await held
        return release, keeping

    async def test_key_is_locked(self) -> None:
        """
        Who waits for a key that another instance works on keeps nobody waiting.
        """
        holder, kit = await self.kits(2)
        blobs = [await kit.reserve(self.bucket, key) for key in "abc"]
        release, keeping = await self.locked(holder, "b")
        first, waits, last = [start(kit.commit(self.bucket, blob)) for blob in blobs]
        await gatherResults([first, last])
        self.assertNoResult(waits)
        release.callback(None)
        await gatherResults([keeping, waits])
        self.assertEqual(await kit.findings(), [])

    async def test_left_before_its_turn(self) -> None:
        """
        What a caller has left is looked for until it has ended, even if it changes nothing for long.
        """
        holder, kit = await self.kits(2)
        await kit.put(self.bucket, "k")
        release, keeping = await self.locked(holder, "k")
        leaves = start(kit.versions.remove(self.bucket, "k"))
        waiting = """
            SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
        """
        while not await kit.rows(waiting):
            pass
        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        for _ in range(3):
            await kit.blobs.tie_up()
        release.callback(None)
        await keeping
        while kit.ledger.operations.loose_ends:
            await kit.blobs.tie_up()
        self.assertEqual([blob.key for blob in await holder.blobs.claim_doomed(10)], ["k"])

    async def test_crossing(self) -> None:
        """
        Instances that want the same names in another order give each to one of them, and none waits for long.
        """
        kits = await self.kits(2)
        for attempt in range(10):
            keys = [f"{attempt}/{number}" for number in range(20)]
            asking = [
                start(kit.reserve(self.bucket, key, 1, backend))
                for kit, there in zip(kits, (keys, keys[::-1]), strict=True)
                for key in there
                for backend in "ab"
            ]
            blobs = await gatherResults(asking)
            self.assertEqual(sum(blob.plain for blob in blobs), len(blobs) // 2)
        self.assertEqual(await kits[0].findings(), [])

    async def test_lives(self) -> None:
        """
        Whatever instances do at once, what was committed is there until somebody is told that it has gone.
        """
        lives = [Life(kit, Random(number)) for number, kit in enumerate(await self.kits(2, clock=Clock()))]
        for life in lives:
            await life.begin()
        for _ in range(30):
            told = await gatherResults([start(life.step(8)) for life in lives])
            self.assertNotIn(StoreUnavailable, {kind for one in told for _, kind, _ in one})
        committed = sorted(blob.id for life in lives for blob in life.committed)
        displaced = [blob.id for life in lives for blob in life.displaced]
        live = [number for (number,) in await lives[0].kit.rows("SELECT id FROM blobs WHERE state = 'live'")]
        self.assertEqual(sorted([*displaced, *live]), committed)
        self.assertEqual(await lives[0].kit.findings(), [])

    async def test_caller_leaves(self) -> None:
        """
        A caller that leaves is noted, and takes nobody along; one that leaves at once is asked nothing for.
        """
        (kit,) = await self.kits()
        early, late, stays = [start(kit.reserve(self.bucket, key)) for key in "abc"]
        early.cancel()
        self.failureResultOf(early, CancelledError)
        await deferLater(self.reactor, 0)
        late.cancel()
        self.failureResultOf(late, CancelledError)
        self.assertEqual((await stays).key, "c")
        self.assertEqual([end.left for end in kit.ledger.operations.loose_ends], [Left.RESERVATION] * 2)
        self.assertEqual(await kit.rows("SELECT key FROM blobs ORDER BY key"), [("b",), ("c",)])
        while kit.ledger.operations.loose_ends:
            await kit.blobs.tie_up()
        self.assertEqual(await kit.rows("SELECT key FROM blobs"), [("c",)])

    async def test_lost_answer(self) -> None:
        """
        An answer that is lost is unclear to all whom it was for.
        """
        relay = LosesAnswer()
        port = self.reactor.listenTCP(0, relay, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        kit = Kit(await self.open_at(port.getHost().port), self.reactor)
        bucket = await kit.buckets.adopt("photos")
        relay.word = b"s3o_reserve"
        ended = await outcomes([start(kit.reserve(bucket, key)) for key in "abc"])
        relay.word = None
        self.assertEqual([type(end) for end in ended], [TransactionUnclear] * 3)
        self.assertEqual(len({end.occasion for end in ended if isinstance(end, TransactionUnclear)}), 1)
        self.assertEqual(len(kit.ledger.operations.loose_ends), 3)
        self.assertEqual(len(await kit.rows("SELECT id FROM blobs")), 3)
        await kit.blobs.tie_up()
        self.assertEqual(await kit.findings(), [])

    async def test_closing(self) -> None:
        """
        What was asked for before the ledger is closed is done.
        """
        (kit,) = await self.kits()
        asking = [start(kit.reserve(self.bucket, key)) for key in "ab"]
        await kit.ledger.close()
        self.assertEqual([blob.key for blob in await gatherResults(asking)], ["a", "b"])
