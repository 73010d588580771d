"""Reading an object: proved, resumed, and never half without saying so."""

from __future__ import annotations

import gc

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.bodies.sources import collect
from s3orchestrator.domain.records import Version
from s3orchestrator.errors import BackendUnavailable, NoSuchKey, NoSuchVersion, StoreUnavailable
from s3orchestrator.objects.reading import Answered
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.testing.harness import Harness
from tests.unit.objects.world import World

DATA = bytes(range(256)) * 8


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness()
        self.h.put("k", DATA)

    def read(self, wanted: ByteRange | None = None) -> bytes:
        async def work() -> bytes:
            opened = await self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: wanted)
            self.assertEqual(opened.wanted, wanted)
            return await collect(opened.body, len(DATA))

        return self.h.run(work())

    def test_ranges(self) -> None:
        """A range gives exactly its bytes."""
        for start, end in ((0, 0), (0, len(DATA) - 1), (5, 1000), (len(DATA) - 1, len(DATA) - 1)):
            self.assertEqual(self.read(ByteRange(start, end)), DATA[start : end + 1])

    def test_missing(self) -> None:
        """What is not there is said to be missing by the ledger; no backend is asked."""
        self.h.backend("a").down()
        self.h.expect(NoSuchKey, self.h.core.objects.reading.find(self.h.bucket, "nothing"))
        self.h.expect(NoSuchVersion, self.h.core.objects.reading.find(self.h.bucket, "k", "v1"))

    def test_version_null(self) -> None:
        """Every object of a bucket without versioning has the version `null`."""
        version = self.h.run(self.h.core.objects.reading.find(self.h.bucket, "k", "null"))
        self.assertEqual((version.version_id, version.size), ("null", len(DATA)))

    def test_head_needs_no_backend(self) -> None:
        """What a HEAD tells is in the ledger."""
        self.h.backend("a").down()
        self.assertEqual(self.h.run(self.h.core.objects.reading.find(self.h.bucket, "k")).size, len(DATA))

    def test_answered(self) -> None:
        """Where no byte is needed none is read; and nothing is left for the garbage collector."""
        reading = self.h.core.objects.reading
        self.h.backend("a").down()

        def decide(version: Version) -> None:
            raise Answered(version)

        async def read() -> int:
            try:
                await reading.get(self.h.bucket, "k", decide)
            except Answered as answered:
                return answered.version.size
            raise AssertionError("not answered")

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        size = self.successResultOf(Deferred.fromCoroutine(read()))
        self.assertEqual(gc.collect(), 0)
        self.assertEqual(size, len(DATA))

    def test_backend_away(self) -> None:
        """The version exists, so the answer is 503 and never 404."""
        self.h.backend("a").down()
        self.h.expect(BackendUnavailable, self._open())

    def test_bytes_gone_or_changed(self) -> None:
        """An object that somebody removed or replaced behind our back is not served, nor denied."""
        held = self.h.backend("a").objects.pop("photos/k")
        self.h.expect(BackendUnavailable, self._open())
        self.h.put("other", b"x")
        self.h.backend("a").objects["photos/k"] = self.h.backend("a").objects["photos/other"]
        self.h.expect(BackendUnavailable, self._open())
        self.h.backend("a").objects["photos/k"] = held
        self.assertEqual(self.read(), DATA)

    def test_wrong_size(self) -> None:
        """A reply that is longer than the object is refused before its first byte."""
        self.h.backend("a").faults.always(Fault.WRONG_SIZE, "get")
        self.h.expect(BackendUnavailable, self._open())

    def test_continued_where_it_broke(self) -> None:
        """A reply that dies half-way is continued at the same byte, more than once if need be."""
        self.h.backend("a").faults.next("get", Fault.TRUNCATED, Fault.TRUNCATED, Fault.TRUNCATED)
        self.assertEqual(self.read(), DATA)
        self.assertEqual(self.read(ByteRange(3, 99)), DATA[3:100])

    def test_not_continued_for_ever(self) -> None:
        """When no copy goes on, the reader hears of it."""
        self.h.backend("a").faults.next("get", Fault.TRUNCATED)
        self.h.backend("a").faults.always(Fault.REFUSED, "get")
        with self.assertRaises(BackendUnavailable):
            self.read()

    def test_empty(self) -> None:
        """An empty object costs no call."""
        self.h.put("empty", b"")
        self.h.backend("a").down()
        self.assertEqual(self.h.get("empty"), b"")

    def test_replaced_between_lookup_and_reading(self) -> None:
        """A reader that lost the race gets the new version, whole."""
        overwritten = []

        async def work() -> bytes:
            def decide(version: object) -> None:
                if not overwritten:
                    overwritten.append(version)
                    self.h.put("k", b"new")

            opened = await self.h.core.objects.reading.open(self.h.bucket, "k", decide)
            return await collect(opened.body, len(DATA))

        self.assertEqual(self.h.run(work()), b"new")

    def is_suspect(self) -> bool:
        (blob,) = self.h.run(self.h.core.objects.reading.find(self.h.bucket, "k")).blobs
        return blob.suspect

    def test_suspect(self) -> None:
        """A copy that is missed or found wrong is suspect until it is read again; it is kept all the same."""
        held = self.h.backend("a").objects.pop("photos/k")
        self.h.expect(BackendUnavailable, self._open())
        self.assertTrue(self.is_suspect())
        self.h.backend("a").objects["photos/k"] = held
        self.assertEqual(self.read(), DATA)
        self.assertFalse(self.is_suspect())
        self.h.backend("a").faults.next("get", Fault.WRONG_SIZE)
        self.h.expect(BackendUnavailable, self._open())
        self.assertTrue(self.is_suspect())

    def test_not_suspect(self) -> None:
        """A backend that does not answer says nothing of its copies."""
        self.h.backend("a").down()
        self.h.expect(BackendUnavailable, self._open())
        self.assertFalse(self.is_suspect())

    def test_suspect_in_the_middle(self) -> None:
        """The copy went away while it was being read."""
        self.h.backend("a").faults.next("get", Fault.TRUNCATED)
        opened = self.h.run(self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: None))
        held = self.h.backend("a").objects.pop("photos/k")
        self.h.expect(BackendUnavailable, collect(opened.body, len(DATA)))
        self.assertTrue(self.is_suspect())
        self.h.backend("a").objects["photos/k"] = held

    def test_replaced_meanwhile(self) -> None:
        """Nothing is suspect because a reader came too late."""
        self.test_replaced_between_lookup_and_reading()
        self.assertFalse(self.is_suspect())
        self.assertEqual(self.h.findings(), [])

    def test_suspect_while_the_ledger_is_away(self) -> None:
        """However often it is missed meanwhile, the ledger is told once it is back, once."""
        world = World()
        world.run(world.putting("k", DATA))
        held = world.backend("a").objects.pop("photos/k")
        before = world.points.transactions
        world.points.transacting = lambda number: StoreUnavailable
        for _ in range(3):
            world.expect(
                BackendUnavailable, world.core.objects.reading.open(world.bucket, "k", lambda version: None)
            )
        self.assertEqual(world.points.transactions, before + 1)
        world.points.transacting = None
        world.advance(60)
        (blob,) = world.run(world.core.objects.reading.find(world.bucket, "k")).blobs
        self.assertTrue(blob.suspect)
        world.backend("a").objects["photos/k"] = held

    async def _open(self) -> None:
        await self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: None)
