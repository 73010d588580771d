"""Large objects through boto3: by its own way with files, in one body, and part by part."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from tests.clients.boto import PART, BotoCase, etag, etag_of_parts, parts_of
from tests.clients.case import LARGE, Aftermath
from tests.clients.deployment import MIB, content, digest


class TransferTests(BotoCase):
    """Files, several parts at a time, and parts in any order."""

    def test_large(self) -> None:
        """
        A large file goes up in parts at once, comes down in ranges at once, and is copied in parts.
        """
        path = self.large()
        settings = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=4)
        self.client.upload_file(str(path), "photos", "large", Config=settings)
        self.wrote("photos", "large", path)
        self.client.copy({"Bucket": "photos", "Key": "large"}, "documents", "large copy", Config=settings)
        self.wrote("documents", "large copy", path)
        for bucket, key in (("photos", "large"), ("documents", "large copy")):
            back = self.home / "back"
            self.client.download_file(bucket, key, str(back), Config=settings)
            self.assertEqual(digest(back), digest(path))
        shown = self.client.head_object(Bucket="photos", Key="large")
        self.assertEqual((shown["ContentLength"], shown["ETag"]), (LARGE, etag_of_parts(_cut(path))))

    def test_one_piece(self) -> None:
        """
        A large file that is sent as one body is one object.
        """
        path = self.large()
        with path.open("rb") as body:
            reply = self.client.put_object(Bucket="photos", Key="large in one", Body=body)
        self.wrote("photos", "large in one", path)
        self.assertEqual(reply["ETag"], etag(path.read_bytes()))
        received = hashlib.sha256()
        for piece in self.client.get_object(Bucket="photos", Key="large in one")["Body"].iter_chunks(MIB):
            received.update(piece)
        self.assertEqual(received.hexdigest(), digest(path))

    def test_parts_out_of_order(self) -> None:
        """
        Parts may come in any order, with any number, and again; what is listed at the end is the object.
        """
        parts = parts_of("disorder", 3)
        place = {"Bucket": "photos", "Key": "disorder"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        sent = {}
        for number, body in (
            (900, parts[2]),
            (7, content("replaced", PART)),
            (2, parts[0]),
        ):
            sent[number] = self.client.upload_part(**place, PartNumber=number, Body=body)["ETag"]
        sent[7] = self.client.upload_part(**place, PartNumber=7, Body=parts[1])["ETag"]
        listed = [{"PartNumber": number, "ETag": sent[number]} for number in (2, 7, 900)]
        for _ in range(2):  # whoever lost the first answer asks again
            made = self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})
            self.assertEqual(made["ETag"], etag_of_parts(parts))
        self.wrote("photos", "disorder", b"".join(parts))
        self.assertEqual(self.get("disorder"), b"".join(parts))

    def test_part_of_a_range(self) -> None:
        """
        A part may be a range of an object, from another bucket as well.
        """
        source = content("ranged source", 3 * PART)
        self.put("ranged source", source, "documents")
        place = {"Bucket": "photos", "Key": "from ranges"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        listed = []
        for number, (first, last) in enumerate(((PART, 2 * PART - 1), (0, 99)), 1):
            reply = self.client.upload_part_copy(
                **place,
                PartNumber=number,
                CopySource={"Bucket": "documents", "Key": "ranged source"},
                CopySourceRange=f"bytes={first}-{last}",
            )
            listed.append({"PartNumber": number, "ETag": reply["CopyPartResult"]["ETag"]})
        self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})
        self.wrote("photos", "from ranges", source[PART : 2 * PART] + source[:100])
        self.assertEqual(self.get("from ranges"), source[PART : 2 * PART] + source[:100])


class TransfersAftermath(Aftermath, BotoCase):
    """After all of the above."""


def _cut(path: Path) -> list[bytes]:
    source = BytesIO(path.read_bytes())
    return list(iter(lambda: source.read(8 * MIB), b""))
