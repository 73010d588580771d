"""Objects through boto3: keys, bytes, metadata, ranges, conditions, presigned addresses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from tests.clients.boto import PART, BotoCase, etag, parts_of
from tests.clients.case import Aftermath
from tests.clients.deployment import content, digest
from tests.clients.oddities import EVERY_KEY
from tests.running import fetch

DATA = content("object", 3000)

# Of an object of 3000 bytes: what is asked for, what comes, and as what.
RANGES = {
    "bytes=0-9": (206, "bytes 0-9/3000", DATA[:10]),
    "bytes=2990-": (206, "bytes 2990-2999/3000", DATA[2990:]),
    "bytes=2990-5000": (206, "bytes 2990-2999/3000", DATA[2990:]),
    "bytes=-10": (206, "bytes 2990-2999/3000", DATA[-10:]),
    "bytes=-5000": (206, "bytes 0-2999/3000", DATA),
    "bytes=0-": (206, "bytes 0-2999/3000", DATA),
    "bytes=0-0,5-6": (200, None, DATA),
    "bytes=9-0": (200, None, DATA),
    "chars=0-1": (200, None, DATA),
}


class KeyTests(BotoCase):
    def test_odd_keys(self) -> None:
        """
        Every odd key is stored, listed, copied, read and deleted under exactly that name.
        """
        keys = list(EVERY_KEY.values())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._there_and_back, keys))
        listed = [entry["Key"] for entry in self.client.list_objects_v2(Bucket="photos")["Contents"]]
        self.assertLessEqual(set(keys), set(listed))
        self.assertEqual(listed, sorted(listed, key=str.encode))
        for key in keys:
            self.assertEqual(self._listed_alone(key), key)

    def _there_and_back(self, key: str) -> None:
        data = content(key, 500 + len(key))
        self.put(key, data, Metadata={"length": str(len(key))})
        self.assertEqual(self.get(key), data, repr(key))
        source = {"Bucket": "photos", "Key": key}
        copy = f"copy of {key}"[:900]
        self.client.copy_object(Bucket="documents", Key=copy, CopySource=source)
        self.assertEqual(self.get(copy, "documents"), data, repr(key))
        self.client.delete_object(Bucket="documents", Key=copy)

    def _listed_alone(self, key: str) -> str:
        (found, *_) = self.client.list_objects_v2(Bucket="photos", Prefix=key, MaxKeys=1)["Contents"]
        name: str = found["Key"]
        return name

    def test_longest(self) -> None:
        """
        A key may have 1024 bytes, of any kind, and not one more.
        """
        for key in ("k" * 1024, "é" * 512, "/".join("d" for _ in range(512)) + "/"):
            self.assertEqual(len(key.encode()), 1024)
            self.put(key, key.encode())
            self.assertEqual(self.get(key), key.encode())
            longer = self.refusal("put_object", Bucket="photos", Key=key + "k", Body=b"")
            self.assertEqual(longer, (400, "KeyTooLongError"))

    def test_overwritten(self) -> None:
        """
        Under one key the last object written is the one there is, wherever the ones before were.
        """
        for number in range(8):
            self.put("overwritten", content(f"generation {number}", 1000 * number))
            self.assertEqual(digest(self.get("overwritten")), self.deployment.written["photos/overwritten"])

    def test_written_at_once(self) -> None:
        """
        Of many writers of one key each is told of success, and one of their objects is there, whole.
        """
        bodies = [content(f"writer {number}", 50_000) for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            etags = list(pool.map(lambda body: self.put("contended", body)["ETag"], bodies))
        self.assertEqual(etags, [etag(body) for body in bodies])
        self.assertIn(self.get("contended"), bodies)
        self.wrote("photos", "contended", self.get("contended"))

    def test_emptied(self) -> None:
        """
        More objects than fit in a page are removed by their listing, and the bucket after them.
        """
        self.client.create_bucket(Bucket="boto3-emptied")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: self._filler(f"key {number:04}"), range(1010)))
        first = self.client.list_objects_v2(Bucket="boto3-emptied")
        self.assertEqual((first["KeyCount"], first["IsTruncated"]), (1000, True))
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket="boto3-emptied"):
            gone = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in page["Versions"]]
            reply = self.client.delete_objects(Bucket="boto3-emptied", Delete={"Objects": gone})
            self.assertEqual(len(reply["Deleted"]), len(gone))
        self.client.delete_bucket(Bucket="boto3-emptied")

    def _filler(self, key: str) -> None:
        self.client.put_object(Bucket="boto3-emptied", Key=key, Body=b"")


class MetadataTests(BotoCase):
    HEADERS = {
        "ContentType": "text/html; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": "attachment; filename*=UTF-8''%e2%82%ac.txt",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, en",
    }

    def test_kept(self) -> None:
        """
        Headers and metadata come back as they were sent, and go along with a copy.
        """
        metadata = {"colour": "blue", "empty": "", "spaces": "a  b", "x-y_z": '"quoted", and more'}
        self.put("described", DATA, **self.HEADERS, Metadata=metadata)
        self.client.copy_object(
            Bucket="photos", Key="described copy", CopySource={"Bucket": "photos", "Key": "described"}
        )
        self.wrote("photos", "described copy", DATA)
        for key in ("described", "described copy"):
            shown = self.client.head_object(Bucket="photos", Key=key)
            self.assertEqual({name: shown[name] for name in self.HEADERS}, self.HEADERS)
            self.assertEqual(shown["Metadata"], metadata)

    def test_kept_by_parts(self) -> None:
        """
        What is said when an upload in parts begins is said of the object.
        """
        self.upload("described parts", [b"one part"], **self.HEADERS, Metadata={"a": "b"})
        shown = self.client.head_object(Bucket="photos", Key="described parts")
        self.assertEqual({name: shown[name] for name in self.HEADERS}, self.HEADERS)
        self.assertEqual(shown["Metadata"], {"a": "b"})

    def test_replaced(self) -> None:
        """
        A copy onto itself replaces metadata and keeps the bytes.
        """
        self.put("replaced", DATA, **self.HEADERS, Metadata={"old": "1"})
        self.client.copy_object(
            Bucket="photos",
            Key="replaced",
            CopySource={"Bucket": "photos", "Key": "replaced"},
            MetadataDirective="REPLACE",
            ContentType="text/plain",
            Metadata={"new": "2"},
        )
        shown = self.client.get_object(Bucket="photos", Key="replaced")
        self.assertEqual((shown["Metadata"], shown["ContentType"]), ({"new": "2"}, "text/plain"))
        self.assertNotIn("CacheControl", shown)
        self.assertEqual((shown["Body"].read(), shown["ETag"]), (DATA, etag(DATA)))

    def test_overridden(self) -> None:
        """
        A reader may ask for other headers than were stored.
        """
        self.put("overridden", DATA)
        shown = self.client.get_object(
            Bucket="photos",
            Key="overridden",
            ResponseContentType="text/plain",
            ResponseContentDisposition='attachment; filename="x"',
        )
        self.assertEqual(
            (shown["ContentType"], shown["ContentDisposition"]), ("text/plain", 'attachment; filename="x"')
        )


class RangeTests(BotoCase):
    def test_ranges(self) -> None:
        """
        A range is that range, or none.
        """
        self.put("ranged", DATA)
        for wanted, (status, described, data) in RANGES.items():
            reply = self.client.get_object(Bucket="photos", Key="ranged", Range=wanted)
            got = (
                reply["ResponseMetadata"]["HTTPStatusCode"],
                reply.get("ContentRange"),
                reply["Body"].read(),
            )
            self.assertEqual(got, (status, described, data), wanted)

    def test_past_the_end(self) -> None:
        """
        A range with nothing in it is refused.
        """
        self.put("ranged", DATA)
        self.put("nothing", b"")
        for key, wanted in (("ranged", "bytes=3000-"), ("ranged", "bytes=-0"), ("nothing", "bytes=0-0")):
            refused = self.refusal("get_object", Bucket="photos", Key=key, Range=wanted)
            self.assertEqual(refused, (416, "InvalidRange"), wanted)

    def test_across_parts(self) -> None:
        """
        A range may span the parts that an object was sent in.
        """
        parts = parts_of("ranged parts", 2)
        self.upload("ranged parts", parts)
        wanted = f"bytes={PART - 10}-{PART + 9}"
        self.assertEqual(self.get("ranged parts", Range=wanted), parts[0][-10:] + parts[1][:10])


class ConditionTests(BotoCase):
    def test_reads(self) -> None:
        """
        A reader is told whether what he has is still what there is.
        """
        self.put("condition", DATA)
        place = {"Bucket": "photos", "Key": "condition"}
        modified = self.client.head_object(**place)["LastModified"]
        hour = timedelta(hours=1)
        for condition in (
            {"IfMatch": etag(DATA)},
            {"IfNoneMatch": '"other"'},
            {"IfModifiedSince": modified - hour},
            {"IfUnmodifiedSince": modified + hour},
        ):
            self.assertEqual(self.get("condition", **condition), DATA)
        for condition, status in (
            ({"IfNoneMatch": etag(DATA)}, 304),
            ({"IfModifiedSince": modified}, 304),
            ({"IfMatch": '"other"'}, 412),
            ({"IfUnmodifiedSince": modified - hour}, 412),
        ):
            for operation in ("get_object", "head_object"):
                refused, _ = self.refusal(operation, **place, **condition)
                self.assertEqual(refused, status, f"{operation} {condition}")

    def test_writes(self) -> None:
        """
        A write with a condition that does not hold changes nothing.
        """
        place = {"Bucket": "photos", "Key": "conditional"}
        self.assertEqual(self.refusal("put_object", **place, IfMatch=etag(DATA)), (404, "NoSuchKey"))
        self.put("conditional", DATA, IfNoneMatch="*")
        source = {"Bucket": "photos", "Key": "conditional"}
        failed = (412, "PreconditionFailed")
        self.assertEqual(self.refusal("put_object", **place, Body=b"x", IfNoneMatch="*"), failed)
        self.assertEqual(self.refusal("put_object", **place, Body=b"x", IfMatch='"other"'), failed)
        self.assertEqual(self.refusal("delete_object", **place, IfMatch='"other"'), failed)
        copied = {"CopySource": source, "MetadataDirective": "REPLACE"}
        self.assertEqual(self.refusal("copy_object", **place, **copied, IfNoneMatch="*"), failed)
        self.assertEqual(self.refusal("copy_object", **place, **copied, CopySourceIfMatch='"other"'), failed)
        self.assertEqual(self.get("conditional"), DATA)
        self.put("conditional", b"replaced", IfMatch=etag(DATA))
        self.client.delete_object(**place, IfMatch=etag(b"replaced"))
        self.removed("photos", "conditional")

    def test_complete(self) -> None:
        """
        So does an upload in parts, which stays open.
        """
        self.put("completed", DATA)
        place = {"Bucket": "photos", "Key": "completed"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        sent = self.client.upload_part(**place, PartNumber=1, Body=b"part")["ETag"]
        listed = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": sent}]}}
        refused = self.refusal("complete_multipart_upload", **place, **listed, IfNoneMatch="*")
        self.assertEqual(refused, (412, "PreconditionFailed"))
        self.assertEqual(self.get("completed"), DATA)
        self.client.complete_multipart_upload(**place, **listed, IfMatch=etag(DATA))
        self.wrote("photos", "completed", b"part")

    def test_one_winner(self) -> None:
        """
        Of many that want a key to be free exactly one succeeds, and its object is the one that is there.
        """
        bodies = [content(f"racer {number}", 20_000) for number in range(10)]
        with ThreadPoolExecutor(5) as pool:
            won = [body for body, wins in zip(bodies, pool.map(self._create, bodies), strict=True) if wins]
        self.assertEqual(len(won), 1)
        self.wrote("photos", "raced for", won[0])
        self.assertEqual(self.get("raced for"), won[0])

    def _create(self, body: bytes) -> bool:
        try:
            self.client.put_object(Bucket="photos", Key="raced for", Body=body, IfNoneMatch="*")
        except self.client.exceptions.ClientError as error:
            # 409 where both were at it at once: S3's own answer then.
            self.assertIn(error.response["ResponseMetadata"]["HTTPStatusCode"], (409, 412))
            return False
        return True


class PresignedTests(BotoCase):
    def sign(self, operation: str, expires: int = 60, **parameters: Any) -> str:
        url: str = self.client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires)
        return url

    def test_read_and_written(self) -> None:
        """
        Whoever has an address may do what it was signed for, with every odd key.
        """
        client = self.deployment.boto3("alice", signature_version="s3v4")
        self.client = client
        for name, key in EVERY_KEY.items():
            data = content(f"presigned {name}", 700)
            answer = fetch(self.sign("put_object", Bucket="backups", Key=key), "PUT", data)
            self.assertEqual(answer.status, 200, f"{key!r}: {answer.body!r}")
            self.wrote("backups", key, data)
            answer = fetch(self.sign("get_object", Bucket="backups", Key=key))
            self.assertEqual((answer.status, answer.body), (200, data), repr(key))

    def test_more_than_objects(self) -> None:
        """
        Listing, parts and deleting can be presigned too.
        """
        self.client = self.deployment.boto3("alice", signature_version="s3v4")
        place = {"Bucket": "photos", "Key": "presigned parts"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        answer = fetch(self.sign("upload_part", **place, PartNumber=1), "PUT", b"the part")
        self.client.complete_multipart_upload(
            **place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": answer.headers["etag"]}]}
        )
        self.assertIn(b"presigned%20parts", fetch(self.sign("list_objects_v2", Bucket="photos")).body)
        deleting = self.sign("delete_object", Bucket="photos", Key="presigned parts")
        self.assertEqual(fetch(deleting, "DELETE").status, 204)
        self.assertEqual(self.refusal("head_object", Bucket="photos", Key="presigned parts")[0], 404)

    def test_for_nothing_else(self) -> None:
        """
        An address serves for nothing but what it was signed for.
        """
        self.client = self.deployment.boto3("alice", signature_version="s3v4")
        self.put("presigned", DATA)
        url = self.sign("get_object", Bucket="photos", Key="presigned")
        for method in ("PUT", "DELETE", "HEAD"):
            self.assertEqual(fetch(url, method).status, 403, method)
        self.assertEqual(fetch(url.replace("/presigned?", "/other?")).status, 403)
        self.assertEqual(fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).status, 403)
        self.assertEqual(fetch(url, headers={"Range": "bytes=0-9"}).body, DATA[:10])


class ObjectsAftermath(Aftermath, BotoCase):
    """After all of the above."""
