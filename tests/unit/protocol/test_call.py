"""Tests for reading a request's query and headers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.call import parse_query
from s3orchestrator.protocol.errors import S3Error

from .calls import call

SIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"


class QueryTests(SynchronousTestCase):
    """`Call.parameters`."""

    def test_forms(self) -> None:
        """
        Names without a value are there; both ways to write a space are one; the first counts.
        """
        found = call("GET /b?uploads&prefix=a+b%20c&delimiter=%2F&prefix=x&&max-keys=").parameters
        self.assertEqual(found, {"uploads": "", "prefix": "a b c", "delimiter": "/", "max-keys": ""})

    def test_utf_8(self) -> None:
        """
        Values are UTF-8, escaped or not.
        """
        self.assertEqual(parse_query(b"prefix=%C3%A9\xc3\xa9"), {"prefix": "éé"})

    def test_refused(self) -> None:
        """
        What cannot be decoded exactly once is no URI.
        """
        for query in (b"a=%ff", b"a=\xff", b"a=%", b"a=%4", b"a=%zz", b"a=%00", b"%C3=1", b"a=%ED%A0%80"):
            with self.subTest(query=query):
                self.assertEqual(self.assertRaises(S3Error, parse_query, query).code, "InvalidURI")

    @given(st.binary())
    def test_anything(self, query: bytes) -> None:
        """
        Whatever comes is decoded or refused.
        """
        try:
            parse_query(query)
        except S3Error as error:
            self.assertEqual(error.status, 400)

    def test_no_query(self) -> None:
        """
        Without a query there are no parameters.
        """
        self.assertEqual(call("GET /b").parameters, {})


class HeaderTests(SynchronousTestCase):
    """`Call.header`."""

    def test_values(self) -> None:
        """
        Blanks around values go, bytes stay what they were, several values are joined.
        """
        request = call(x_amz_meta_a=b" caf\xc3\xa9\t")
        request.headers[b"x-amz-meta-b"] = [b"1", b" 2 "]
        self.assertEqual((request.header(b"x-amz-meta-a") or "").encode("latin-1"), b"caf\xc3\xa9")
        self.assertEqual(request.header(b"x-amz-meta-b"), "1,2")
        self.assertIsNone(request.header(b"x-amz-meta-c"))

    def test_moved_into_a_presigned_url(self) -> None:
        """
        A signer may put `x-amz-*` headers into the query; a header that is sent wins.
        """
        request = call(f"PUT /b/k?{SIGNED}&x-amz-acl=private&X-Amz-Meta-A=b+c%C3%A9&x-id=PutObject")
        self.assertEqual(request.header(b"x-amz-acl"), "private")
        self.assertEqual(request.headers_below(b"x-amz-meta-"), {b"x-amz-meta-a": "b cÃ©"})
        request.headers[b"x-amz-acl"] = [b"public-read"]
        self.assertEqual(request.header(b"x-amz-acl"), "public-read")
        self.assertIsNone(request.header(b"x-amz-algorithm"))

    def test_not_moved_without_a_signature_in_the_query(self) -> None:
        """
        In any other request a parameter is only a parameter.
        """
        self.assertIsNone(call("PUT /b/k?x-amz-acl=private").header(b"x-amz-acl"))

    def test_moved_values_cannot_split_a_header(self) -> None:
        """
        A line break that a query can carry is refused where it would become a header.
        """
        request = call(f"PUT /b/k?{SIGNED}&x-amz-meta-a=1%0D%0ASet-Cookie:x")
        error = self.assertRaises(S3Error, request.header, b"x-amz-meta-a")
        self.assertEqual(error.code, "InvalidArgument")

    def test_moved_names_are_names(self) -> None:
        """
        What a query calls a header must be the name of one.
        """
        for name in ("a%0D%0ASet-Cookie", "a%20b", "a:b", "%C3%A9", "a%22"):
            request = call(f"PUT /b/k?{SIGNED}&x-amz-meta-{name}=1")
            error = self.assertRaises(S3Error, request.headers_below, b"x-amz-meta-")
            self.assertEqual(error.code, "InvalidArgument")

    def test_secrets_are_not_shown(self) -> None:
        """
        A call in a log or traceback shows neither its query nor its headers.
        """
        shown = repr(call(f"GET /b/k?{SIGNED}", authorization="AWS4-HMAC-SHA256 Signature=11"))
        self.assertNotIn("Signature", shown)
