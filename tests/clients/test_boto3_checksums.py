"""Checksums through boto3."""

from __future__ import annotations

import hashlib
from typing import Any

from s3orchestrator.protocol import checksums
from tests.clients.boto import BotoCase, encoded, etag, parts_of
from tests.clients.case import Aftermath
from tests.clients.deployment import content

# Of b"123456789", as the catalogues of such sums have them; so that not only we think so.
CHECKED = b"123456789"
PUBLISHED = {
    "CRC32": encoded(bytes.fromhex("cbf43926")),
    "CRC32C": encoded(bytes.fromhex("e3069283")),
    "CRC64NVME": encoded(bytes.fromhex("ae8b14860a799888")),
    "SHA1": encoded(hashlib.sha1(CHECKED).digest()),
    "SHA256": encoded(hashlib.sha256(CHECKED).digest()),
}
# boto3 computes the others only with AWS's own library.
BOTO3S = ("CRC32", "SHA1", "SHA256")
FULL = ("CRC32", "CRC32C", "CRC64NVME")
COMPOSITE = ("CRC32", "CRC32C", "SHA1", "SHA256")


def checksum(algorithm: str, data: bytes) -> str:
    """Return a checksum as headers have it."""
    hasher = checksums.new(algorithm.lower())
    hasher.update(data)
    return encoded(hasher.digest())


class ObjectTests(BotoCase):
    def test_published(self) -> None:
        """
        Each algorithm's published value for the usual nine digits is accepted, kept and given back.
        """
        for algorithm, value in PUBLISHED.items():
            key = f"published {algorithm}"
            reply = self.put(key, CHECKED, **{f"Checksum{algorithm}": value})
            self.assertEqual(reply[f"Checksum{algorithm}"], value)
            shown = self.client.head_object(Bucket="photos", Key=key, ChecksumMode="ENABLED")
            self.assertEqual((shown[f"Checksum{algorithm}"], shown["ChecksumType"]), (value, "FULL_OBJECT"))
            self.assertNotIn(f"Checksum{algorithm}", self.client.head_object(Bucket="photos", Key=key))

    def test_computed(self) -> None:
        """
        What boto3 computes while sending is checked, and what it is sent back satisfies it.
        """
        data = content("computed", 100_000)
        for algorithm in BOTO3S:
            self.put(f"computed {algorithm}", data, ChecksumAlgorithm=algorithm)
            reply = self.client.get_object(
                Bucket="photos", Key=f"computed {algorithm}", ChecksumMode="ENABLED"
            )
            self.assertEqual(reply[f"Checksum{algorithm}"], checksum(algorithm, data))
            self.assertEqual(reply["Body"].read(), data)  # boto3 raises if they disagree

    def test_wrong(self) -> None:
        """
        A checksum that does not match leaves the old object as it was.
        """
        for algorithm in PUBLISHED:
            key = f"wrong {algorithm}"
            self.put(key, CHECKED)
            wrong = {f"Checksum{algorithm}": checksum(algorithm, b"something else")}
            for body in (b"damaged", content("damaged", 2_000_000)):
                refused = self.refusal("put_object", Bucket="photos", Key=key, Body=body, **wrong)
                self.assertEqual(refused, (400, "BadDigest"), algorithm)
            self.assertEqual(self.get(key), CHECKED)

    def test_md5(self) -> None:
        """
        So does an MD5.
        """
        self.put("md5", CHECKED, ContentMD5=encoded(hashlib.md5(CHECKED).digest()))
        place = {"Bucket": "photos", "Key": "md5", "Body": b"damaged"}
        wrong = encoded(hashlib.md5(b"something else").digest())
        self.assertEqual(self.refusal("put_object", **place, ContentMD5=wrong), (400, "BadDigest"))
        self.assertEqual(self.refusal("put_object", **place, ContentMD5="nonsense"), (400, "InvalidDigest"))
        self.assertEqual(self.get("md5"), CHECKED)

    def test_copied(self) -> None:
        """
        A copy keeps its source's checksum, or gets another one if asked to.
        """
        data = content("checksum source", 30_000)
        self.put("checksum source", data, ChecksumAlgorithm="SHA256")
        source = {"Bucket": "photos", "Key": "checksum source"}
        for key, asked, algorithm in (
            ("checksum kept", {}, "SHA256"),
            ("checksum changed", {"ChecksumAlgorithm": "SHA1"}, "SHA1"),
        ):
            made = self.client.copy_object(Bucket="photos", Key=key, CopySource=source, **asked)
            self.wrote("photos", key, data)
            self.assertEqual(made["CopyObjectResult"][f"Checksum{algorithm}"], checksum(algorithm, data))
            shown = self.client.head_object(Bucket="photos", Key=key, ChecksumMode="ENABLED")
            self.assertEqual(shown[f"Checksum{algorithm}"], checksum(algorithm, data))


class PartTests(BotoCase):
    def upload_checked(self, key: str, parts: list[bytes], algorithm: str, kind: str) -> Any:
        """Store an object in parts, each with its checksum; returns what Complete answered."""
        field = f"Checksum{algorithm}"
        place = {"Bucket": "photos", "Key": key}
        begun = self.client.create_multipart_upload(**place, ChecksumAlgorithm=algorithm, ChecksumType=kind)
        self.assertEqual((begun["ChecksumAlgorithm"], begun["ChecksumType"]), (algorithm, kind))
        place["UploadId"] = begun["UploadId"]
        listed = []
        for number, part in enumerate(parts, 1):
            value = {field: checksum(algorithm, part)}
            sent = self.client.upload_part(**place, PartNumber=number, Body=part, **value)
            self.assertEqual(sent[field], value[field])
            listed.append({"PartNumber": number, "ETag": sent["ETag"], **value})
        reply = self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})
        self.wrote("photos", key, b"".join(parts))
        return reply

    def test_whole(self) -> None:
        """
        The checksum of the whole follows from those of the parts.
        """
        parts = parts_of("checked", 2)
        for algorithm in FULL:
            made = self.upload_checked(f"whole {algorithm}", parts, algorithm, "FULL_OBJECT")
            self.assertEqual(made[f"Checksum{algorithm}"], checksum(algorithm, b"".join(parts)))

    def test_composite(self) -> None:
        """
        A composite is a checksum of checksums, and attributes tell those of the parts.
        """
        parts = parts_of("checked", 2)
        for algorithm in COMPOSITE:
            made = self.upload_checked(f"composite {algorithm}", parts, algorithm, "COMPOSITE")
            field = f"Checksum{algorithm}"
            hasher = checksums.new(algorithm.lower())
            for part in parts:
                inner = checksums.new(algorithm.lower())
                inner.update(part)
                hasher.update(inner.digest())
            self.assertEqual(made[field], f"{encoded(hasher.digest())}-2")
            described = self.client.get_object_attributes(
                Bucket="photos", Key=f"composite {algorithm}", ObjectAttributes=["Checksum", "ObjectParts"]
            )
            self.assertEqual(described["Checksum"]["ChecksumType"], "COMPOSITE")
            self.assertEqual(
                [part[field] for part in described["ObjectParts"]["Parts"]],
                [checksum(algorithm, part) for part in parts],
            )

    def test_wrong_part(self) -> None:
        """
        A part that is damaged is refused, and the one it would have replaced stays.
        """
        place = {"Bucket": "photos", "Key": "wrong part"}
        place["UploadId"] = self.client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")[
            "UploadId"
        ]
        sent = self.client.upload_part(**place, PartNumber=1, Body=CHECKED, ChecksumAlgorithm="SHA256")
        wrong = {"ChecksumSHA256": checksum("SHA256", b"something else")}
        refused = self.refusal("upload_part", **place, PartNumber=1, Body=b"damaged", **wrong)
        self.assertEqual(refused, (400, "BadDigest"))
        part = {"PartNumber": 1, "ETag": etag(CHECKED), "ChecksumSHA256": sent["ChecksumSHA256"]}
        self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
        self.wrote("photos", "wrong part", CHECKED)
        self.assertEqual(self.get("wrong part"), CHECKED)


class ChecksumsAftermath(Aftermath, BotoCase):
    """After all of the above."""
