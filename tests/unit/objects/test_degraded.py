"""Reading while the ledger is away: the same answers as before, or none."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.core import Core, build_core
from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import Held, MemoryBackend
from s3orchestrator.bodies.sources import collect
from s3orchestrator.concurrency import start
from s3orchestrator.config.live import InForce
from s3orchestrator.config.sections import Config
from s3orchestrator.domain.describing import Known, describe
from s3orchestrator.domain.naming import ENTROPY, hashed_prefix, token, unique_prefix
from s3orchestrator.domain.records import Blob, BlobState, Version
from s3orchestrator.errors import NoSuchKey, NotSeen, OrchestratorError, StoreUnavailable
from s3orchestrator.interfaces import Description, IBackend, Stored, Traits
from s3orchestrator.objects.broadcasting import MAX_LOOKS
from s3orchestrator.objects.copying import CopyOrder
from s3orchestrator.objects.locations import Location
from s3orchestrator.objects.parts import PartPlace
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.testing.harness import NOW, Harness
from tests.unit.objects.away import UNTIL_TRIED, Opening

SMALL, LARGE = b"small", b"large" * 100
EVERYTHING = ObjectMetadata(
    "text/x; charset=utf-8",
    {
        "Cache-Control": "max-age=3, private",
        "Content-Disposition": 'attachment; filename="a;b\xe9.txt"',
        "Content-Encoding": "gzip",
        "Content-Language": "de",
        "Expires": "Thu, 01 Dec 1994 16:00:00 GMT",
    },
    {"colour": "bluish  green", "name": "caf\xe9", "s3o": "1;x;2;3;"},
)
INEXACT = Traits(exclusive=frozenset({"put"}), exact_names=False, md5_etags=True)
OTHER_ETAGS = Traits(exclusive=frozenset({"put", "copy", "complete"}), md5_etags=False)
TOKEN = token(int(NOW * 1000), bytes(ENTROPY))


class Telling(MemoryBackend):
    """A backend after whose puts something may happen."""

    stored: Callable[[], object] = staticmethod(lambda: None)

    async def put(self, *arguments: Any, **more: Any) -> Stored:
        stored = await super().put(*arguments, **more)
        self.stored()
        return stored


def told(version: Version) -> dict[str, Any]:
    """What clients see of a version, to the second of its time."""
    return {
        "size": version.size,
        "etag": version.etag,
        "metadata": version.metadata,
        "checksum": version.checksum,
        "modified": version.modified_ms // 1000,
    }


class DegradedCase(SynchronousTestCase):
    """A harness whose ledger can go away; objects over 100 bytes go to `b`, others to `a`."""

    traits: Traits | None = None

    def setUp(self) -> None:
        self.opening = Opening()
        self.h = Harness(max_object_size={"a": 100}, open_ledger=self.opening, make_backend=self.make_backend)
        self.reading = self.h.core.objects.reading

    def make_backend(self, name: str, clock: Clock) -> MemoryBackend:
        return Telling(name, clock, self.traits) if self.traits else Telling(name, clock)

    def build(self, config: Config, held: dict[str, IBackend]) -> Core:
        """Another core on the same ledger."""
        return self.h.run(build_core(InForce(config), self.h.clock, self.opening.ledger, held))

    def put(
        self, key: str, data: bytes, metadata: ObjectMetadata = EVERYTHING, **headers: list[bytes]
    ) -> Version:
        named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        incoming = self.h.incoming(data, named)
        return self.h.run(self.h.core.objects.writing.put(self.h.bucket, key, incoming, metadata))

    def go_away(self) -> None:
        self.opening.ledger.is_off = True
        while not self.h.core.ledger.database.is_away:
            self.h.expect(StoreUnavailable, self.h.core.ledger.buckets.all())

    def come_back(self) -> None:
        self.opening.ledger.is_off = False
        self.h.clock.advance(UNTIL_TRIED)

    def find(self, key: str) -> Version:
        return self.h.run(self.reading.find(self.h.bucket, key, degraded="HeadObject"))

    def get(self, key: str, wanted: ByteRange | None = None) -> bytes:
        async def read() -> bytes:
            opened = await self.reading.open(self.h.bucket, key, lambda _: wanted, degraded="GetObject")
            return await collect(opened.body, opened.version.size)

        return self.h.run(read())

    def outcome(self, key: str) -> object:
        """What a client gets for a key."""
        try:
            return told(self.find(key)), self.get(key)
        except OrchestratorError as error:
            return NoSuchKey if isinstance(error, NotSeen) else type(error)

    def refused(self, key: str, kind: type[OrchestratorError] = StoreUnavailable) -> None:
        self.h.expect(kind, self.reading.find(self.h.bucket, key, degraded="HeadObject"))

    def assertSameAway(self, *keys: str) -> None:
        """While the ledger is away, each key is read as before."""
        before = {key: self.outcome(key) for key in keys}
        self.go_away()
        for key in keys:
            self.assertEqual(self.outcome(key), before[key], key)


class SameTests(DegradedCase):
    """What was told before is told again."""

    def test_everything_that_is_told(self) -> None:
        """Headers, metadata, ETag, size, checksum and bytes, of kept bodies and of streamed ones."""
        crc = Checksum.of_digest("crc32", b"\0\0\0\0")
        self.put("small", SMALL)
        self.put("checked", b"", x_amz_checksum_crc32=[crc.value.encode()])
        self.put("large", bytes(10_000))
        self.put("bare", SMALL, ObjectMetadata())
        self.assertEqual(self.find("checked").checksum, crc)
        self.assertSameAway("small", "checked", "large", "bare", "never written")

    def test_overwritten(self) -> None:
        """The newest wins, wherever it is and whatever its name."""
        self.put("up", SMALL)
        self.put("down", LARGE)
        self.put("again", SMALL)
        kept = {name: dict(self.h.backend(name).objects) for name in ("a", "b")}
        self.put("up", LARGE)
        self.put("down", SMALL)
        self.put("again", SMALL + SMALL)
        self.assertSameAway("up", "down", "again")
        # Also where the old bytes are still about.
        for name, objects in kept.items():
            self.h.backend(name).objects.update(
                {
                    stored: held
                    for stored, held in objects.items()
                    if stored not in self.h.backend(name).objects
                }
            )
        self.h.core.locations.clear()
        self.assertEqual([self.get("up"), self.get("down")], [LARGE, SMALL])

    def test_deleted(self) -> None:
        """A deleted key is missing: every backend says so."""
        self.put("k", SMALL)
        self.h.delete("k")
        self.assertSameAway("k")
        self.refused("k", NotSeen)

    def test_names(self) -> None:
        """Keys of any form are found, and only by their own names."""
        keys = [
            "a",
            "a~",
            f"a~{TOKEN}",
            "a/b",
            "a//b",
            "../a",
            "a/",
            "\u732b" * 341,
            "x" * 1017,
            "a\x01b",
            "~",
        ]
        for number, key in enumerate(keys):
            self.put(key, b"%d" % number)
        for number, key in enumerate(keys[:4]):
            self.put(key, b"%d again" % number)
        self.assertSameAway(*keys, "a~0", "b", "A")

    def test_look_alike_of_a_missing_key(self) -> None:
        """A key that looks like another's unique name does not make that other exist."""
        self.put(f"gone~{TOKEN}", SMALL)
        self.go_away()
        self.refused("gone", NotSeen)

    def test_strangers(self) -> None:
        """What does not say that it is ours, or is another ledger's, does not count."""
        ours = self.put("ours", SMALL)
        stamped = self.h.backend("a").objects["photos/ours"]
        stranger = Description("text/plain", {"s3o": stamped.description.meta["s3o"].replace(";", ";x", 1)})
        for key, description in (("stranger", Description("text/plain")), ("foreign", stranger)):
            self.h.backend("a").objects[f"photos/{key}"] = Held(b"x", "e", 0, description)
        self.h.backend("a").objects["photos/copied"] = stamped
        self.h.backend("b").objects["photos/ours"] = Held(b"x", "e", 2**50, stranger)
        self.go_away()
        for key in ("stranger", "foreign", "copied"):
            self.refused(key, NotSeen)
        self.assertEqual(told(self.find("ours")), told(ours))

    def test_copies(self) -> None:
        """A copy made on its backend is told of as it was when it was made."""
        self.put("source", SMALL)
        order = CopyOrder(self.h.bucket, "source", self.h.bucket, "target", lambda version: None)
        self.h.run(self.h.core.objects.copying.copy(order))
        self.assertIn("copy", [call.verb for call in self.h.backend("a").calls])
        self.assertSameAway("source", "target")

    def test_multipart(self) -> None:
        """An object made from parts, too; but which these were is not known."""
        self.complete("made")
        before = told(self.find("made"))
        self.go_away()
        self.assertEqual(told(self.find("made")), before)
        self.assertEqual(self.get("made", ByteRange(2, 5)), b"aabb")
        self.assertFalse(self.find("made").parts_known)

    def complete(self, key: str) -> None:
        h, objects = self.h, self.h.core.objects
        upload = h.run(objects.multipart.create(h.bucket, key, EVERYTHING, owner="k"))
        part = h.run(objects.parts.put(PartPlace(h.bucket, key, upload.id, 1), h.incoming(b"aaaabbbb")))
        h.run(objects.multipart.complete(h.bucket, key, upload.id, [(1, part.etag, None)]))

    def test_ranges(self) -> None:
        """Ranges give exactly their bytes, from the copy that was proved."""
        self.put("k", LARGE)
        self.go_away()
        self.assertEqual(self.get("k", ByteRange(3, 8)), LARGE[3:9])

    def test_replaced_while_it_is_opened(self) -> None:
        """Bytes with another ETag than was looked up are not served: it is looked for again."""
        self.put("k", LARGE)
        self.go_away()

        def decide(version: Version) -> None:
            if version.size == len(LARGE):
                self.replace("k", b"by another instance")

        async def read() -> bytes:
            opened = await self.reading.open(self.h.bucket, "k", decide, degraded="GetObject")
            return await collect(opened.body, opened.version.size)

        self.assertEqual(self.h.run(read()), b"by another instance")

    def replace(self, key: str, data: bytes) -> None:
        """What another instance would do, whose database is there."""
        etag = md5(data).hexdigest()
        name = f"photos/{key}"
        blob = Blob(99, "b", name, BlobState.PENDING, len(data), int(NOW * 2000), key=key, plain=True)
        meta = describe(blob, self.h.core.ledger_id, ObjectMetadata(), Known(etag))
        self.h.backend("b").objects[name] = Held(data, etag, 0, Description("text/plain", meta))


class OtherETagsTests(SameTests):
    """Where the backend's ETags are none of the client's, what clients were told is kept with the bytes."""

    traits = OTHER_ETAGS


class InexactNamesTests(SameTests):
    """Where names are paths, odd keys have hashed names."""

    traits = INEXACT


class RefusedTests(DegradedCase):
    """What cannot be told is refused."""

    def test_a_backend_is_away_too(self) -> None:
        """It may have the newest, so nothing can be said; not even that there is nothing."""
        self.put("k", SMALL)
        self.h.backend("b").down()
        self.go_away()
        self.refused("k")
        self.refused("nothing")
        self.h.backend("b").faults.clear()
        self.assertEqual(self.get("k"), SMALL)

    def test_each_question_needs_an_answer(self) -> None:
        """A HEAD or a listing that fails is no answer."""
        self.put("k", SMALL)
        self.go_away()
        for verb in ("head", "list_objects"):
            self.h.backend("b").faults.next(verb, Fault.FAILED)
            self.refused("k")
        self.assertEqual(self.get("k"), SMALL)

    def test_metadata_that_did_not_fit(self) -> None:
        """An object whose metadata the backend does not have is not served without."""
        self.put("k", SMALL, ObjectMetadata(user={"big": "x" * 2040}))
        self.go_away()
        self.refused("k")

    def test_unknown_etag(self) -> None:
        """Nor is one whose ETag clients were told otherwise."""
        self.put("streamed", bytes(2000))
        objects = self.h.backend("b").objects
        objects["photos/streamed"] = evolve(objects["photos/streamed"], etag="odd")
        self.go_away()
        self.refused("streamed")

    def test_other_bytes_below_our_description(self) -> None:
        """Nor is one that is not what its description says."""
        self.put("k", SMALL)
        held = self.h.backend("a").objects["photos/k"]
        self.h.backend("a").objects["photos/k"] = evolve(held, data=b"other", etag="0" * 32)
        self.go_away()
        self.refused("k")

    def test_unknown_description(self) -> None:
        """A description that a later release may have written is not taken for a stranger's object."""
        self.h.backend("a").objects["photos/k"] = Held(b"x", "e", 0, Description("", {"s3o": "9;what"}))
        self.go_away()
        self.refused("k")

    def test_too_many_names_alike(self) -> None:
        """A key of which thousands of others look like its unique names cannot be told from them."""
        prefix = unique_prefix("photos", "k")
        stranger = Held(b"", "e", 0, Description(""))
        self.h.backend("a").objects.update({f"{prefix}{number:05}": stranger for number in range(20_001)})
        self.go_away()
        self.refused("k")
        self.refused("l", NotSeen)

    def test_many_names_looked_at(self) -> None:
        """Each is asked for its headers, the newest first, but not for ever."""
        prefix = unique_prefix("photos", "k")
        stranger = Held(b"", "e", 0, Description(""))
        alike = [f"{prefix}{'0' * 20}{number:06}" for number in range(MAX_LOOKS + 1)]
        self.h.backend("a").objects.update(dict.fromkeys(alike[:-1], stranger))
        self.go_away()
        self.refused("k", NotSeen)
        self.h.backend("a").objects[alike[-1]] = stranger
        self.refused("k")

    def test_versions(self) -> None:
        """A version that is named is the ledger's to know."""
        self.put("k", SMALL)
        self.go_away()
        find = self.reading.find(self.h.bucket, "k", "null", degraded="HeadObject")
        self.h.expect(StoreUnavailable, find)

    def test_nothing_is_written(self) -> None:
        """Writes, deletes and copies are refused, and no backend hears of them."""
        self.put("k", SMALL)
        self.go_away()
        before, calls = self.h.stored(), {name: len(self.h.backend(name).calls) for name in ("a", "b")}
        objects, bucket = self.h.core.objects, self.h.bucket
        order = CopyOrder(bucket, "k", bucket, "copy", lambda version: None)
        for work in (
            objects.writing.put(bucket, "k", self.h.incoming(b"new"), ObjectMetadata()),
            objects.deleting.delete(bucket, "k"),
            objects.deleting.delete_many(bucket, [("k", None, None)]),
            objects.copying.copy(order),
            objects.multipart.create(bucket, "k", ObjectMetadata(), owner="k"),
            self.reading.find(bucket, "k"),
        ):
            self.h.expect(StoreUnavailable, work)
        self.assertEqual(self.h.stored(), before)
        self.assertEqual({name: len(self.h.backend(name).calls) for name in ("a", "b")}, calls)

    def test_removed_backend(self) -> None:
        """A backend that holds objects and is not in the configuration any more cannot be asked."""
        self.put("k", SMALL)
        self.put("l", LARGE)
        config = self.h.core.config
        config = evolve(config, backends=config.backends[:1])
        core = self.build(config, {"a": self.h.backend("a")})
        self.opening.ledger.is_off = True
        self.h.expect(StoreUnavailable, core.objects.reading.find(self.h.bucket, "k", degraded="HeadObject"))


class AwayTests(DegradedCase):
    """Going, staying away, coming back."""

    def count(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"s3o_degraded_{name}_total", labels) or 0.0

    def test_before_the_breaker_opens(self) -> None:
        """The very first failure is not the client's."""
        self.put("k", SMALL)
        self.opening.ledger.is_off = True
        self.assertEqual(self.get("k"), SMALL)
        self.assertFalse(self.h.core.ledger.database.is_away)

    def test_found_again_where_it_was(self) -> None:
        """The second read asks one backend only, and makes sure that it is the same object."""
        self.put("k", SMALL)
        self.go_away()
        reads, hits = self.count("reads", operation="HeadObject"), self.count("cache_hits")
        self.find("k")
        asked = len(self.h.backend("b").calls)
        self.find("k")
        self.assertEqual(len(self.h.backend("b").calls), asked)
        self.assertEqual(self.count("reads", operation="HeadObject"), reads + 2)
        self.assertEqual(self.count("cache_hits"), hits + 1)
        self.h.backend("a").objects.clear()
        self.refused("k", NotSeen)

    def test_remembered_place_does_not_answer(self) -> None:
        """Then all are asked, and since one cannot answer, nothing is said."""
        self.put("k", SMALL)
        self.go_away()
        self.find("k")
        self.h.backend("a").down()
        self.refused("k")

    def test_writes_end_what_is_remembered(self) -> None:
        """A place is forgotten when its key is written or deleted, and all when the ledger is back."""
        h, locations = self.h, self.h.core.locations
        here = Location("a", "photos/k", 1, 1)
        for change in (lambda: self.put("k", SMALL), lambda: h.delete("k"), self.delete_many):
            locations.remember(h.bucket.id, "k", here, since=locations.moment())
            change()
            self.assertIsNone(locations.find(h.bucket.id, "k"))
        self.go_away()
        locations.remember(h.bucket.id, "k", here, since=locations.moment())
        self.come_back()
        self.assertIsNone(locations.find(h.bucket.id, "k"))

    def delete_many(self) -> None:
        self.h.run(self.h.core.objects.deleting.delete_many(self.h.bucket, [("k", None, None)]))

    def test_back_without_a_restart(self) -> None:
        """Once the ledger answers a try, everything is as it was, and writes are taken again."""
        self.put("k", SMALL)
        self.go_away()
        self.assertEqual(self.get("k"), SMALL)
        self.come_back()
        self.put("k", LARGE)
        self.assertEqual(self.get("k"), LARGE)
        self.assertEqual(self.h.findings(), [])

    def test_a_body_goes_on(self) -> None:
        """What is being read when the ledger goes away is read to its end, also past a failure."""
        self.put("k", LARGE)
        opened = self.h.run(self.reading.open(self.h.bucket, "k", lambda _: None, degraded="GetObject"))
        self.go_away()
        self.assertEqual(self.h.run(collect(opened.body, len(LARGE))), LARGE)

    def test_unfinished_write(self) -> None:
        """A write that fails because the ledger went away is tidied up when it is back."""
        self.put("k", SMALL)
        backend = self.h.backend("a")
        assert isinstance(backend, Telling)
        backend.stored = lambda: setattr(self.opening.ledger, "is_off", True)
        writing = self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(b"new"), EVERYTHING)
        self.h.expect(StoreUnavailable, writing)
        backend.stored = lambda: None
        self.go_away()
        self.come_back()
        self.h.advance(4000)
        self.assertEqual(self.get("k"), SMALL)
        self.assertEqual(self.h.findings(), [])


class AskingTests(DegradedCase):
    """How backends are asked."""

    def configured(self, **more: object) -> Any:
        config = self.h.core.config
        breaker = evolve(config.circuit_breaker, **more)
        held = {name: self.h.backend(name) for name in ("a", "b")}
        config = evolve(config, circuit_breaker=breaker)
        core = self.build(config, held)
        self.reading = core.objects.reading
        return core

    def test_allow_stale(self) -> None:
        """If that is allowed, what the others have is served, and a missing key is still not denied."""
        self.put("k", SMALL)
        self.configured(allow_stale=True)
        self.opening.ledger.is_off = True
        self.h.backend("b").down()
        self.assertEqual(self.get("k"), SMALL)
        self.refused("nothing")

    def test_parallel(self) -> None:
        """All at once, or as many as are allowed; one that stalls holds the others up only in turn."""
        self.put("k", LARGE)
        for at_once, asked in ((0, ["photos/k"]), (1, [])):
            self.configured(parallel_broadcast=True, degraded_broadcast_parallelism=at_once)
            self.opening.ledger.is_off = True
            self.h.backend("a").faults.always(Fault.STALLED)
            self.h.backend("b").calls.clear()
            finding = start(self.reading.find(self.h.bucket, "k", degraded="HeadObject"))
            self.assertNoResult(finding)
            self.assertEqual([call.name for call in self.h.backend("b").calls if call.verb == "head"], asked)
            finding.cancel()
            self.failureResultOf(finding)
            self.h.backend("a").faults.clear()
            self.opening.ledger.is_off = False

    def test_one_after_the_other(self) -> None:
        """By default no more are asked once one has failed."""
        self.h.backend("a").down()
        self.go_away()
        self.h.backend("b").calls.clear()
        self.refused("k")
        self.assertEqual(self.h.backend("b").calls, [])

    def test_prefixes(self) -> None:
        """Each backend is asked for exactly the names that the key may have."""
        self.go_away()
        self.refused("k", NotSeen)
        calls = [(call.verb, call.name) for call in self.h.backend("b").calls]
        self.assertEqual(
            calls,
            # Twice: another instance, which still has the ledger, may be moving it.
            [
                ("head", "photos/k"),
                ("list_objects", hashed_prefix("photos", "k")),
                ("list_objects", unique_prefix("photos", "k")),
            ]
            * 2,
        )


KEYS = ["a", "a~", f"a~{TOKEN}", "a/b", "a//b"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(["small", "large", "delete"]),
        st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["", "1", "\xff"])),
    ),
    max_size=12,
)


class AnyHistoryTests(SynchronousTestCase):
    """Whatever has happened before."""

    @settings(max_examples=60, deadline=None)
    @given(STEPS, st.sampled_from([None, OTHER_ETAGS, INEXACT]))
    def test_as_before(self, steps: list[tuple[str, str, dict[str, str]]], traits: Traits | None) -> None:
        """For every key, reading without the ledger is reading with it."""
        case = DegradedCase()
        case.traits = traits
        case.setUp()
        for number, (key, step, user) in enumerate(steps):
            if step == "delete":
                case.h.delete(key)
            else:
                case.put(key, b"%d" % number * (60 if step == "large" else 1), ObjectMetadata(user=user))
        case.assertSameAway(*KEYS)
