"""Reading an object: proved, resumed, and never half without saying so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.bodies.sources import collect
from s3orchestrator.errors import BackendUnavailable, NoSuchKey, NoSuchVersion
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.testing.harness import Harness

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

    async def _open(self) -> None:
        await self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: None)
