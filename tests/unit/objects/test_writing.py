"""Writing an object: where it lands, and what is left when it does not."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault, PacedBody
from s3orchestrator.concurrency import start
from s3orchestrator.errors import (
    BackendUnavailable,
    BodyAborted,
    InsufficientStorage,
    NoSuchKey,
    PreconditionFailed,
)
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.payload import Payload
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness

LARGE = bytes(range(256)) * 16  # above the harness's replay limit: it streams


class WritingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness()

    def tearDown(self) -> None:
        self.h.settle()
        self.assertEqual(self.h.findings(), [])

    def test_write_once_data_keeps_its_plain_name(self) -> None:
        """What is put is on the backend under its own name, readable without us."""
        version = self.h.put("2024/a.jpg", b"picture", user={"camera": "x"})
        self.assertEqual(version.etag, md5(b"picture").hexdigest())
        self.assertEqual(self.h.stored(), {"a": {"photos/2024/a.jpg": b"picture"}, "b": {}})
        held = self.h.backend("a").objects["photos/2024/a.jpg"]
        self.assertEqual(held.description.meta["camera"], "x")
        self.assertIn("s3o", held.description.meta)

    def test_sizes(self) -> None:
        """Nothing, little, and what streams: all come back."""
        for size in (0, 1, 1023, 1024, 1025, 300_000):
            self.h.put(f"k{size}", b"x" * size)
            self.assertEqual(self.h.get(f"k{size}"), b"x" * size)

    def test_overwrite_takes_another_name(self) -> None:
        """The old bytes are there until the new ones are current, then they go."""
        self.h.put("k", b"old")
        self.h.put("k", b"new")
        self.assertEqual(self.h.get("k"), b"new")
        self.assertEqual(list(self.h.stored()["a"].values()), [b"new"])
        self.assertNotIn("photos/k", self.h.stored()["a"])

    def test_full_backend_is_passed_over(self) -> None:
        """The next one takes what does not fit; when none does, nothing is read."""
        self.h = Harness(quotas={"a": 10, "b": 10})
        self.h.put("one", b"12345678")
        self.h.put("two", b"12345678")
        self.assertEqual([len(held) for held in self.h.stored().values()], [1, 1])
        incoming = self.h.incoming(b"123")
        self.h.expect(
            InsufficientStorage,
            self.h.core.objects.writing.put(self.h.bucket, "three", incoming, ObjectMetadata()),
        )
        self.assertFalse(incoming.source.started)
        self.h.put("three", b"12")

    def test_overwrite_gives_its_room_back(self) -> None:
        """Once the old bytes have been deleted their room can be used."""
        self.h = Harness(backends=("a",), quotas={"a": 10})
        self.h.put("k", b"12345")
        for _ in range(5):
            self.h.put("k", b"54321")
        self.h.expect(
            InsufficientStorage,
            self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(b"123456"), ObjectMetadata()),
        )
        self.assertEqual(self.h.get("k"), b"54321")

    def test_too_large_for_one(self) -> None:
        """A backend's own limit sends large objects elsewhere."""
        self.h = Harness(max_object_size={"a": 5})
        self.h.put("k", b"123456")
        self.assertEqual(self.h.stored(), {"a": {}, "b": {"photos/k": b"123456"}})

    def test_failover_of_a_small_body(self) -> None:
        """What is kept can be offered to the next backend, whatever the first did with it."""
        for fault in (Fault.REFUSED, Fault.FAILED, Fault.LOST_ANSWER, Fault.TRUNCATED, Fault.LATE):
            self.h.backend("a").faults.next("put", fault)
            self.h.put(f"k-{fault.name}", b"data")
            self.assertEqual(self.h.get(f"k-{fault.name}"), b"data")
            self.assertEqual(self.h.stored()["b"][f"photos/k-{fault.name}"], b"data")
            self.h.clock.advance(11)  # the backend is not shunned any more
        self.assertEqual(self.h.stored()["a"], {})

    def test_failover_of_a_large_body_nobody_started(self) -> None:
        """A connection that is refused costs no byte of the body."""
        self.h.backend("a").down()
        self.h.put("k", LARGE)
        self.assertEqual(self.h.stored()["b"], {"photos/k": LARGE})
        self.h.backend("a").faults.clear()

    def test_large_body_that_dies_half_way(self) -> None:
        """It cannot be sent again: the client hears 503, and nothing stays."""
        self.h.put("k", b"old")
        self.h.backend("a").faults.next("put", Fault.TRUNCATED)
        self.h.expect(
            BackendUnavailable,
            self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(LARGE), ObjectMetadata()),
        )
        self.assertEqual(self.h.get("k"), b"old")
        self.assertEqual(self.h.stored(), {"a": {"photos/k": b"old"}, "b": {}})

    def test_late_write_is_found_and_removed(self) -> None:
        """A PUT that arrives after we gave up on it is removed when its name has rested."""
        self.h.backend("a").faults.next("put", Fault.LATE)
        self.h.put("k", b"data")
        self.h.backend("a").catch_up()
        self.assertEqual(self.h.stored()["a"], {"photos/k": b"data"})
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.h.stored(), {"a": {}, "b": {"photos/k": b"data"}})

    def test_backend_that_lies_about_bytes(self) -> None:
        """An ETag that is not the MD5 of what was sent is no success."""
        self.h.backend("a").faults.next("put", Fault.WRONG_BYTES)
        with self.assertRaises(Exception) as caught:
            self.h.put("k", b"data")
        self.assertEqual(type(caught.exception).__name__, "IntegrityError")
        self.assertEqual(self.h.stored(), {"a": {}, "b": {}})

    def test_strangers_object_is_left_alone(self) -> None:
        """A name that somebody else uses is not ours to overwrite, nor to delete."""
        backend = self.h.backend("a")
        self.h.put("other", b"x")
        stranger = backend.objects["photos/other"]
        backend.objects["photos/k"] = stranger
        self.h.put("k", b"data")
        self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.h.get("k"), b"data")
        self.assertIs(backend.objects["photos/k"], stranger)
        del backend.objects["photos/k"]

    def test_wrong_digest(self) -> None:
        """A body that is not what was declared changes nothing, small or large."""
        self.h.put("k", b"old")
        for body in (b"", b"small", LARGE):
            headers = {b"content-md5": [b64encode(md5(b"other").digest())]}
            with self.assertRaises(S3Error) as caught:
                self.h.run(
                    self.h.core.objects.writing.put(
                        self.h.bucket, "k", self.h.incoming(body, headers), ObjectMetadata()
                    )
                )
            self.assertEqual(caught.exception.code, "BadDigest")
        self.assertEqual(self.h.get("k"), b"old")
        self.assertEqual(self.h.stored()["a"], {"photos/k": b"old"})

    def test_client_that_leaves(self) -> None:
        """A client that goes away in mid-body leaves nothing, on no backend."""
        for data in (b"x" * 500, LARGE):
            body = PacedBody(data, len(data) // 2, lambda: BodyAborted("gone"))
            incoming = Incoming(body, Payload.of({}, None, len(data)))
            self.h.expect(
                BodyAborted,
                self.h.core.objects.writing.put(self.h.bucket, "k", incoming, ObjectMetadata()),
            )
        self.h.settle()
        self.assertEqual(self.h.stored(), {"a": {}, "b": {}})
        self.h.expect(NoSuchKey, self.h.core.objects.reading.find(self.h.bucket, "k"))

    def test_cancelled_at_every_stage(self) -> None:
        """A request that is cancelled while a backend stalls leaves nothing behind."""
        for verb, fault in (("put", Fault.STALLED), ("put", Fault.STALLED_BODY)):
            for data in (b"small", LARGE):
                self.h.backend("a").faults.next(verb, fault)
                writing: Deferred[object] = start(
                    self.h.core.objects.writing.put(
                        self.h.bucket, "k", self.h.incoming(data), ObjectMetadata()
                    )
                )
                self.assertNoResult(writing)
                writing.cancel()
                self.failureResultOf(writing)
                self.h.settle()
        self.assertEqual(self.h.stored(), {"a": {}, "b": {}})

    def test_nobody_answers(self) -> None:
        """With all backends away the answer is 503, and the old object stays."""
        for name in ("a", "b"):
            self.h.backend(name).down()
        self.h.expect(
            BackendUnavailable,
            self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(b"x"), ObjectMetadata()),
        )
        for name in ("a", "b"):
            self.h.backend(name).faults.clear()
        self.h.advance(120)
        self.h.put("k", b"x")

    def test_conditions(self) -> None:
        """Whoever must be first is, and hears before sending a byte that somebody was."""
        first = WriteCondition(if_none_match=("*",))
        self.h.put("k", b"one", condition=first)
        incoming = self.h.incoming(b"two")
        self.h.expect(
            PreconditionFailed,
            self.h.core.objects.writing.put(self.h.bucket, "k", incoming, ObjectMetadata(), first),
        )
        self.assertFalse(incoming.source.started)
        same = WriteCondition(if_match=(md5(b"one").hexdigest(),))
        self.h.put("k", b"two", condition=same)
        self.h.expect(
            PreconditionFailed,
            self.h.core.objects.writing.put(
                self.h.bucket, "k", self.h.incoming(b"three"), ObjectMetadata(), same
            ),
        )
        self.assertEqual(self.h.get("k"), b"two")

    def test_condition_that_fails_during_the_upload(self) -> None:
        """Of two writers that must both be first, one is; the other's bytes are removed."""
        first = WriteCondition(if_none_match=("*",))
        self.h.backend("a").faults.next("put", Fault.STALLED)
        slow = start(
            self.h.core.objects.writing.put(
                self.h.bucket, "k", self.h.incoming(b"slow"), ObjectMetadata(), first
            )
        )
        self.h.put("k", b"fast", condition=first)
        slow.cancel()
        self.failureResultOf(slow)
        self.h.settle()
        self.assertEqual(self.h.get("k"), b"fast")


class SpreadTests(SynchronousTestCase):
    def test_spread(self) -> None:
        """Objects land on the backend that is least full."""
        h = Harness(quotas={"a": 100, "b": 50}, strategy="spread")
        for number in range(6):
            h.put(f"k{number}", b"x" * 20)
        self.assertEqual([len(held) for held in h.stored().values()], [4, 2])
        self.assertEqual(h.findings(), [])
