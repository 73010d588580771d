"""Tests for what is left in the ledger when nobody hears what came of an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, BlobState, Bucket, NewVersion, Usage
from s3orchestrator.errors import TransactionUnclear
from s3orchestrator.interfaces import ITransaction, Row, Stored, Traits
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.fsck import check
from s3orchestrator.store.operations import ILedger, Left, LooseEnd, Operations
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.store.versions import Versions

QUIET = 3600.0
TRAITS = Traits(exclusive=frozenset({"put"}))


@implementer(ILedger)
@define(eq=False)
class UnsureLedger:
    """A ledger whose COMMITs succeed; while it is unsure, nobody is told."""

    _ledger: ILedger
    is_unsure: bool = False

    @property
    def ledger_id(self) -> str:
        return self._ledger.ledger_id

    @property
    def operations(self) -> Operations:
        return self._ledger.operations

    async def transact(self, work: Callable[[ITransaction], Awaitable[Any]]) -> Any:
        result = await self._ledger.transact(work)
        if self.is_unsure:
            raise TransactionUnclear("the line is dead")
        return result

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        return await self._ledger.query(statement, **parameters)

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[Any]]) -> Any:
        return await self._ledger.snapshot(work)

    def now_ms(self) -> int:
        return self._ledger.now_ms()

    async def close(self) -> None:
        await self._ledger.close()


class UnclearTests(SynchronousTestCase):
    """COMMITs without an answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger = UnsureLedger(SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open())
        self.blobs = Blobs(self.ledger, traits_of=lambda _: TRAITS, quiet_period=QUIET)
        self.versions = Versions(self.ledger)
        self.bucket: Bucket = self.successResultOf(Buckets(self.ledger).adopt("photos"))
        self.addCleanup(self.look)

    def look(self) -> None:
        self.assertEqual(self.successResultOf(check(self.ledger)), [])

    def reserve(self, key: str = "k") -> Blob:
        return self.successResultOf(self.blobs.reserve(self.bucket, key, 10, ["a"]))

    def put(self, key: str = "k") -> Blob:
        blob = self.reserve(key)
        self.successResultOf(self.commit(blob))
        return blob

    def commit(self, blob: Blob) -> Any:
        new = NewVersion(10, "e", ObjectMetadata())
        return self.versions.commit(self.bucket, blob, Stored("e"), new)

    def unclear(self, work: Any) -> None:
        """Do something without hearing what came of it."""
        self.ledger.is_unsure = True
        self.failureResultOf(work, TransactionUnclear)
        self.ledger.is_unsure = False

    def usage(self) -> Usage:
        (usage,) = self.successResultOf(self.blobs.usage())
        return usage

    def state(self, blob: Blob) -> str:
        held = self.successResultOf(self.blobs.by_name(blob.backend, blob.name))
        return held.state if held is not None else "gone"

    def test_reserved(self) -> None:
        """
        Nothing was sent for a blob nobody knows of: it goes, and its name is free.
        """
        self.unclear(self.blobs.reserve(self.bucket, "k", 10, ["a"]))
        self.assertEqual(self.usage().reserved, 10)
        self.assertEqual(self.successResultOf(self.blobs.end_rests(10)), 0)
        self.assertEqual(self.usage(), Usage("a"))
        self.assertTrue(self.reserve().plain)

    def test_scratch(self) -> None:
        """
        The same for scratch objects.
        """
        self.unclear(self.blobs.reserve_scratch("a"))
        self.successResultOf(self.blobs.end_rests(10))
        self.assertEqual(self.successResultOf(self.blobs.names("a")), [])

    def test_others_untouched(self) -> None:
        """
        What is known to somebody stays theirs.
        """
        known = self.reserve("known")
        self.unclear(self.blobs.reserve(self.bucket, "k", 10, ["a"]))
        self.successResultOf(self.blobs.end_rests(10))
        self.assertEqual(self.state(known), BlobState.PENDING)

    def test_committed(self) -> None:
        """
        A commit that did happen stays; what it displaced is left for cleaning up.
        """
        old, new = self.put(), self.reserve()
        self.unclear(self.commit(new))
        self.assertEqual([blob.id for blob in self.claim_doomed()], [old.id])
        self.assertEqual(self.state(new), BlobState.LIVE)

    def test_not_committed(self) -> None:
        """
        After a commit that did not happen the bytes are there and nobody's: they are doomed, unclear.
        """
        blob = self.reserve()
        self.ledger.operations.loose_ends.extend(self.ends_of_a_commit(blob))
        (doomed,) = self.claim_doomed()
        self.assertEqual((doomed.id, doomed.unclear, self.state(blob)), (blob.id, True, BlobState.DOOMED))

    def ends_of_a_commit(self, blob: Blob) -> Any:
        """What is noted when `commit` of this blob gets no answer."""
        other = self.reserve("other")
        self.unclear(self.commit(other))
        ends = self.ledger.operations.loose_ends
        return [type(end)(end.left, blob.id if end.number == other.id else end.number) for end in ends]

    def test_removed(self) -> None:
        """
        Blobs doomed by a delete that nobody heard of are left for cleaning up.
        """
        blob = self.put()
        self.unclear(self.versions.remove(self.bucket, "k"))
        self.assertEqual([doomed.id for doomed in self.claim_doomed()], [blob.id])

    def test_abandoned(self) -> None:
        """
        So are those that were abandoned.
        """
        blob = self.reserve()
        self.unclear(self.blobs.abandon(blob, unclear=False))
        self.assertEqual([doomed.id for doomed in self.claim_doomed()], [blob.id])

    def test_claimed(self) -> None:
        """
        Claims are given back, of doomed blobs as of names that rest.
        """
        self.successResultOf(self.blobs.abandon(self.reserve("1"), unclear=False))
        self.successResultOf(self.blobs.recover())
        resting = self.successResultOf(self.blobs.abandon(self.reserve("2"), unclear=True))
        self.successResultOf(self.blobs.forget(resting, unclear=True))
        self.clock.advance(QUIET)
        self.unclear(self.blobs.claim_doomed(10))
        self.unclear(self.blobs.claim_unclear_rests(10))
        self.assertEqual([blob.key for blob in self.claim_doomed()], ["1"])
        looked_at = self.successResultOf(self.blobs.claim_unclear_rests(10))
        self.assertEqual([blob.key for blob in looked_at], ["2"])

    def test_still_unclear(self) -> None:
        """
        As long as the database gives no answer nothing is forgotten.
        """
        self.unclear(self.blobs.reserve(self.bucket, "k", 10, ["a"]))
        self.unclear(self.blobs.end_rests(10))
        self.successResultOf(self.blobs.end_rests(10))
        self.assertEqual(self.usage(), Usage("a"))

    def claim_doomed(self) -> list[Blob]:
        return list(self.successResultOf(self.blobs.claim_doomed(10)))


class LeavingTests(TestCase):
    """Callers that leave while the writer is at work."""

    async def test_left_after_its_turn(self) -> None:
        """
        A reservation that was made for somebody who has left is given back.
        """
        from twisted.internet import reactor

        ledger = SqliteDatabase(self.mktemp(), reactor).open()
        self.addCleanup(lambda: start(ledger.close()))
        blobs = Blobs(ledger, traits_of=lambda _: TRAITS, quiet_period=QUIET)
        bucket = await Buckets(ledger).adopt("photos")
        reserved, end = Event(), Event()
        self.addCleanup(end.set)

        async def linger(tx: ITransaction) -> None:
            reserved.set()
            end.wait(10)

        leaving = start(blobs.reserve(bucket, "k", 10, ["a"]))
        staying = start(ledger.at_length(linger))
        await deferToThread(
            reserved.wait, 10
        )  # the group is not committed yet, but the reservation has had its turn
        leaving.cancel()
        end.set()
        await staying
        with self.assertRaises(CancelledError):
            await leaving
        self.assertEqual((await blobs.usage())[0].reserved, 10)
        await blobs.end_rests(10)
        self.assertEqual((await blobs.usage())[0].reserved, 0)


class TogetherTests(TestCase):
    """Services that look at the same time."""

    async def test_two_looks(self) -> None:
        """
        What one of them has settled the other leaves alone.
        """
        from twisted.internet import reactor

        ledger = SqliteDatabase(self.mktemp(), reactor).open()
        self.addCleanup(lambda: start(ledger.close()))
        blobs = Blobs(ledger, traits_of=lambda _: TRAITS, quiet_period=QUIET)
        ledger.operations.loose_ends.append(LooseEnd(Left.RESERVATION, 1))
        looking = [start(blobs.tie_up()), start(blobs.end_rests(10))]
        for each in looking:
            await each
        self.assertEqual(ledger.operations.loose_ends, [])
