"""Tests for the table of operations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.operations import SUBRESOURCES, Level, Operation, Right, identify

from .calls import call

REQUESTS = {
    "GET /": Operation.LIST_BUCKETS,
    "GET /?x-id=ListBuckets": Operation.LIST_BUCKETS,
    "HEAD /b": Operation.HEAD_BUCKET,
    "HEAD /b/": Operation.HEAD_BUCKET,
    "PUT /b": Operation.CREATE_BUCKET,
    "DELETE /b": Operation.DELETE_BUCKET,
    "GET /b?location": Operation.GET_BUCKET_LOCATION,
    "GET /b?location=": Operation.GET_BUCKET_LOCATION,
    "GET /b?versioning": Operation.GET_BUCKET_VERSIONING,
    "GET /b?acl": Operation.GET_BUCKET_ACL,
    "GET /b": Operation.LIST_OBJECTS,
    "GET /b?prefix=acl&delimiter=/": Operation.LIST_OBJECTS,
    "GET /b?list-type=2&x-id=ListObjectsV2": Operation.LIST_OBJECTS_V2,
    "GET /b?versions&prefix=a": Operation.LIST_OBJECT_VERSIONS,
    "GET /b?uploads": Operation.LIST_MULTIPART_UPLOADS,
    "POST /b?delete": Operation.DELETE_OBJECTS,
    "GET /b?policy": Operation.GET_BUCKET_SUBRESOURCE,
    "GET /b?tagging": Operation.GET_BUCKET_SUBRESOURCE,
    "GET /b?object-lock": Operation.GET_BUCKET_SUBRESOURCE,
    "DELETE /b?lifecycle": Operation.DELETE_BUCKET_SUBRESOURCE,
    "DELETE /b?tagging": Operation.DELETE_BUCKET_SUBRESOURCE,
    "GET /b/k": Operation.GET_OBJECT,
    "GET /b/k?partNumber=1&versionId=null": Operation.GET_OBJECT,
    "HEAD /b/k?partNumber=1": Operation.HEAD_OBJECT,
    "PUT /b/k?x-id=PutObject": Operation.PUT_OBJECT,
    "PUT /b//": Operation.PUT_OBJECT,
    "DELETE /b/k": Operation.DELETE_OBJECT,
    "GET /b/k?attributes": Operation.GET_OBJECT_ATTRIBUTES,
    "GET /b/k?acl": Operation.GET_OBJECT_ACL,
    "GET /b/k?tagging": Operation.GET_OBJECT_TAGGING,
    "POST /b/k?uploads": Operation.CREATE_MULTIPART_UPLOAD,
    "PUT /b/k?partNumber=1&uploadId=u": Operation.UPLOAD_PART,
    "POST /b/k?uploadId=u": Operation.COMPLETE_MULTIPART_UPLOAD,
    "DELETE /b/k?uploadId=u": Operation.ABORT_MULTIPART_UPLOAD,
    "GET /b/k?uploadId=u": Operation.LIST_PARTS,
}
REFUSED = {
    "PUT /b/k?tagging": "NotImplemented",
    "PUT /b/k?acl": "NotImplemented",
    "PUT /b/k?retention": "NotImplemented",
    "PUT /b/k?legal-hold": "NotImplemented",
    "DELETE /b/k?tagging": "NotImplemented",
    "GET /b/k?torrent": "NotImplemented",
    "GET /b/k?retention": "NotImplemented",
    "HEAD /b/k?acl": "NotImplemented",
    "POST /b/k?restore": "NotImplemented",
    "POST /b/k?select&select-type=2": "NotImplemented",
    "PUT /b?policy": "NotImplemented",
    "PUT /b?versioning": "NotImplemented",
    "PUT /b?tagging": "NotImplemented",
    "DELETE /b?versioning": "NotImplemented",
    "DELETE /b?object-lock": "NotImplemented",
    "GET /b?inventory": "NotImplemented",
    "GET /b?session": "NotImplemented",
    "GET /b?delete": "NotImplemented",
    "POST /b": "NotImplemented",
    "GET /b/k?uploads": "InvalidRequest",
    "GET /b?acl&policy": "InvalidRequest",
    "PUT /b/k?partNumber=1": "InvalidArgument",
    "GET /b?list-type=3": "InvalidArgument",
    "POST /b/k": "MethodNotAllowed",
    "HEAD /": "MethodNotAllowed",
    "PUT /": "MethodNotAllowed",
    "PATCH /b/k": "MethodNotAllowed",
    "BREW /b": "MethodNotAllowed",
    "OPTIONS /": "MethodNotAllowed",
    "get /b": "MethodNotAllowed",
    "OPTIONS /b/k": "BadRequest",
}


class IdentifyTests(SynchronousTestCase):
    """`identify`."""

    def test_operations(self) -> None:
        """
        Method, address and the presence of a subresource pick the operation.
        """
        for line, operation in REQUESTS.items():
            with self.subTest(line=line):
                self.assertIs(identify(call(line)), operation)

    def test_each_operation_can_be_asked_for(self) -> None:
        """
        No operation is out of reach.
        """
        copies = {Operation.COPY_OBJECT, Operation.UPLOAD_PART_COPY}
        self.assertEqual(set(REQUESTS.values()) | copies, set(Operation))

    def test_refused(self) -> None:
        """
        What is not in the table is refused with its code.
        """
        for line, code in REFUSED.items():
            with self.subTest(line=line):
                self.assertEqual(self.assertRaises(S3Error, identify, call(line)).code, code)

    def test_copies(self) -> None:
        """
        A copy source makes a copy out of an upload.
        """
        self.assertIs(identify(call("PUT /b/k", x_amz_copy_source="b/x")), Operation.COPY_OBJECT)
        part = call("PUT /b/k?partNumber=1&uploadId=u", x_amz_copy_source="b/x", x_amz_copy_source_range="x")
        self.assertIs(identify(part), Operation.UPLOAD_PART_COPY)

    def test_a_range_needs_an_upload(self) -> None:
        """
        Part of an object can only be copied into a part, and nothing without a source.
        """
        for line, source in (
            ("PUT /b/k", {"x_amz_copy_source": "b/x"}),
            ("PUT /b/k", {}),
            ("PUT /b/k?partNumber=1&uploadId=u", {}),
        ):
            request = call(line, x_amz_copy_source_range="bytes=0-1", **source)
            self.assertEqual(self.assertRaises(S3Error, identify, request).code, "InvalidArgument")

    def test_wrong_methods_are_told_the_right_ones(self) -> None:
        """
        405 names the method, what was addressed, and what would have been allowed.
        """
        error = self.assertRaises(S3Error, identify, call("POST /b/k"))
        self.assertEqual(error.details, {"Method": "POST", "ResourceType": "OBJECT"})
        self.assertEqual(error.headers, {"Allow": "GET, HEAD, PUT, DELETE"})
        error = self.assertRaises(S3Error, identify, call("DELETE /"))
        self.assertEqual(error.details, {"Method": "DELETE", "ResourceType": "SERVICE"})
        self.assertEqual(error.headers, {"Allow": "GET"})

    def test_preflight(self) -> None:
        """
        Browsers hear what S3 says for a bucket without CORS rules.
        """
        asked = call("OPTIONS /b/k", origin="http://x", access_control_request_method="PUT")
        self.assertEqual(self.assertRaises(S3Error, identify, asked).code, "AccessForbidden")
        half = call("OPTIONS /b/k", origin="http://x")
        self.assertEqual(self.assertRaises(S3Error, identify, half).code, "BadRequest")

    @given(
        st.sampled_from(["PUT", "POST", "DELETE"]),
        st.sampled_from(["/b", "/b/k"]),
        st.sampled_from(sorted(SUBRESOURCES)),
    )
    def test_a_subresource_is_never_ignored(self, method: str, path: str, name: str) -> None:
        """No write with a subresource is taken for the plain operation."""
        plain = {
            Operation.CREATE_BUCKET,
            Operation.DELETE_BUCKET,
            Operation.PUT_OBJECT,
            Operation.DELETE_OBJECT,
        }
        try:
            self.assertNotIn(identify(call(f"{method} {path}?{name}=")), plain)
        except S3Error as error:
            self.assertIn(error.code, ("NotImplemented", "MethodNotAllowed"))


class TraitTests(SynchronousTestCase):
    """What an operation says about itself."""

    def test_rights(self) -> None:
        """
        Each operation needs the right that its access rule names.
        """
        self.assertIs(Operation.GET_OBJECT.right, Right.READ)
        self.assertIs(Operation.ABORT_MULTIPART_UPLOAD.right, Right.WRITE)
        self.assertIs(Operation.DELETE_OBJECTS.right, Right.DELETE)
        self.assertIs(Operation.DELETE_BUCKET.right, Right.DELETE_BUCKET)

    def test_admission(self) -> None:
        """
        What is asked by GET or HEAD is a read, the rest are writes.
        """
        for line, operation in REQUESTS.items():
            with self.subTest(line=line):
                self.assertEqual(operation.is_write, line.partition(" ")[0] not in ("GET", "HEAD"))

    def test_bodies(self) -> None:
        """
        Few operations move bytes of objects, few take documents.
        """
        objects = {operation for operation in Operation if operation.takes_object}
        documents = {operation for operation in Operation if operation.takes_document}
        self.assertEqual(objects, {Operation.PUT_OBJECT, Operation.UPLOAD_PART})
        self.assertEqual(
            documents,
            {Operation.CREATE_BUCKET, Operation.DELETE_OBJECTS, Operation.COMPLETE_MULTIPART_UPLOAD},
        )
        self.assertEqual(
            [operation for operation in Operation if operation.gives_object], [Operation.GET_OBJECT]
        )

    def test_names(self) -> None:
        """
        An operation is known by S3's name and belongs to one level.
        """
        self.assertEqual(Operation.LIST_OBJECTS_V2.label, "ListObjectsV2")
        self.assertEqual(len({operation.label for operation in Operation}), len(Operation))
        self.assertIs(Operation.LIST_PARTS.level, Level.OBJECT)
