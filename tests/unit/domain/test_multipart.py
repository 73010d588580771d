"""What the whole of an upload is, as far as its parts tell."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.multipart import composite_etag, object_checksum
from s3orchestrator.domain.records import Part
from s3orchestrator.protocol.checksums import Checksum, new
from s3orchestrator.protocol.errors import S3Error

BODIES = st.lists(st.binary(max_size=50), min_size=1, max_size=5)


def digest(algorithm: str, data: bytes) -> Checksum:
    hasher = new(algorithm)
    hasher.update(data)
    return Checksum.of_digest(algorithm, hasher.digest())


def parts_of(bodies: list[bytes], algorithm: str) -> list[Part]:
    return [
        Part("u", number, 0, len(body), checksum=digest(algorithm, body))
        for number, body in enumerate(bodies, 1)
    ]


class MultipartTests(SynchronousTestCase):
    def test_etag_of_one_part(self) -> None:
        """Even one part gives the ETag of a multipart object."""
        md5 = hashlib.md5(b"x").hexdigest()
        self.assertEqual(composite_etag([md5]), hashlib.md5(bytes.fromhex(md5)).hexdigest() + "-1")

    @given(BODIES, st.sampled_from(["crc32", "crc32c", "crc64nvme"]))
    def test_full_object_checksum_needs_no_second_reading(self, bodies: list[bytes], algorithm: str) -> None:
        """The CRC of the whole follows from those of its parts."""
        found = object_checksum(algorithm, "FULL_OBJECT", parts_of(bodies, algorithm), None)
        self.assertEqual(found, digest(algorithm, b"".join(bodies)))

    def test_other_expectation(self) -> None:
        """A client that expects another checksum hears so."""
        with self.assertRaises(S3Error) as caught:
            object_checksum("crc32", "FULL_OBJECT", parts_of([b"a"], "crc32"), digest("crc32", b"b"))
        self.assertEqual(caught.exception.code, "BadDigest")

    def test_none_asked_for(self) -> None:
        """An upload without a checksum gives an object without one."""
        self.assertIsNone(object_checksum(None, None, [Part("u", 1, 0, 3)], None))
