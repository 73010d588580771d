"""Uploads from create to complete, whatever their backend makes of it."""

from __future__ import annotations

from hashlib import md5
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Part, Upload, UploadState
from s3orchestrator.errors import (
    BackendUnavailable,
    Conflict,
    InsufficientStorage,
    InvalidPart,
    NoSuchKey,
    NoSuchUpload,
    PartTooSmall,
    PreconditionFailed,
    TooManyUploads,
)
from s3orchestrator.objects.multipart import MultipartUploads
from s3orchestrator.objects.writing import Committer
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store import completing
from s3orchestrator.testing.harness import QUIET_PERIOD
from tests.unit.objects.world import LARGE, SMALL, STALE, World, small_parts

FIRST = WriteCondition(if_none_match=("*",))


class MultipartCase(SynchronousTestCase):
    quotas = {"a": 20_000}
    backends: tuple[str, ...] = ("a", "b")

    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World(backends=self.backends, quotas=self.quotas)
        self.a = self.w.backend(self.backends[0])

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def taken(self, backend: str = "a") -> int:
        usage = self.w.run(self.w.core.ledger.blobs.usage())
        return {known.backend: known.taken for known in usage}[backend]

    def state(self, upload: Upload) -> UploadState:
        found = self.w.run(self.w.core.ledger.uploads.of_blob(upload.blob))
        assert found is not None
        return found.state

    def complete(self, upload: Upload, *parts: Part, **more: Any) -> None:
        self.w.run(self.w.completing(upload, *parts, **more))


class CreateTests(MultipartCase):
    def test_name_of_a_stranger(self) -> None:
        """A plain name that somebody else uses is noticed now, not when all parts are there."""
        self.w.run(self.w.putting("other", SMALL))
        self.a.objects["photos/k"] = self.a.objects["photos/other"]
        upload, parts = self.w.uploaded("k", SMALL)
        self.assertNotEqual(upload.blob.name, "photos/k")
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), SMALL)
        del self.a.objects["photos/k"]

    def test_failover(self) -> None:
        """A backend that does not take it is passed over; an upload it began all the same is found later."""
        for fault in (Fault.REFUSED, Fault.FAILED, Fault.LOST_ANSWER, Fault.LATE):
            self.a.faults.next("create_upload", fault)
            upload = self.w.run(self.w.creating(f"k-{fault.name}"))
            self.assertEqual(upload.blob.backend, "b")
            self.w.clock.advance(11)
        self.a.catch_up()
        self.assertEqual(len(self.w.run(self.a.list_uploads())), 2)
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.w.run(self.a.list_uploads()), [])

    def test_nobody_answers(self) -> None:
        """With every backend away there is no upload, and nothing is left of it."""
        for name in self.backends:
            self.w.backend(name).down()
        self.w.expect(BackendUnavailable, self.w.creating("k", max_open=1))
        for name in self.backends:
            self.w.backend(name).faults.clear()
        self.w.run(self.w.creating("k", max_open=1))

    def test_limit_of_open_uploads(self) -> None:
        """A bucket has as many uploads as it may; one that ends makes room for another."""
        first = self.w.run(self.w.creating("k", max_open=2))
        self.w.run(self.w.creating("l", max_open=2))
        self.w.expect(TooManyUploads, self.w.creating("m", max_open=2))
        self.w.run(self.w.aborting(first))
        self.w.run(self.w.creating("m", max_open=2))

    def test_away_and_full(self) -> None:
        """Where the one with room is away, trying again helps: 503, not 507."""
        self.w = World(backends=("a", "b"), quotas={"a": 5, "b": 1000})
        self.a = self.w.backend("a")
        self.w.run(self.w.putting("full", b"12345"))
        self.w.backend("b").down()
        self.w.expect(BackendUnavailable, self.w.creating("k"))
        self.w.expect(BackendUnavailable, self.w.putting("k", SMALL))
        self.w.backend("b").faults.clear()
        self.w.clock.advance(11)
        self.w.run(self.w.creating("k"))

    def test_client_that_leaves_before_the_answer(self) -> None:
        """Nobody knows of the upload, so it does not stay."""
        self.a.faults.next("create_upload", Fault.STALLED)
        creating = start(self.w.creating("k", max_open=1))
        creating.cancel()
        self.failureResultOf(creating)
        self.w.run(self.w.creating("k", max_open=1))


class CompleteTests(MultipartCase):
    def test_whole(self) -> None:
        """The object is its parts in a row; its ETag tells how many there were."""
        upload = self.w.run(
            self.w.core.objects.multipart.create(
                self.w.bucket, "k", ObjectMetadata("text/plain", user={"a": "b"}), owner="x"
            )
        )
        parts = [self.w.run(self.w.part(upload, number, data)) for number, data in ((1, LARGE), (7, SMALL))]
        self.complete(upload, *parts)
        version = self.w.run(self.w.core.objects.reading.find(self.w.bucket, "k"))
        digests = md5(LARGE).digest() + md5(SMALL).digest()
        self.assertEqual(version.etag, f"{md5(digests).hexdigest()}-2")
        self.assertEqual(version.metadata.content_type, "text/plain")
        self.assertEqual([(part.number, part.size) for part in version.parts], [(1, 4096), (7, 5)])
        self.assertEqual(self.w.get("k"), LARGE + SMALL)
        self.assertEqual(self.w.stored()["a"], {"photos/k": LARGE + SMALL})

    def test_parts_left_out_give_their_room_back(self) -> None:
        """Only what the object has counts from then on."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL, LARGE)
        self.assertEqual(self.taken(), 2 * len(LARGE) + len(SMALL))
        self.complete(upload, parts[1])
        self.assertEqual(self.taken(), len(SMALL))

    def test_repeated(self) -> None:
        """The same list is answered in the same way, also when the key has changed; another list is not."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL)
        self.complete(upload, *parts)
        self.w.run(self.w.putting("k", b"newer"))
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), b"newer")
        self.w.expect(NoSuchUpload, self.w.completing(upload, parts[0]))
        self.w.advance(STALE + 1)
        self.w.expect(NoSuchUpload, self.w.completing(upload, *parts))

    def test_repeated_while_the_first_is_at_work(self) -> None:
        """The backend is asked once; both hear the same."""
        upload, parts = self.w.uploaded("k", SMALL)
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before complete_upload" else None
        both = [start(self.w.completing(upload, *parts)) for _ in range(2)]
        waiting.callback(None)
        for one in both:
            self.successResultOf(one)
        self.assertEqual([call.verb for call in self.a.calls].count("complete_upload"), 1)

    def test_repeated_to_another_process(self) -> None:
        """Two processes that are asked at the same time both answer what the faster one has done."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL)
        core, waiting = self.w.core, Deferred[None]()
        committer = Committer(core.ledger.versions, core.ledger.blobs, core.cleaner)
        another = MultipartUploads(
            core.backends, core.ledger.uploads, committer, core.cleaner, core.ledger_id
        )
        self.w.points.at = lambda number, what: waiting if what == "before complete_upload" else None
        listed = [(part.number, part.etag, None) for part in parts]
        slower = start(core.objects.multipart.complete(self.w.bucket, "k", upload.id, listed))
        self.w.points.at = lambda number, what: None
        faster = self.w.run(another.complete(self.w.bucket, "k", upload.id, listed))
        waiting.callback(None)
        self.assertEqual(self.successResultOf(slower), faster)
        self.assertEqual(self.w.get("k"), LARGE + SMALL)

    def test_lost_answer(self) -> None:
        """What the backend has done is found by looking, and is ours by the stamp."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.a.faults.next("complete_upload", Fault.LOST_ANSWER)
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), LARGE)

    def test_no_answer_and_no_object(self) -> None:
        """The client hears 503 and asks again; until then there are neither parts nor an abort."""
        upload, parts = self.w.uploaded("k", LARGE)
        for fault in (Fault.FAILED, Fault.REFUSED, Fault.LATE):
            self.a.faults.next("complete_upload", fault)
            self.w.expect(BackendUnavailable, self.w.completing(upload, *parts))
            self.w.expect(NoSuchUpload, self.w.part(upload, 2, SMALL))
            self.w.expect(Conflict, self.w.aborting(upload))
            self.w.expect(Conflict, self.w.completing(upload, parts[0], parts[0]))
        self.a.catch_up()
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), LARGE)

    def test_answer_lost_and_then_away(self) -> None:
        """An object that was completed and never committed is found again by the next Complete."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.a.faults.next("complete_upload", Fault.LOST_ANSWER)
        self.a.faults.next("head", Fault.FAILED)
        self.w.expect(BackendUnavailable, self.w.completing(upload, *parts))
        self.w.expect(NoSuchKey, self.w.core.objects.reading.find(self.w.bucket, "k"))
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), LARGE)

    def test_answer_lost_and_nobody_asks_again(self) -> None:
        """A completed object that nobody commits is deleted when its upload has gone stale."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.a.faults.next("complete_upload", Fault.LOST_ANSWER)
        self.a.faults.next("head", Fault.FAILED)
        self.w.expect(BackendUnavailable, self.w.completing(upload, *parts))
        self.assertEqual(self.w.stored()["a"], {"photos/k": LARGE})
        self.w.advance(STALE + 1)
        self.w.settle()
        self.assertEqual(self.w.stored()["a"], {})
        self.w.expect(NoSuchUpload, self.w.completing(upload, *parts))

    def test_parts_that_are_not_there(self) -> None:
        """A wrong list changes nothing: the right one may follow."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL)
        other = Part(upload.id, 9, 1, 3, "0" * 32)
        self.w.expect(InvalidPart, self.w.completing(upload, parts[0], other))
        self.patch(completing, "MIN_PART", 5000)
        self.w.expect(PartTooSmall, self.w.completing(upload, *parts))
        small_parts(self.patch)
        self.complete(upload, *parts)

    def test_backend_that_refuses_a_part(self) -> None:
        """It says so, and the upload is open again."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.w.run(self.a.put_part(upload.blob.name, "upload-1", 1, BytesBody(b"another")))
        self.w.expect(InvalidPart, self.w.completing(upload, *parts))
        again = self.w.run(self.w.part(upload, 1, LARGE))
        self.complete(upload, again)

    def test_backend_that_has_lost_the_upload(self) -> None:
        """Backends expire ids: nobody can complete it, so it ends and gives its room back."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.w.run(self.a.abort_upload(upload.blob.name, "upload-1"))
        self.w.expect(NoSuchUpload, self.w.completing(upload, *parts))
        self.w.expect(NoSuchUpload, self.w.completing(upload, *parts))
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.taken(), 0)

    def test_name_taken_meanwhile(self) -> None:
        """A stranger who came first keeps the name, through the abort and after."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.w.run(self.w.putting("other", SMALL))
        stranger = self.a.objects["photos/k"] = self.a.objects["photos/other"]
        self.w.expect(BackendUnavailable, self.w.completing(upload, *parts))
        self.w.run(self.w.aborting(upload))
        self.w.quiesce()
        self.assertIs(self.a.objects["photos/k"], stranger)
        del self.a.objects["photos/k"]

    def test_condition(self) -> None:
        """One that does not hold is refused before the backend is asked; the upload stays open."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.w.run(self.w.putting("k", b"first"))
        self.w.expect(PreconditionFailed, self.w.completing(upload, *parts, condition=FIRST))
        self.assertNotIn("complete_upload", [call.verb for call in self.a.calls])
        self.assertEqual(self.state(upload), UploadState.OPEN)
        self.complete(upload, *parts)

    def test_condition_that_fails_meanwhile(self) -> None:
        """The object is complete on its backend and is not wanted: it goes, and so does the upload."""
        upload, parts = self.w.uploaded("k", LARGE)
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before complete_upload" else None
        completing = start(self.w.completing(upload, *parts, condition=FIRST))
        self.w.points.at = None
        self.w.run(self.w.putting("k", b"first"))
        waiting.callback(None)
        self.failureResultOf(completing, PreconditionFailed)
        self.w.settle()
        self.assertEqual(self.w.get("k"), b"first")
        self.assertEqual(list(self.w.stored()["a"].values()), [b"first"])
        self.assertEqual(self.taken(), len(b"first"))
        self.w.expect(NoSuchUpload, self.w.completing(upload, *parts, condition=FIRST))
        self.w.expect(NoSuchUpload, self.w.aborting(upload))

    def test_what_the_client_says_of_the_whole(self) -> None:
        """A size or a checksum that is not the object's is refused, and nothing is lost."""
        upload, parts = self.w.uploaded("k", LARGE, SMALL, algorithm="crc32", kind="FULL_OBJECT")
        for wrong in ({"size": 1}, {"expected": Checksum("crc32", "AAAAAA==", "FULL_OBJECT")}):
            with self.assertRaises(S3Error):
                self.complete(upload, *parts, **wrong)
            self.assertEqual(self.state(upload), UploadState.OPEN)
        self.complete(upload, *parts, size=len(LARGE) + len(SMALL))

    def test_backend_that_says_another_etag(self) -> None:
        """What it says is believed only if the object says the same."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.a.faults.next("complete_upload", Fault.WRONG_ETAG)
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), LARGE)

    def test_crash_at_completing(self) -> None:
        """A new process goes on where the old one was, if the client does."""
        upload, parts = self.w.uploaded("k", LARGE)
        for fault in (Fault.LATE, Fault.LOST_ANSWER):
            self.a.faults.next("complete_upload", fault)
            self.a.faults.next("head", Fault.FAILED)
            self.w.expect(BackendUnavailable, self.w.completing(upload, *parts))
            self.w.restart()
            self.a.catch_up()
        self.complete(upload, *parts)
        self.assertEqual(self.w.get("k"), LARGE)


class AbortTests(MultipartCase):
    def test_room_is_given_back_at_once(self) -> None:
        """Nothing is unclear about an upload whose parts have all been answered."""
        upload, _ = self.w.uploaded("k", LARGE, LARGE)
        self.w.run(self.w.aborting(upload))
        self.assertEqual(self.taken(), 0)
        self.assertEqual(self.w.run(self.a.list_uploads()), [])
        self.w.expect(NoSuchUpload, self.w.aborting(upload))

    def test_part_in_progress(self) -> None:
        """A part that may still arrive keeps its room until its name has been looked at once more."""
        upload, _ = self.w.uploaded("k", LARGE)
        waiting: Deferred[None] = Deferred()
        self.w.points.at = lambda number, what: waiting if what == "before put_part" else None
        sending = start(self.w.part(upload, 2, SMALL))
        self.w.points.at = None
        self.w.run(self.w.aborting(upload))
        self.assertEqual(self.taken(), len(LARGE) + len(SMALL))
        waiting.callback(None)
        self.failureResultOf(sending, NoSuchUpload)
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.taken(), 0)

    def test_part_that_arrives_too_late(self) -> None:
        """What a backend kept of a part after the abort is aborted again."""
        upload, _ = self.w.uploaded("k", LARGE)
        self.a.faults.next("put_part", Fault.LOST_ANSWER)
        self.w.expect(BackendUnavailable, self.w.part(upload, 2, SMALL))
        self.a.faults.next("abort_upload", Fault.LATE)
        self.w.run(self.w.aborting(upload))
        self.assertEqual(len(self.w.run(self.a.list_uploads())), 1)
        self.w.advance(QUIET_PERIOD + 61)
        self.assertEqual(self.w.run(self.a.list_uploads()), [])

    def test_backend_away(self) -> None:
        """The client does not wait for the backend."""
        upload, _ = self.w.uploaded("k", LARGE)
        self.a.down()
        self.w.run(self.w.aborting(upload))
        self.a.faults.clear()
        self.w.advance(61)
        self.w.settle()
        self.assertEqual(self.w.run(self.a.list_uploads()), [])

    def test_completed_before(self) -> None:
        """An abort that comes too late changes nothing, and says nothing."""
        upload, parts = self.w.uploaded("k", LARGE)
        self.complete(upload, *parts)
        self.w.run(self.w.aborting(upload))
        self.assertEqual(self.w.get("k"), LARGE)

    def test_forgotten_uploads(self) -> None:
        """An upload without a part for a day is given up."""
        upload, _ = self.w.uploaded("k", LARGE)
        self.w.advance(STALE - 100)
        self.w.run(self.w.part(upload, 2, SMALL))
        self.w.advance(STALE - 100)
        self.assertEqual(self.taken(), len(LARGE) + len(SMALL))
        self.w.advance(101)
        self.w.settle()
        self.assertEqual(self.taken(), 0)
        self.w.expect(NoSuchUpload, self.w.part(upload, 2, SMALL))

    def test_no_room(self) -> None:
        """An upload needs a backend with any room at all."""
        self.w = World(backends=("a",), quotas={"a": 5})
        self.w.run(self.w.putting("full", b"12345"))
        self.w.expect(InsufficientStorage, self.w.creating("k"))
