"""Every operation there is, through boto3, in both addressing styles."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from s3orchestrator.protocol.operations import Operation
from tests.clients.boto import PART, BotoCase, etag, etag_of_parts, parts_of, virtual_hosts
from tests.clients.case import Aftermath
from tests.clients.deployment import DOMAIN, content

# Subresources have a test below: for boto3 each is an operation of its own.
NOT_BOTO3S = {"GetBucketSubresource", "DeleteBucketSubresource"}

UNCONFIGURED = {
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_ownership_controls": "OwnershipControlsNotFoundError",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_tagging": "NoSuchTagSet",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
}
EMPTY = (
    "get_bucket_accelerate_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_versioning",
)
DELETABLE = (
    "delete_bucket_cors",
    "delete_bucket_encryption",
    "delete_bucket_lifecycle",
    "delete_bucket_ownership_controls",
    "delete_bucket_policy",
    "delete_bucket_replication",
    "delete_bucket_tagging",
    "delete_bucket_website",
    "delete_public_access_block",
)
UNWRITABLE: dict[str, dict[str, Any]] = {
    "put_bucket_acl": {"ACL": "public-read"},
    "put_bucket_policy": {"Policy": "{}"},
    "put_bucket_tagging": {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "put_bucket_cors": {
        "CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    },
    "put_bucket_lifecycle_configuration": {
        "LifecycleConfiguration": {
            "Rules": [{"ID": "a", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 1}}]
        }
    },
    "put_object_tagging": {"Key": "kept", "Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}},
    "put_object_acl": {"Key": "kept", "ACL": "public-read"},
    "put_object_retention": {"Key": "kept", "Retention": {"Mode": "GOVERNANCE"}},
    "put_object_legal_hold": {"Key": "kept", "LegalHold": {"Status": "ON"}},
    "delete_object_tagging": {"Key": "kept"},
    "restore_object": {"Key": "kept", "RestoreRequest": {"Days": 1}},
    "get_object_torrent": {"Key": "kept"},
}


class Operations:
    """Mixed into a case for each addressing style; together the tests use every operation."""

    used: ClassVar[set[str]] = set()
    bucket: str
    endpoint: str

    def make_client(self: Any, **settings: Any) -> None:
        self.client = self.deployment.boto3("alice", self.endpoint, **settings)
        self.client.meta.events.register(
            "before-call.s3", lambda model, **_: Operations.used.add(model.name), unique_id=self.id()
        )
        self.client.create_bucket(Bucket=self.bucket)
        self.place = {"Bucket": self.bucket, "Key": "a key/with + and %"}

    def test_buckets(self: Any) -> None:
        """
        A bucket is made once, is seen, has a region, and goes when it is empty.
        """
        self.assertEqual(self.refusal("create_bucket", Bucket=self.bucket), (409, "BucketAlreadyOwnedByYou"))
        self.client.head_bucket(Bucket=self.bucket)
        self.assertIn(LOCATION, self.client.get_bucket_location(Bucket=self.bucket).items())
        self.assertIn(self.bucket, [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]])
        grants = self.client.get_bucket_acl(Bucket=self.bucket)["Grants"]
        self.assertEqual([grant["Permission"] for grant in grants], ["FULL_CONTROL"])
        self.assertNotIn("Status", self.client.get_bucket_versioning(Bucket=self.bucket))
        other = f"{self.bucket}-other"
        self.client.create_bucket(Bucket=other)
        self.client.put_object(Bucket=other, Key="in the way", Body=b"")
        self.assertEqual(self.refusal("delete_bucket", Bucket=other), (409, "BucketNotEmpty"))
        self.client.delete_object(Bucket=other, Key="in the way")
        self.client.delete_bucket(Bucket=other)
        self.assertEqual(self.refusal("head_bucket", Bucket=other), (404, "404"))

    def test_objects(self: Any) -> None:
        """
        An object is stored, described, read, copied, and deleted.
        """
        data = content("object", 10_000)
        self.assertEqual(self.put(self.place["Key"], data, self.bucket)["ETag"], etag(data))
        shown = self.client.head_object(**self.place)
        self.assertEqual((shown["ContentLength"], shown["ETag"]), (10_000, etag(data)))
        self.assertEqual(self.get(self.place["Key"], self.bucket), data)
        self.assertEqual(self.client.get_object_tagging(**self.place)["TagSet"], [])
        self.assertEqual(len(self.client.get_object_acl(**self.place)["Grants"]), 1)
        asked = ["ETag", "ObjectSize", "StorageClass", "ObjectParts"]
        described = self.client.get_object_attributes(**self.place, ObjectAttributes=asked)
        self.assertEqual((described["ObjectSize"], f'"{described["ETag"]}"'), (10_000, etag(data)))
        copied = self.client.copy_object(Bucket=self.bucket, Key="copied", CopySource=self.place)
        self.assertEqual(copied["CopyObjectResult"]["ETag"], etag(data))
        self.assertEqual(self.get("copied", self.bucket), data)
        self.client.delete_object(Bucket=self.bucket, Key="copied")
        self.assertEqual(self.refusal("get_object", Bucket=self.bucket, Key="copied"), (404, "NoSuchKey"))

    def test_listings(self: Any) -> None:
        """
        Every way to list shows the same, in pages, with common prefixes; many objects go at once.
        """
        keys = ["a", "b/1", "b/2", "b/c/3", "d", "é", "😀"]
        for key in keys:
            self.client.put_object(Bucket=self.bucket, Key=f"list/{key}", Body=key.encode())
        wanted = {"Bucket": self.bucket, "Prefix": "list/", "PaginationConfig": {"PageSize": 2}}
        for operation, found, name in (
            ("list_objects", "Contents", "Key"),
            ("list_objects_v2", "Contents", "Key"),
            ("list_object_versions", "Versions", "Key"),
        ):
            paginator = self.client.get_paginator(operation)
            listed = [entry[name] for page in paginator.paginate(**wanted) for entry in page.get(found, [])]
            self.assertEqual(listed, [f"list/{key}" for key in keys], operation)
            pages = list(paginator.paginate(**wanted, Delimiter="/"))
            prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
            self.assertEqual(prefixes, ["list/b/"], operation)
        gone = [{"Key": f"list/{key}"} for key in keys] + [{"Key": "list/never there"}]
        deleted = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": gone})
        self.assertEqual([entry["Key"] for entry in deleted["Deleted"]], [entry["Key"] for entry in gone])
        self.assertEqual(self.client.list_objects_v2(Bucket=self.bucket, Prefix="list/")["KeyCount"], 0)

    def test_multipart(self: Any) -> None:
        """
        An object is made of parts, sent and copied, and can be read by them; an upload can be given up.
        """
        parts = parts_of("multipart", 3)
        self.put("source", parts[1], self.bucket)
        key = self.place["Key"] + " in parts"
        place = {"Bucket": self.bucket, "Key": key}
        place["UploadId"] = self.client.create_multipart_upload(**place, Metadata={"a": "b"})["UploadId"]
        source = {"Bucket": self.bucket, "Key": "source"}
        sent = [
            self.client.upload_part(**place, PartNumber=1, Body=parts[0])["ETag"],
            self.client.upload_part_copy(**place, PartNumber=2, CopySource=source)["CopyPartResult"]["ETag"],
            self.client.upload_part(**place, PartNumber=3, Body=parts[2])["ETag"],
        ]
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket)["Uploads"]
        self.assertEqual([(each["Key"], each["UploadId"]) for each in uploads], [(key, place["UploadId"])])
        listed = self.client.list_parts(**place)["Parts"]
        self.assertEqual(
            [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed],
            [(number, len(part), etag(part)) for number, part in enumerate(parts, 1)],
        )
        done = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(sent, 1)]
        made = self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": done})
        self.wrote(self.bucket, key, b"".join(parts))
        self.assertEqual(made["ETag"], etag_of_parts(parts))
        second = self.client.get_object(Bucket=self.bucket, Key=key, PartNumber=2)
        self.assertEqual((second["Body"].read(), second["PartsCount"]), (parts[1], 3))
        self.assertEqual(self.get(key, self.bucket), b"".join(parts))

    def test_given_up(self: Any) -> None:
        """
        An upload that is aborted is gone, with its parts.
        """
        place = dict(self.place)
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        self.client.upload_part(**place, PartNumber=1, Body=content("part", PART))
        self.client.abort_multipart_upload(**place)
        self.assertEqual(self.refusal("list_parts", **place), (404, "NoSuchUpload"))
        self.assertNotIn("Uploads", self.client.list_multipart_uploads(Bucket=self.bucket))

    def test_unconfigured(self: Any) -> None:
        """
        What a bucket could be configured with is reported as not configured, and can be un-configured.
        """
        for operation, code in UNCONFIGURED.items():
            self.assertEqual(self.refusal(operation, Bucket=self.bucket), (404, code), operation)
        for operation in EMPTY:
            reply = getattr(self.client, operation)(Bucket=self.bucket)
            self.assertEqual(set(reply), {"ResponseMetadata"}, operation)
        payer = self.client.get_bucket_request_payment(Bucket=self.bucket)["Payer"]
        self.assertEqual(payer, "BucketOwner")
        for operation in DELETABLE:
            reply = getattr(self.client, operation)(Bucket=self.bucket)
            self.assertEqual(reply["ResponseMetadata"]["HTTPStatusCode"], 204, operation)

    def test_not_implemented(self: Any) -> None:
        """
        What cannot be done is said so, and is not taken for something that can.
        """
        data = content("kept", 100)
        self.put("kept", data, self.bucket)
        before = self.client.head_object(Bucket=self.bucket, Key="kept")["LastModified"]
        for operation, parameters in UNWRITABLE.items():
            refused = self.refusal(operation, Bucket=self.bucket, **parameters)
            self.assertEqual(refused, (501, "NotImplemented"), operation)
        shown = self.client.head_object(Bucket=self.bucket, Key="kept")
        self.assertEqual((shown["LastModified"], shown["ETag"]), (before, etag(data)))


LOCATION = ("LocationConstraint", None)


class PathStyleTests(Operations, BotoCase):
    """`http://host/bucket/key`."""

    def setUp(self) -> None:
        super().setUp()
        self.bucket = f"path-{self._testMethodName.replace('_', '-')}"
        self.make_client()


class VirtualHostedStyleTests(Operations, BotoCase):
    """`http://bucket.host/key`."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(socket, "getaddrinfo", virtual_hosts())
        self.endpoint = f"http://{DOMAIN}:{self.deployment.daemon.port}"
        self.bucket = f"virtual.{self._testMethodName.replace('_', '-')}"
        self.make_client(s3={"addressing_style": "virtual"})


class OperationsAftermath(Aftermath, BotoCase):
    """After all of the above."""

    def test_every_operation_was_used(self) -> None:
        """
        Nothing in the table of operations was left out.
        """
        self.assertEqual({operation.label for operation in Operation} - Operations.used, NOT_BOTO3S)
