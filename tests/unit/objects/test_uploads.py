"""Multipart uploads: where they go, and what is left when they do not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Upload
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.objects.parts import PartPlace
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.testing.harness import Harness


class UploadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness(backends=("a",))

    def create(self, max_open: int = 0) -> Upload:
        return self.h.run(
            self.h.core.objects.multipart.create(
                self.h.bucket, "k", ObjectMetadata(), owner="x", max_open=max_open
            )
        )

    def put(self, upload: Upload, data: bytes) -> None:
        place = PartPlace(self.h.bucket, "k", upload.id, 1)
        self.h.run(self.h.core.objects.parts.put(place, self.h.incoming(data)))

    def test_no_trace_of_one_that_could_not_begin(self) -> None:
        """A look at the name that fails or stalls leaves no upload that would count against the limit."""
        self.h.backend("a").faults.next("head", Fault.FAILED)
        with self.assertRaises(BackendUnavailable):
            self.create(max_open=1)
        self.h.backend("a").faults.next("head", Fault.STALLED)
        multipart = self.h.core.objects.multipart
        creating = start(multipart.create(self.h.bucket, "another", ObjectMetadata(), owner="x", max_open=1))
        creating.cancel()
        self.failureResultOf(creating)
        self.h.settle()
        self.create(max_open=1)

    def test_unlimited_backends_first(self) -> None:
        """Nobody knows how large it will be, so it does not go where large objects may not go."""
        self.h = Harness(max_object_size={"a": 10})
        self.assertEqual(self.create().blob.backend, "b")

    def test_too_large_for_the_only_backend(self) -> None:
        """What may not be stored there is refused, as a part and as the sum of parts."""
        self.h = Harness(backends=("a",), max_object_size={"a": 10})
        upload = self.create()
        with self.assertRaises(S3Error) as caught:
            self.put(upload, b"x" * 11)
        self.assertEqual(caught.exception.code, "EntityTooLarge")
        self.put(upload, b"x" * 10)

    def test_a_no_is_not_a_failure(self) -> None:
        """A backend that refuses one copy is not shunned by everybody's next write."""
        self.h = Harness()
        self.h.put("k", b"data")
        held = self.h.backend("a").objects.pop("photos/k")
        version = self.h.run(self.h.core.objects.reading.find(self.h.bucket, "k"))
        error = self.h.expect(BackendUnavailable, self._read())
        self.assertIn("k", str(error))
        self.h.put("next", b"x")
        self.assertIn("photos/next", self.h.stored()["a"])
        self.h.backend("a").objects["photos/k"] = held
        self.assertEqual(version.size, 4)

    async def _read(self) -> None:
        await self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: None)
