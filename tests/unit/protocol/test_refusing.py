"""Tests for headers that must not be ignored."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.operations import identify
from s3orchestrator.protocol.refusing import refuse_unsupported

from .calls import call

# Request line, header, value -> code.
REFUSED = [
    ("PUT /b/k", "x-amz-server-side-encryption-customer-key", "k", "NotImplemented"),
    ("GET /b/k", "x-amz-server-side-encryption-customer-algorithm", "AES256", "NotImplemented"),
    ("PUT /b/k", "x-amz-copy-source-server-side-encryption-customer-key", "k", "NotImplemented"),
    ("PUT /b/k", "x-amz-server-side-encryption", "AES256", "NotImplemented"),
    ("PUT /b/k", "x-amz-server-side-encryption", "aws:kms", "NotImplemented"),
    ("PUT /b/k", "x-amz-server-side-encryption", "ROT13", "InvalidEncryptionAlgorithmError"),
    ("PUT /b/k", "x-amz-server-side-encryption-aws-kms-key-id", "k", "NotImplemented"),
    ("PUT /b/k", "x-amz-tagging", "a=1", "NotImplemented"),
    ("POST /b/k?uploads", "x-amz-tagging", "a=1", "NotImplemented"),
    ("PUT /b/k", "x-amz-object-lock-mode", "GOVERNANCE", "NotImplemented"),
    ("PUT /b/k", "x-amz-object-lock-legal-hold", "ON", "NotImplemented"),
    ("PUT /b/k", "x-amz-grant-read", "id=1", "NotImplemented"),
    ("PUT /b", "x-amz-grant-full-control", "id=1", "NotImplemented"),
    ("PUT /b/k", "x-amz-website-redirect-location", "/x", "NotImplemented"),
    ("PUT /b/k", "x-amz-write-offset-bytes", "0", "NotImplemented"),
    ("DELETE /b/k", "x-amz-if-match-size", "1", "NotImplemented"),
    ("DELETE /b/k", "x-amz-if-match-last-modified-time", "x", "NotImplemented"),
    ("DELETE /b/k", "if-none-match", "*", "NotImplemented"),
    ("PUT /b/k", "if-unmodified-since", "x", "NotImplemented"),
    ("POST /b/k?uploadId=u", "if-modified-since", "x", "NotImplemented"),
    ("PUT /b/k", "x-amz-acl", "public-read", "AccessControlListNotSupported"),
    ("PUT /b/k", "x-amz-acl", "bucket-owner-read", "AccessControlListNotSupported"),
    ("PUT /b/k", "x-amz-acl", "mine", "InvalidArgument"),
    ("PUT /b", "x-amz-acl", "public-read-write", "AccessControlListNotSupported"),
    ("PUT /b", "x-amz-bucket-object-lock-enabled", "true", "NotImplemented"),
    ("PUT /b", "x-amz-bucket-object-lock-enabled", "maybe", "InvalidArgument"),
    ("PUT /b", "x-amz-object-ownership", "ObjectWriter", "NotImplemented"),
    ("PUT /b", "x-amz-object-ownership", "Nobody", "InvalidArgument"),
]
ACCEPTED = [
    ("PUT /b/k", "x-amz-acl", "private"),
    ("PUT /b/k", "x-amz-acl", "bucket-owner-full-control"),
    ("PUT /b/k", "x-amz-tagging", ""),
    ("PUT /b/k", "x-amz-request-payer", "requester"),
    ("PUT /b/k", "x-amz-meta-grant", "1"),
    ("PUT /b/k", "if-none-match", "*"),
    ("DELETE /b/k", "if-match", "*"),
    ("DELETE /b/k", "x-amz-bypass-governance-retention", "true"),
    ("GET /b/k", "if-modified-since", "x"),
    ("PUT /b", "x-amz-bucket-object-lock-enabled", "False"),
    ("PUT /b", "x-amz-object-ownership", "BucketOwnerEnforced"),
]


class RefuseTests(SynchronousTestCase):
    """`refuse_unsupported`."""

    def test_refused(self) -> None:
        """
        What we would have to ignore is refused.
        """
        for line, name, value, code in REFUSED:
            with self.subTest(line=line, name=name, value=value):
                request = call(line)
                request.headers[name.encode()] = [value.encode()]
                error = self.assertRaises(S3Error, refuse_unsupported, request, identify(request))
                self.assertEqual(error.code, code)
                if code == "NotImplemented":
                    self.assertEqual(error.details, {"Header": name})

    def test_accepted(self) -> None:
        """
        What changes nothing passes.
        """
        for line, name, value in ACCEPTED:
            with self.subTest(line=line, name=name, value=value):
                request = call(line)
                request.headers[name.encode()] = [value.encode()]
                refuse_unsupported(request, identify(request))

    def test_hidden_in_a_presigned_url(self) -> None:
        """
        A header that was moved into the query is no less a demand.
        """
        request = call("PUT /b/k?X-Amz-Signature=0&x-amz-object-lock-mode=COMPLIANCE")
        error = self.assertRaises(S3Error, refuse_unsupported, request, identify(request))
        self.assertEqual(error.details, {"Header": "x-amz-object-lock-mode"})
