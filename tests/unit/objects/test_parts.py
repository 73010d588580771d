"""Parts, from clients and from objects: what they take, and when they give it back."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.domain.records import Part, Upload, Version
from s3orchestrator.errors import BackendUnavailable, InsufficientStorage, NoSuchKey, NoSuchUpload
from s3orchestrator.objects.parts import PartSource
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.ranges import ByteRange
from tests.unit.objects.world import LARGE, SMALL, World, small_parts


class PartCase(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World(quotas={"a": 10_000})
        self.a = self.w.backend("a")

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def taken(self) -> int:
        usage = self.w.run(self.w.core.ledger.blobs.usage())
        return {known.backend: known.taken for known in usage}["a"]

    def verbs(self, backend: str = "a") -> list[str]:
        return [call.verb for call in self.w.backend(backend).calls]


class PutTests(PartCase):
    def test_counted_as_they_come(self) -> None:
        """Each part takes room on the upload's backend, and only there."""
        upload, _ = self.w.uploaded("k", LARGE, LARGE)
        self.assertEqual(self.taken(), 8192)
        self.w.expect(InsufficientStorage, self.w.part(upload, 3, LARGE))
        self.w.run(self.w.part(upload, 3, SMALL))

    def test_sent_again(self) -> None:
        """The last answer counts; what it replaced gives its room back."""
        upload, (first,) = self.w.uploaded("k", LARGE)
        second = self.w.run(self.w.part(upload, 1, SMALL))
        self.assertEqual(self.taken(), len(SMALL))
        listed = self.w.run(self.w.core.ledger.uploads.parts(upload))
        self.assertEqual([(part.number, part.etag) for part in listed], [(1, md5(SMALL).hexdigest())])
        self.assertNotEqual(first.etag, second.etag)
        self.w.run(self.w.completing(upload, second))
        self.assertEqual(self.w.get("k"), SMALL)

    def test_failures(self) -> None:
        """What surely did not arrive gives its room back; the rest keeps it for as long as the upload."""
        upload = self.w.run(self.w.creating("k"))
        for fault, kept in ((Fault.REFUSED, 0), (Fault.FAILED, 5), (Fault.LOST_ANSWER, 10)):
            self.a.faults.next("put_part", fault)
            self.w.expect(BackendUnavailable, self.w.part(upload, 1, SMALL))
            self.assertEqual(self.taken(), kept)
        self.w.run(self.w.aborting(upload))
        self.assertEqual(self.taken(), 10)
        self.w.advance(3601)
        self.assertEqual(self.taken(), 0)

    def test_wrong_digest(self) -> None:
        """A part that is not what was declared is not there, small or large."""
        upload = self.w.run(self.w.creating("k"))
        headers = {b"content-md5": [b64encode(md5(b"other").digest())]}
        for data in (SMALL, LARGE):
            incoming = self.w.incoming(data, headers)
            with self.assertRaises(S3Error):
                self.w.run(self.w.core.objects.parts.put(self.w.place(upload, 1), incoming))
        self.assertEqual(self.w.run(self.w.core.ledger.uploads.parts(upload)), [])
        self.assertEqual(self.taken(), len(LARGE))  # of it something was sent

    def test_unknown_upload(self) -> None:
        """A part needs an open upload of that bucket and key; its body is not read without one."""
        upload, parts = self.w.uploaded("k", SMALL)
        self.w.run(self.w.completing(upload, *parts))
        incoming = self.w.incoming(SMALL)
        putting = self.w.core.objects.parts.put(self.w.place(upload, 2), incoming)
        self.w.expect(NoSuchUpload, putting)
        self.assertFalse(incoming.source.started)

    def test_backend_that_has_lost_the_upload(self) -> None:
        """Backends expire ids: the upload ends, with all its room."""
        upload, _ = self.w.uploaded("k", LARGE)
        self.w.run(self.a.abort_upload(upload.blob.name, "upload-1"))
        self.w.expect(NoSuchUpload, self.w.part(upload, 2, SMALL))
        self.assertEqual(self.taken(), 0)
        self.w.expect(NoSuchUpload, self.w.aborting(upload))

    def test_backend_that_lies_about_bytes(self) -> None:
        """A part whose ETag is not the MD5 of what was sent is no success."""
        upload = self.w.run(self.w.creating("k"))
        self.a.faults.next("put_part", Fault.WRONG_BYTES)
        with self.assertRaises(Exception) as caught:
            self.w.run(self.w.part(upload, 1, SMALL))
        self.assertEqual(type(caught.exception).__name__, "IntegrityError")
        self.assertEqual(self.w.run(self.w.core.ledger.uploads.parts(upload)), [])


class CopyTests(PartCase):
    def setUp(self) -> None:
        super().setUp()
        self.w.run(self.w.putting("source", LARGE))
        self.upload: Upload = self.w.run(self.w.creating("k"))

    def copy(
        self, wanted: ByteRange | None = None, key: str = "source", upload: Upload | None = None
    ) -> Part:
        source = PartSource(self.w.bucket, key, lambda version: wanted)
        place = self.w.place(upload or self.upload, 1)
        return self.w.run(self.w.core.objects.parts.copy(place, source))

    def completed(self, part: Part) -> bytes:
        self.w.run(self.w.completing(self.upload, part))
        return self.w.get("k")

    def test_on_the_backend(self) -> None:
        """Where source and upload are on one backend no byte comes to us."""
        part = self.copy()
        self.assertEqual(part.etag, md5(LARGE).hexdigest())
        self.assertNotIn("get", self.verbs())
        self.assertEqual(self.completed(part), LARGE)

    def test_range(self) -> None:
        """A range takes room for its own bytes only."""
        before = self.taken()
        part = self.copy(ByteRange(10, 19))
        self.assertEqual(self.taken() - before, 10)
        self.assertEqual(self.completed(part), LARGE[10:20])

    def test_from_another_backend(self) -> None:
        """What is elsewhere passes through us, and is checked on its way."""
        self.w.run(self.w.putting("fill", b"x" * 5000))
        self.w.run(self.w.putting("far", LARGE))
        self.assertIn("photos/far", self.w.stored()["b"])
        self.w.run(self.w.core.objects.deleting.delete(self.w.bucket, "fill"))
        part = self.copy(key="far")
        self.assertIn("get", self.verbs("b"))
        self.assertEqual(self.completed(part), LARGE)

    def test_rotten_source(self) -> None:
        """Bytes that are not what the ledger says do not become a part."""
        self.a.corrupt("photos/source")
        upload = self.w.run(self.w.creating("l", algorithm="crc32", kind="COMPOSITE"))
        for target in (self.upload, upload):
            with self.assertRaises(Exception):  # noqa: B017 - what it is called does not matter
                self.copy(upload=target)
            self.assertEqual(self.w.run(self.w.core.ledger.uploads.parts(target)), [])
        self.w.run(self.w.putting("source", LARGE))

    def test_with_a_checksum(self) -> None:
        """An upload with checksums wants one for every part, so the bytes are read."""
        upload = self.w.run(self.w.creating("l", algorithm="sha256", kind="COMPOSITE"))
        part = self.copy(ByteRange(0, 99), upload=upload)
        assert part.checksum is not None
        self.assertEqual(part.checksum.algorithm, "sha256")

    def test_backend_that_cannot_copy_parts(self) -> None:
        """One whose object has gone is asked for nothing more: the latest version is read instead."""

        def replaced(version: Version) -> None:
            if version.size == len(LARGE):
                self.w.run(self.w.putting("source", SMALL))

        source = PartSource(self.w.bucket, "source", replaced)
        part = self.w.run(self.w.core.objects.parts.copy(self.w.place(self.upload, 1), source))
        self.assertEqual(self.completed(part), SMALL)

    def test_source_that_dies(self) -> None:
        """The part fails; the upload and its backend are as they were."""
        upload = self.w.run(self.w.creating("l", algorithm="crc32", kind="COMPOSITE"))
        self.a.faults.next("get", Fault.TRUNCATED, Fault.REFUSED)
        source = PartSource(self.w.bucket, "source", lambda version: None)
        self.w.expect(BackendUnavailable, self.w.core.objects.parts.copy(self.w.place(upload, 1), source))
        self.copy(wanted=ByteRange(0, 99), upload=upload)

    def test_nothing(self) -> None:
        """A source of no bytes makes a part of none; one that is not there makes none."""
        self.w.run(self.w.putting("empty", b""))
        self.assertEqual(self.copy(key="empty").size, 0)
        source = PartSource(self.w.bucket, "nothing", lambda version: None)
        self.w.expect(NoSuchKey, self.w.core.objects.parts.copy(self.w.place(self.upload, 1), source))
