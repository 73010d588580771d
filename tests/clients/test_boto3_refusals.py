"""What boto3 is told when something is wrong, and that nothing was done then."""

from __future__ import annotations

import datetime
from typing import Any

import botocore.auth

from tests.clients.boto import PART, BotoCase, etag
from tests.clients.case import Aftermath
from tests.clients.deployment import SECRETS, boto3_client, content
from tests.running import fetch

Refusal = tuple[str, dict[str, Any], int, str]

_THERE = {"CopySource": "photos/there"}

# Asked of `photos` by alice: operation, parameters, status, code (which HEAD has none of but the status).
OBJECTS: tuple[Refusal, ...] = (
    ("get_object", {"Key": "missing"}, 404, "NoSuchKey"),
    ("head_object", {"Key": "missing"}, 404, "404"),
    ("get_object", {"Key": "there", "VersionId": "3L4kqtJlcpXroDTDmJ"}, 404, "NoSuchVersion"),
    ("get_object", {"Key": "there", "PartNumber": 2}, 416, "InvalidPartNumber"),
    ("get_object", {"Key": "there", "PartNumber": 1, "Range": "bytes=0-1"}, 400, "InvalidRequest"),
    ("get_object", {"Key": "there", "Range": "bytes=5-"}, 416, "InvalidRange"),
    ("put_object", {"Key": "k" * 1025}, 400, "KeyTooLongError"),
    ("put_object", {"Key": "x", "Metadata": {"a": "b" * 2048}}, 400, "MetadataTooLarge"),
    ("put_object", {"Key": "x", "StorageClass": "NO_SUCH"}, 400, "InvalidStorageClass"),
    ("put_object", {"Key": "x", "ServerSideEncryption": "aws:kms"}, 501, "NotImplemented"),
    ("put_object", {"Key": "x", "Tagging": "a=b"}, 501, "NotImplemented"),
    ("put_object", {"Key": "x", "ObjectLockLegalHoldStatus": "ON"}, 501, "NotImplemented"),
    ("put_object", {"Key": "x", "GrantRead": 'uri="everybody"'}, 501, "NotImplemented"),
    ("put_object", {"Key": "x", "ACL": "public-read"}, 400, "AccessControlListNotSupported"),
    ("put_object", {"Key": "x", "IfMatch": '"a"'}, 404, "NoSuchKey"),
    ("copy_object", {"Key": "x", "CopySource": "photos/missing"}, 404, "NoSuchKey"),
    ("copy_object", {"Key": "x", "CopySource": "no-such-bucket/x"}, 404, "NoSuchBucket"),
    ("copy_object", {"Key": "there", **_THERE}, 400, "InvalidRequest"),
    ("copy_object", {"Key": "x", "CopySource": "no slash"}, 400, "InvalidArgument"),
    ("copy_object", {"Key": "x", **_THERE, "CopySourceIfMatch": "x"}, 412, "PreconditionFailed"),
    ("get_object_attributes", {"Key": "missing", "ObjectAttributes": ["ETag"]}, 404, "NoSuchKey"),
    ("get_object_attributes", {"Key": "there", "ObjectAttributes": ["Nonsense"]}, 400, "InvalidArgument"),
)  # fmt: skip

LISTS: tuple[Refusal, ...] = (
    ("list_objects", {"MaxKeys": -1}, 400, "InvalidArgument"),
    ("list_objects_v2", {"MaxKeys": -1}, 400, "InvalidArgument"),
    ("list_objects_v2", {"ContinuationToken": "nonsense"}, 400, "InvalidArgument"),
    ("list_objects_v2", {"EncodingType": "base64"}, 400, "InvalidArgument"),
    ("list_object_versions", {"VersionIdMarker": "null"}, 400, "InvalidArgument"),
    ("delete_objects", {"Delete": {"Objects": []}}, 400, "MalformedXML"),
    ("delete_objects", {"Delete": {"Objects": [{"Key": f"{n}"} for n in range(1001)]}}, 400, "MalformedXML"),
)

_UNKNOWN = {"Key": "x", "UploadId": "nonsense"}
UPLOADS: tuple[Refusal, ...] = (
    ("upload_part", {**_UNKNOWN, "PartNumber": 1, "Body": b"x"}, 404, "NoSuchUpload"),
    ("upload_part_copy", {**_UNKNOWN, "PartNumber": 1, "CopySource": "photos/there"}, 404, "NoSuchUpload"),
    ("list_parts", _UNKNOWN, 404, "NoSuchUpload"),
    ("abort_multipart_upload", _UNKNOWN, 404, "NoSuchUpload"),
    (
        "complete_multipart_upload",
        {**_UNKNOWN, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": "x"}]}},
        404,
        "NoSuchUpload",
    ),
)

# What an open upload with two short parts, 1 and 2, is asked to become.
COMPLETIONS: tuple[tuple[list[dict[str, Any]], str], ...] = (
    ([], "MalformedXML"),
    ([{"PartNumber": 1}], "MalformedXML"),
    ([{"PartNumber": 0, "ETag": etag(b"short")}], "InvalidArgument"),
    ([{"PartNumber": 3, "ETag": etag(b"short")}], "InvalidPart"),
    ([{"PartNumber": 1, "ETag": etag(b"other")}], "InvalidPart"),
    ([{"PartNumber": number, "ETag": etag(b"short")} for number in (2, 1)], "InvalidPartOrder"),
    ([{"PartNumber": number, "ETag": etag(b"short")} for number in (1, 1)], "InvalidPartOrder"),
    ([{"PartNumber": number, "ETag": etag(b"short")} for number in (1, 2)], "EntityTooSmall"),
)

BUCKETS: tuple[Refusal, ...] = (
    ("create_bucket", {"Bucket": "photos"}, 409, "BucketAlreadyOwnedByYou"),
    ("create_bucket", {"Bucket": "Capitals"}, 400, "InvalidBucketName"),
    ("create_bucket", {"Bucket": "admin"}, 400, "InvalidBucketName"),
    ("create_bucket", {"Bucket": "192.168.5.4"}, 400, "InvalidBucketName"),
    ("delete_bucket", {"Bucket": "photos"}, 403, "AccessDenied"),
    ("delete_bucket", {"Bucket": "no-such-bucket"}, 404, "NoSuchBucket"),
    ("head_bucket", {"Bucket": "no-such-bucket"}, 404, "404"),
    ("list_objects_v2", {"Bucket": "no-such-bucket"}, 404, "NoSuchBucket"),
    ("put_object", {"Bucket": "no-such-bucket", "Key": "x"}, 404, "NoSuchBucket"),
)

PLACE = {"Bucket": "photos", "Key": "there"}
GONE = {"Objects": [{"Key": "there"}]}


class RefusalTests(BotoCase):
    def setUp(self) -> None:
        super().setUp()
        self.put("there", b"there")

    def assert_refused(self, refusals: tuple[Refusal, ...], **common: Any) -> None:
        """All of them are refused as they say; those that are not are shown together."""
        wrong = []
        for operation, parameters, status, code in refusals:
            found = self.refusal(operation, **common, **parameters)
            if found != (status, code):
                wrong.append((operation, parameters, found))
        self.assertEqual(wrong, [])

    def test_objects(self) -> None:
        """Objects that are not there, and requests that make no sense."""
        self.assert_refused(OBJECTS, Bucket="photos")

    def test_lists(self) -> None:
        """Listings, and lists of what to delete."""
        self.assert_refused(LISTS, Bucket="photos")

    def test_uploads(self) -> None:
        """Uploads nobody began."""
        self.assert_refused(UPLOADS, Bucket="photos")

    def test_buckets(self) -> None:
        """Buckets with other owners, impossible names, or not there."""
        self.assert_refused(BUCKETS)

    def test_parts(self) -> None:
        """
        An upload that is completed wrongly stays open, and can still be completed.
        """
        place = {"Bucket": "photos", "Key": "wrongly"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        for number in (0, 10001):
            refused = self.refusal("upload_part", **place, PartNumber=number, Body=b"x")
            self.assertEqual(refused, (400, "InvalidArgument"))
        for number in (1, 2):
            self.client.upload_part(**place, PartNumber=number, Body=b"short")
        for listed, code in COMPLETIONS:
            refused = self.refusal("complete_multipart_upload", **place, MultipartUpload={"Parts": listed})
            self.assertEqual(refused, (400, code), listed)
        first = content("long enough", PART)
        self.client.upload_part(**place, PartNumber=1, Body=first)
        listed = [{"PartNumber": 1, "ETag": etag(first)}, {"PartNumber": 2, "ETag": etag(b"short")}]
        self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})
        self.wrote("photos", "wrongly", first + b"short")

    def test_range_of_a_source(self) -> None:
        """
        A part cannot be copied from beyond the end of its source.
        """
        self.put("short source", content("short source", PART))
        place = {"Bucket": "photos", "Key": "from beyond"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        for wanted in (f"bytes=0-{PART}", "bytes=0-", "bytes=9-0", "nonsense"):
            refused = self.refusal(
                "upload_part_copy",
                **place,
                PartNumber=1,
                CopySource={"Bucket": "photos", "Key": "short source"},
                CopySourceRange=wanted,
            )
            self.assertEqual(refused, (400, "InvalidArgument"), wanted)
        self.client.abort_multipart_upload(**place)


class AccessTests(BotoCase):
    def setUp(self) -> None:
        super().setUp()
        self.put("there", b"there")

    def refused(self, client: Any, operation: str, **parameters: Any) -> None:
        self.assertEqual(self.refusal(operation, client, **parameters), (403, "AccessDenied"), operation)

    def test_of_one_bucket(self) -> None:
        """
        A bucket's own key pair may do everything there, sees only that, and learns nothing of others.
        """
        photos = self.deployment.boto3("photos")
        self.assertEqual([each["Name"] for each in photos.list_buckets()["Buckets"]], ["photos"])
        self.refused(photos, "list_objects_v2", Bucket="documents")
        self.refused(photos, "list_objects_v2", Bucket="no-such-bucket")
        self.refused(photos, "create_bucket", Bucket="another")
        self.refused(photos, "create_bucket", Bucket="documents")
        own = self.refusal("create_bucket", photos, Bucket="photos")
        self.assertEqual(own, (409, "BucketAlreadyOwnedByYou"))
        self.refused(photos, "copy_object", Bucket="photos", Key="x", CopySource="documents/x")

    def test_reader(self) -> None:
        """
        Who may read can look at everything and change nothing.
        """
        reader = self.deployment.boto3("reader")
        self.assertEqual([each["Name"] for each in reader.list_buckets()["Buckets"]], ["photos"])
        self.assertEqual(reader.get_object(**PLACE)["Body"].read(), b"there")
        reader.list_objects_v2(Bucket="photos")
        reader.list_multipart_uploads(Bucket="photos")
        self.refused(reader, "put_object", **PLACE, Body=b"x")
        self.refused(reader, "copy_object", Bucket="photos", Key="x", CopySource=PLACE)
        self.refused(reader, "create_multipart_upload", **PLACE)
        self.refused(reader, "delete_object", **PLACE)
        self.refused(reader, "delete_objects", Bucket="photos", Delete=GONE)

    def test_writer(self) -> None:
        """
        Who may write can also overwrite, and cannot delete.
        """
        writer = self.deployment.boto3("writer")
        for body in (b"written", b"overwritten"):
            writer.put_object(Bucket="photos", Key="by writer", Body=body)
        self.wrote("photos", "by writer", b"overwritten")
        self.refused(writer, "delete_object", Bucket="photos", Key="by writer")
        self.refused(writer, "delete_objects", Bucket="photos", Delete={"Objects": [{"Key": "by writer"}]})
        self.refused(writer, "delete_bucket", Bucket="photos")

    def test_strangers(self) -> None:
        """
        Wrong secrets, unknown keys and missing signatures open nothing.
        """
        endpoint = self.deployment.daemon.endpoint
        key, secret = SECRETS["photos"]
        wrong = boto3_client(endpoint, key, secret + "x")
        self.assertEqual(self.refusal("get_object", wrong, **PLACE), (403, "SignatureDoesNotMatch"))
        self.assertEqual(
            self.refusal("put_object", wrong, **PLACE, Body=b"x"), (403, "SignatureDoesNotMatch")
        )
        unknown = boto3_client(endpoint, "NOBODY", secret)
        self.assertEqual(self.refusal("list_buckets", unknown), (403, "InvalidAccessKeyId"))
        answer = fetch(f"{endpoint}/photos/there")
        self.assertEqual(answer.status, 403)
        self.assertIn(b"<Code>AccessDenied</Code>", answer.body)

    def test_wrong_clock(self) -> None:
        """
        Signatures serve for a quarter of an hour, addresses for as long as they say.
        """
        client = self.deployment.boto3("photos", signature_version="s3v4")
        right = botocore.auth.get_current_datetime
        for minutes, refused in ((-16, (403, "RequestTimeTooSkewed")), (16, (403, "RequestTimeTooSkewed"))):
            moved = datetime.timedelta(minutes=minutes)
            self.patch(botocore.auth, "get_current_datetime", lambda moved=moved: right() + moved)
            self.assertEqual(self.refusal("get_object", client, **PLACE), refused)
        past = datetime.timedelta(minutes=16)
        self.patch(botocore.auth, "get_current_datetime", lambda: right() - past)
        valid = client.generate_presigned_url("get_object", Params=PLACE, ExpiresIn=1000)
        expired = client.generate_presigned_url("get_object", Params=PLACE, ExpiresIn=900)
        self.assertEqual(fetch(valid).body, b"there")
        answer = fetch(expired)
        self.assertEqual(answer.status, 403)
        self.assertIn(b"Request has expired", answer.body)


class RefusalsAftermath(Aftermath, BotoCase):
    """After all of the above."""
