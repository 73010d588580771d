"""Checksums: names, values, and which may be used where."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol import checksums
from s3orchestrator.protocol.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, Checksum
from s3orchestrator.protocol.errors import S3Error


def checksum_of(algorithm: str, data: bytes) -> Checksum:
    hasher = checksums.new(algorithm)
    hasher.update(data)
    return Checksum.of_digest(algorithm, hasher.digest())


class ValueTests(SynchronousTestCase):
    """What a checksum looks like on the wire."""

    def test_known_values(self) -> None:
        """The values S3 gives for the digits 1 to 9: base64 of the bytes, highest first."""
        expected = {
            "crc32": "y/Q5Jg==",
            "crc32c": "4waSgw==",
            "crc64nvme": "rosUhgp5mIg=",
            "sha1": "98O8HYCOBHMq32eZZczDTKeuNEE=",
            "sha256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        }
        self.assertEqual({name: checksum_of(name, b"123456789").value for name in ALGORITHMS}, expected)

    def test_incremental(self) -> None:
        """Bytes in pieces have the checksum of the whole."""
        for algorithm in ALGORITHMS:
            hasher = checksums.new(algorithm)
            for piece in (b"1234", b"", b"56789"):
                hasher.update(piece)
            self.assertEqual(
                Checksum.of_digest(algorithm, hasher.digest()), checksum_of(algorithm, b"123456789")
            )

    def test_names(self) -> None:
        """Headers and elements are named as S3 names them."""
        value = Checksum("crc64nvme", "rosUhgp5mIg=")
        self.assertEqual(value.header, "x-amz-checksum-crc64nvme")
        self.assertEqual(value.element, "ChecksumCRC64NVME")
        self.assertEqual(checksums.BY_ELEMENT["ChecksumSHA256"].name, "sha256")
        self.assertEqual(checksums.BY_HEADER[b"x-amz-checksum-crc32c"].name, "crc32c")

    def test_parse(self) -> None:
        """A value may carry a number of parts; then it is a composite."""
        self.assertEqual(Checksum.parse("crc32", "y/Q5Jg==").kind, FULL_OBJECT)
        composite = Checksum.parse("crc32", "y/Q5Jg==-3")
        self.assertEqual((composite.kind, composite.digest), (COMPOSITE, bytes.fromhex("cbf43926")))

    def test_not_values(self) -> None:
        """What is not base64 of the algorithm's size is refused, and so is base64 that says more."""
        for text in (
            "",
            "!",
            "y/Q5Jg",
            "y/Q5Jg=",
            "y/Q5Jh==",
            "rosUhgp5mIg=",
            "y/Q5Jg==-",
            "y/Q5Jg==-x",
            "é",
        ):
            error = self.assertRaises(S3Error, Checksum.parse, "crc32", text)
            self.assertEqual(error.code, "InvalidRequest", text)
            self.assertIn("x-amz-checksum-crc32", str(error.message))

    def test_agreement(self) -> None:
        """Told with or without the number of parts, a checksum is itself; another value is not."""
        whole = Checksum("crc32", "y/Q5Jg==-2", COMPOSITE)
        self.assertTrue(whole.agrees_with(Checksum("crc32", "y/Q5Jg==")))
        self.assertTrue(whole.agrees_with(Checksum("crc32", "y/Q5Jg==-2", COMPOSITE)))
        self.assertFalse(whole.agrees_with(Checksum("crc32", "y/Q5Jg==-3", COMPOSITE)))
        self.assertFalse(whole.agrees_with(Checksum("crc32", "AAAAAA==")))
        self.assertFalse(whole.agrees_with(Checksum("crc32c", "y/Q5Jg==")))

    def test_mismatch(self) -> None:
        """A completion that tells another checksum than the parts have is a BadDigest."""
        computed = Checksum("crc32", "y/Q5Jg==")
        checksums.check_whole(computed, None)
        checksums.check_whole(computed, computed)
        error = self.assertRaises(S3Error, checksums.check_whole, computed, Checksum("crc32", "AAAAAA=="))
        self.assertEqual(error.code, "BadDigest")
        self.assertIn("The CRC32 you specified", str(error.message))


class HeaderTests(SynchronousTestCase):
    """What clients may ask for."""

    def test_declared(self) -> None:
        """One value is found among headers that only look like one."""
        headers = {
            b"x-amz-checksum-mode": [b"ENABLED"],
            b"x-amz-checksum-type": [b"FULL_OBJECT"],
            b"x-amz-checksum-algorithm": [b"CRC32"],
            b"host": [b"h"],
        }
        self.assertIs(checksums.in_headers(headers), None)
        headers[b"x-amz-checksum-crc32"] = [b" y/Q5Jg== "]
        self.assertEqual(checksums.in_headers(headers), Checksum("crc32", "y/Q5Jg=="))

    def test_declared_badly(self) -> None:
        """Two values, an algorithm we don't know, or no value at all are refused."""
        for headers, words in (
            (
                {b"x-amz-checksum-crc32": [b"y/Q5Jg=="], b"x-amz-checksum-sha1": [b"x"]},
                "Expecting a single x-amz-checksum- header",
            ),
            ({b"x-amz-checksum-crc32": [b"y/Q5Jg==", b"y/Q5Jg=="]}, "is invalid"),
            ({b"x-amz-checksum-xxhash64": [b"AAAA"]}, "must be one of"),
            ({b"x-amz-checksum-crc32": [b"\xff"]}, "Value for x-amz-checksum-crc32 header is invalid"),
        ):
            error = self.assertRaises(S3Error, checksums.in_headers, headers)
            self.assertEqual(error.code, "InvalidRequest")
            self.assertIn(words, str(error.message))

    def test_upload(self) -> None:
        """An upload gets the kind it asks for, or the algorithm's own; not every pair exists."""
        cases: list[tuple[str, str | None, tuple[str, str] | None]] = [
            ("CRC32", None, ("crc32", COMPOSITE)),
            ("crc32c", "FULL_OBJECT", ("crc32c", FULL_OBJECT)),
            ("CRC64NVME", None, ("crc64nvme", FULL_OBJECT)),
            ("SHA256", "COMPOSITE", ("sha256", COMPOSITE)),
            ("CRC64NVME", "COMPOSITE", None),
            ("SHA1", "FULL_OBJECT", None),
            ("SHA256", "FULL_OBJECT", None),
            ("CRC32", "PARTIAL", None),
            ("MD4", None, None),
        ]
        for name, kind, expected in cases:
            headers = {b"x-amz-checksum-algorithm": [name.encode()]}
            if kind is not None:
                headers[b"x-amz-checksum-type"] = [kind.encode()]
            if expected is None:
                error = self.assertRaises(S3Error, checksums.for_upload, headers)
                self.assertEqual(error.code, "InvalidRequest", (name, kind))
            else:
                self.assertEqual(checksums.for_upload(headers), expected)

    def test_upload_without(self) -> None:
        """Nothing asked is nothing given; a kind alone makes no sense."""
        self.assertIs(checksums.for_upload({}), None)
        error = self.assertRaises(S3Error, checksums.for_upload, {b"x-amz-checksum-type": [b"FULL_OBJECT"]})
        self.assertEqual(error.code, "InvalidRequest")

    def test_copy(self) -> None:
        """A copy may ask for another algorithm."""
        self.assertIs(checksums.for_copy({}), None)
        self.assertEqual(checksums.for_copy({b"x-amz-checksum-algorithm": [b"SHA1"]}), "sha1")
        error = self.assertRaises(S3Error, checksums.for_copy, {b"x-amz-checksum-algorithm": [b"?"]})
        self.assertEqual(error.code, "InvalidRequest")


class PartTests(SynchronousTestCase):
    """Checksums of uploads in parts."""

    def test_parts_have_the_uploads_algorithm(self) -> None:
        """A part with another algorithm is refused, one without any is not."""
        checksums.check_part("sha256", "sha256")
        checksums.check_part("sha256", None)
        checksums.check_part(None, "crc32")
        error = self.assertRaises(S3Error, checksums.check_part, "sha256", "crc32")
        self.assertEqual(error.code, "InvalidRequest")
        self.assertIn("expected checksum Type: sha256, actual checksum Type: crc32", str(error.message))

    def test_composites_need_all(self) -> None:
        """A completion must list the checksum of each part of a composite; of a full object it need not."""
        listed = [(1, Checksum("crc32", "y/Q5Jg==")), (7, None)]
        checksums.check_listed("crc32", FULL_OBJECT, listed)
        error = self.assertRaises(S3Error, checksums.check_listed, "crc32", COMPOSITE, listed)
        self.assertEqual(error.code, "InvalidRequest")
        self.assertIn("missing for part 7", str(error.message))

    def test_composite(self) -> None:
        """A composite is the algorithm over the parts' binary values, and their number."""
        parts = [checksum_of("sha256", b"one"), checksum_of("sha256", b"two")]
        joined = hashlib.sha256(hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest())
        self.assertEqual(
            checksums.of_parts("sha256", COMPOSITE, [(part, 3) for part in parts]),
            Checksum("sha256", b64encode(joined.digest()).decode() + "-2", COMPOSITE),
        )

    def test_composite_of_one(self) -> None:
        """One part makes a composite as well."""
        [part] = [checksum_of("crc32", b"one")]
        whole = checksums.of_parts("crc32", COMPOSITE, [(part, 3)])
        self.assertEqual(whole.digest, zlib.crc32(part.digest).to_bytes(4, "big"))
        self.assertTrue(whole.value.endswith("-1"))

    @given(st.lists(st.binary(max_size=50), min_size=1, max_size=6))
    def test_full_object(self, parts: list[bytes]) -> None:
        """The CRC of the whole, made from those of the parts, is that of the bytes."""
        for algorithm in ("crc32", "crc32c", "crc64nvme"):
            self.assertEqual(
                checksums.of_parts(
                    algorithm, FULL_OBJECT, [(checksum_of(algorithm, part), len(part)) for part in parts]
                ),
                checksum_of(algorithm, b"".join(parts)),
            )

    def test_hashes_do_not_join(self) -> None:
        """SHA of a whole cannot be made from its parts': nobody may think it was."""
        self.assertRaises(
            ValueError, checksums.of_parts, "sha1", FULL_OBJECT, [(checksum_of("sha1", b""), 0)]
        )
