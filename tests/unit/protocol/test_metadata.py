"""Tests for what is stored beside the bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata, response_overrides, without_aws_chunked

from .calls import call

LATIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=20)


class OfTests(SynchronousTestCase):
    """`ObjectMetadata.of`."""

    def test_nothing_said(self) -> None:
        """
        Without headers there is S3's default type and no more.
        """
        self.assertEqual(
            ObjectMetadata.of(call("PUT /b/k")).response_headers(), {"Content-Type": "binary/octet-stream"}
        )
        self.assertEqual(ObjectMetadata.of(call("PUT /b/k", content_type="")), ObjectMetadata())

    def test_everything_said(self) -> None:
        """
        What was sent is what GET and HEAD answer, names of user metadata in lower case.
        """
        stored = ObjectMetadata.of(
            call(
                "PUT /b/k",
                content_type="text/plain; charset=utf-8",
                cache_control="no-cache",
                content_disposition='attachment; filename="x"',
                content_encoding="gzip",
                content_language="de",
                expires="never, really",
                x_amz_meta_a="1",
                x_amz_meta_empty="",
                x_amz_meta_name=b"caf\xc3\xa9",
                x_amz_storage_class="STANDARD_IA",
                x_custom="not kept",
            )
        )
        self.assertEqual(
            stored.response_headers(),
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Cache-Control": "no-cache",
                "Content-Disposition": 'attachment; filename="x"',
                "Content-Encoding": "gzip",
                "Content-Language": "de",
                "Expires": "never, really",
                "x-amz-meta-a": "1",
                "x-amz-meta-empty": "",
                "x-amz-meta-name": "cafÃ©",
            },
        )

    def test_the_transfer_is_not_kept(self) -> None:
        """
        `aws-chunked` says how the bytes travelled, not what they are.
        """
        for sent, kept in {
            "aws-chunked": "",
            "AWS-Chunked": "",
            "aws-chunked,gzip": "gzip",
            "gzip, aws-chunked": "gzip",
            "aws-chunked,gzip,aws-chunked": "gzip",
            "gzip, br": "gzip, br",
        }.items():
            with self.subTest(sent=sent):
                self.assertEqual(without_aws_chunked(sent), kept)
                stored = ObjectMetadata.of(call("PUT /b/k", content_encoding=sent))
                self.assertEqual(stored.headers.get("Content-Encoding", ""), kept)

    def test_limit(self) -> None:
        """
        Names and values together may have 2 KiB, bytes counted.
        """
        ObjectMetadata.of(call("PUT /b/k", x_amz_meta_abcd="é" * 1022))
        error = self.assertRaises(
            S3Error, ObjectMetadata.of, call("PUT /b/k", x_amz_meta_abcd="é" * 1022 + "x")
        )
        self.assertEqual(error.code, "MetadataTooLarge")
        self.assertEqual(error.details, {"Size": 2049, "MaxSizeAllowed": 2048})

    def test_refused(self) -> None:
        """
        Unknown storage classes, and bytes that no answer could carry.
        """
        for name, value, code in [
            ("x_amz_storage_class", "CHEAP", "InvalidStorageClass"),
            ("x_amz_meta_a", b"a\x00b", "InvalidArgument"),
            ("content_type", b"text/\x01", "InvalidArgument"),
            ("cache_control", b"a\rb", "InvalidArgument"),
        ]:
            with self.subTest(name=name):
                request = call("PUT /b/k", **{name: value})
                self.assertEqual(self.assertRaises(S3Error, ObjectMetadata.of, request).code, code)

    def test_joined(self) -> None:
        """
        A name that comes twice is one, its values joined.
        """
        request = call("PUT /b/k")
        request.headers[b"x-amz-meta-a"] = [b"1", b"2"]
        self.assertEqual(ObjectMetadata.of(request).user, {"a": "1,2"})


class JsonTests(SynchronousTestCase):
    """The form in the ledger."""

    @given(
        LATIN,
        st.dictionaries(st.sampled_from(["Expires", "Cache-Control"]), LATIN),
        st.dictionaries(NAMES, LATIN),
    )
    def test_round_trip(self, kind: str, headers: dict[str, str], user: dict[str, str]) -> None:
        """What is stored and read again is equal, and the text is ASCII."""
        stored = ObjectMetadata(kind, headers, user, "GLACIER")
        self.assertTrue(stored.to_json().isascii())
        self.assertEqual(ObjectMetadata.from_json(stored.to_json()), stored)

    def test_stable(self) -> None:
        """
        Equal metadata has equal text; the default costs two bytes.
        """
        self.assertEqual(ObjectMetadata().to_json(), "{}")
        self.assertEqual(ObjectMetadata.from_json("{}"), ObjectMetadata())
        self.assertEqual(
            ObjectMetadata(user={"b": "1", "a": "2"}).to_json(),
            ObjectMetadata(user={"a": "2", "b": "1"}).to_json(),
        )

    @given(st.dictionaries(NAMES, LATIN.map(str.strip), max_size=5))
    def test_bytes_come_back(self, user: dict[str, str]) -> None:
        """From a request through the ledger to the answer no byte is lost."""
        request = call("PUT /b/k")
        for name, value in user.items():
            request.headers[b"x-amz-meta-" + name.encode()] = [value.encode("latin-1")]
        stored = ObjectMetadata.from_json(ObjectMetadata.of(request).to_json())
        for name, value in user.items():
            self.assertEqual(
                stored.response_headers()["x-amz-meta-" + name].encode("latin-1"), value.encode("latin-1")
            )


class OverrideTests(SynchronousTestCase):
    """`response-*` parameters."""

    def test_overrides(self) -> None:
        """
        The six that S3 knows are put in place of what was stored.
        """
        query = "response-content-type=text/html&response-expires=x&response-content-disposition=%C3%A9"
        found = response_overrides(call(f"GET /b/k?{query}"))
        self.assertEqual(found, {"Content-Type": "text/html", "Expires": "x", "Content-Disposition": "Ã©"})
        self.assertEqual(response_overrides(call("GET /b/k?prefix=x&response-etag=y")), {})

    def test_no_line_breaks(self) -> None:
        """
        A value that would split the answer is refused.
        """
        request = call("GET /b/k?response-content-type=a%0D%0Ab")
        self.assertEqual(self.assertRaises(S3Error, response_overrides, request).code, "InvalidArgument")
