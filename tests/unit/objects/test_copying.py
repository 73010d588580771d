"""Copies: where the bytes go, what the copy is said to be, and what interferes."""

from __future__ import annotations

from hashlib import md5
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.domain.owning import MARKER
from s3orchestrator.domain.records import Version
from s3orchestrator.errors import (
    BackendUnavailable,
    InsufficientStorage,
    NoSuchKey,
    PreconditionFailed,
)
from s3orchestrator.interfaces import Traits
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.testing.harness import QUIET_PERIOD
from tests.unit.objects.world import LARGE, SMALL, World, small_parts

CRC = b"x-amz-checksum-crc32"


class CopyCase(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World(quotas={"a": 20_000})
        self.a = self.w.backend("a")
        self.w.run(
            self.w.core.objects.writing.put(
                self.w.bucket, "k", self.w.declared(LARGE), ObjectMetadata("text/plain", user={"a": "b"})
            )
        )

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def find(self, key: str) -> Version:
        return self.w.run(self.w.core.objects.reading.find(self.w.bucket, key))

    def copy(self, source: str = "k", target: str = "l", **order: Any) -> Version:
        self.w.run(self.w.copying(source, target, **order))
        return self.find(target)

    def verbs(self) -> list[str]:
        return [call.verb for name in self.w.backends for call in self.w.backend(name).calls]


class CopyTests(CopyCase):
    def test_in_place(self) -> None:
        """On one backend no byte comes to us, and the copy is a thing of its own."""
        copy = self.copy()
        self.assertNotIn("get", self.verbs())
        self.assertEqual(copy.etag, md5(LARGE).hexdigest())
        self.assertEqual((copy.metadata.content_type, copy.metadata.user), ("text/plain", {"a": "b"}))
        self.w.delete("k")
        self.assertEqual(self.w.get("l"), LARGE)
        self.assertEqual(self.w.stored()["a"], {"photos/l": LARGE})

    def test_other_metadata(self) -> None:
        """What replaces it goes to the backend too, also when an object is copied onto itself."""
        copy = self.copy(target="k", metadata=ObjectMetadata("image/png", user={"c": "d"}))
        self.assertEqual((copy.metadata.content_type, copy.metadata.user), ("image/png", {"c": "d"}))
        (held,) = [held for name, held in self.a.objects.items() if name != MARKER]
        self.assertEqual((held.description.content_type, held.description.meta["c"]), ("image/png", "d"))
        self.assertNotIn("a", held.description.meta)
        self.assertEqual(self.w.get("k"), LARGE)

    def test_no_room_beside_the_source(self) -> None:
        """It goes to another backend, through us."""
        self.w.run(self.w.putting("fill", b"x" * 15_000))
        self.copy()
        self.assertEqual(self.w.stored()["b"], {"photos/l": LARGE})
        self.w = World(backends=("a",), quotas={"a": 5000})
        self.w.run(self.w.putting("k", LARGE))
        self.w.expect(InsufficientStorage, self.w.copying("k", "l"))
        self.w.expect(InsufficientStorage, self.w.copying("k", "k"))

    def test_failing_backend(self) -> None:
        """A backend that cannot copy leaves the bytes to us."""
        for fault in (Fault.REFUSED, Fault.FAILED, Fault.LOST_ANSWER, Fault.LATE, Fault.WRONG_ETAG):
            self.a.faults.next("copy", fault)
            self.assertEqual(self.copy(target=f"l-{fault.name}").etag, md5(LARGE).hexdigest())
            self.assertEqual(self.w.get(f"l-{fault.name}"), LARGE)
            self.w.clock.advance(11)

    def test_source_away(self) -> None:
        """A copy needs its source; nothing is left of one that cannot be read."""
        self.a.down()
        self.w.expect(BackendUnavailable, self.w.copying("k", "l"))
        self.a.faults.clear()
        self.w.expect(NoSuchKey, self.w.core.objects.reading.find(self.w.bucket, "l"))
        self.w.expect(NoSuchKey, self.w.copying("nothing", "l"))

    def test_source_that_dies_is_not_held_against_its_target(self) -> None:
        """The backend that was to take the copy is the first choice of the next write."""
        self.w = World(quotas={"b": 20_000})
        self.a = self.w.backend("a")
        self.a.down()
        self.w.run(self.w.putting("k", LARGE))
        self.a.faults.clear()
        self.w.clock.advance(11)
        self.w.backend("b").faults.next("get", Fault.TRUNCATED, Fault.REFUSED)
        self.w.backend("b").faults.next("copy", Fault.REFUSED)
        self.w.expect(BackendUnavailable, self.w.copying("k", "l"))
        self.w.run(self.w.putting("m", SMALL))
        self.assertIn("photos/m", self.w.stored()["a"])

    def test_rotten_source(self) -> None:
        """Bytes that are not what the ledger says are copied nowhere, by nobody."""
        self.a.corrupt("photos/k")
        self.w.expect(BackendUnavailable, self.w.copying("k", "l"))
        self.assertEqual(list(self.w.stored()["a"]), ["photos/k"])
        self.w.run(self.w.putting("k", LARGE))

    def test_conditions(self) -> None:
        """Those of the target are asked before anything is copied, and again when it is recorded."""
        first = WriteCondition(if_none_match=("*",))
        self.copy(condition=first)
        self.w.expect(PreconditionFailed, self.w.copying("k", "l", condition=first))
        self.assertEqual(self.verbs().count("copy"), 1)
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before copy" else None
        copying = start(self.w.copying("k", "m", condition=first))
        self.w.points.at = None
        self.w.run(self.w.putting("m", SMALL))
        waiting.callback(None)
        self.failureResultOf(copying, PreconditionFailed)
        self.w.settle()
        self.assertEqual(self.w.get("m"), SMALL)

    def test_to_another_bucket(self) -> None:
        """Buckets share backends, so that is a copy in place as well."""
        bucket = self.w.run(self.w.core.objects.catalog.create("docs", "someone"))
        self.w.run(self.w.copying("k", "l", target_bucket=bucket))
        self.assertNotIn("get", self.verbs())
        self.assertEqual(self.w.get("l", bucket), LARGE)
        self.assertIn("docs/l", self.w.stored()["a"])


class ReplacedTests(CopyCase):
    def copy_while(self, point: str, change: Any) -> bytes:
        """Make a copy; at `point` the source is changed."""
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == point else None
        copying = start(self.w.copying("k", "l"))
        self.w.points.at = None
        change()
        waiting.callback(None)
        self.w.settle()
        self.successResultOf(copying)
        return self.w.get("l")

    def test_before_it_was_copied(self) -> None:
        """The copy is of what is there then."""
        found = self.copy_while("before copy", lambda: self.w.run(self.w.putting("k", SMALL)))
        self.assertEqual(found, SMALL)

    def test_while_it_was_copied(self) -> None:
        """What was copied is what was looked up: the name of a source rests, so nobody else has it."""
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: (
            waiting if self.w.points.reached[-2:] == ["before copy", "after it"] else None
        )
        copying = start(self.w.copying("k", "l"))
        self.w.points.at = None
        self.w.run(self.w.putting("k", SMALL))
        waiting.callback(None)
        self.w.settle()
        self.successResultOf(copying)
        self.assertEqual(self.w.get("l"), LARGE)

    def test_name_used_by_somebody_else(self) -> None:
        """A copy that took longer than the name's rest is made again: nobody knows whose bytes it has."""
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: (
            waiting if self.w.points.reached[-2:] == ["before copy", "after it"] else None
        )
        copying = start(self.w.copying("k", "l"))
        self.w.points.at = None
        self.w.run(self.w.putting("k", SMALL))
        self.w.advance(QUIET_PERIOD + 1)
        waiting.callback(None)
        self.w.settle()
        self.successResultOf(copying)
        self.assertEqual(self.w.get("l"), SMALL)

    def test_deleted(self) -> None:
        """A source that has gone is missing, not unavailable."""
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before copy" else None
        copying = start(self.w.copying("k", "l"))
        self.w.points.at = None
        self.w.delete("k")
        waiting.callback(None)
        self.failureResultOf(copying, NoSuchKey)
        self.w.settle()


class ChecksumTests(CopyCase):
    def test_kept(self) -> None:
        """A checksum of the whole object is the copy's as well."""
        self.w.run(
            self.w.core.objects.writing.put(
                self.w.bucket, "k", self.w.incoming(b"123456789", {CRC: [b"y/Q5Jg=="]}), ObjectMetadata()
            )
        )
        self.assertEqual(self.copy().checksum, Checksum("crc32", "y/Q5Jg==", "FULL_OBJECT"))
        self.assertNotIn("get", self.verbs())
        self.assertEqual(self.copy(algorithm="crc32").checksum, Checksum("crc32", "y/Q5Jg==", "FULL_OBJECT"))
        self.assertNotIn("get", self.verbs())

    def test_another_one(self) -> None:
        """One that is not known yet is computed, which takes reading."""
        copy = self.copy(algorithm="sha256")
        assert copy.checksum is not None
        self.assertEqual((copy.checksum.algorithm, copy.checksum.kind), ("sha256", "FULL_OBJECT"))
        self.assertIn("get", self.verbs())

    def test_of_parts(self) -> None:
        """The checksum of checksums, and the ETag of ETags, are of the parts, which a copy has not."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL, algorithm="crc32", kind="COMPOSITE")
        self.w.run(self.w.completing(upload, *parts))
        copy = self.copy()
        self.assertEqual((copy.checksum, copy.parts), (None, ()))
        self.assertEqual(copy.etag, md5(LARGE + SMALL).hexdigest())
        self.assertEqual(self.w.get("l"), LARGE + SMALL)

    def test_wrong_bytes_on_the_way(self) -> None:
        """A whole object's checksum proves what its ETag cannot."""
        upload, parts = self.w.uploaded("k", LARGE, algorithm="crc32", kind="FULL_OBJECT")
        self.w.run(self.w.completing(upload, *parts))
        self.a.faults.next("copy", Fault.REFUSED)
        self.a.faults.next("get", Fault.WRONG_BYTES)
        self.w.expect(BackendUnavailable, self.w.copying("k", "l"))
        self.w.expect(NoSuchKey, self.w.core.objects.reading.find(self.w.bucket, "l"))

    def test_backend_without_md5(self) -> None:
        """Where ETags say nothing, the client's stays."""
        for name in self.w.backends:
            self.w.backend(name).traits = Traits(frozenset({"put", "copy", "complete"}), md5_etags=False)
        self.w.run(self.w.putting("k", SMALL))
        self.assertEqual(self.copy().etag, md5(SMALL).hexdigest())
        self.assertEqual(self.w.get("l"), SMALL)
