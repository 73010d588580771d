"""Tests for the headers of a copy."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.copysource import (
    CopySource,
    check_tagging_directive,
    parse_copy_range,
    parse_copy_source,
    replaces_metadata,
)
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.ranges import ByteRange

from .calls import call
from .test_addressing import KEYS

SOURCES = {
    "b/k": CopySource("b", "k"),
    "/b/k": CopySource("b", "k"),
    "b//k": CopySource("b", "/k"),
    "b%2Fk%2Fl": CopySource("b", "k/l"),
    "%2Fb%2Fk": CopySource("b", "k"),
    "b/a+b%2Bc": CopySource("b", "a b+c"),
    "b/k?versionId=null": CopySource("b", "k", "null"),
    "b/k%3FversionId=1?versionId=2": CopySource("b", "k?versionId=1", "2"),
    "b/k%3FversionId=1": CopySource("b", "k?versionId=1"),
    "b/k?other=1": CopySource("b", "k?other=1"),
    "b/%C3%A9": CopySource("b", "é"),
    "My_Old.Bucket/k": CopySource("My_Old.Bucket", "k"),
}
MALFORMED = (
    "",
    "/",
    "b",
    "b/",
    "/b/",
    "//k",
    "b/%",
    "b/%zz",
    "b/%ff",
    "b/%00",
    "b b/k",
    "~x/k",
    "b/" + "k" * 1025,
)


class SourceTests(SynchronousTestCase):
    """`x-amz-copy-source`."""

    def test_sources(self) -> None:
        """
        Bucket, key and version, however the SDK escaped them.
        """
        for text, source in SOURCES.items():
            with self.subTest(text=text):
                self.assertEqual(parse_copy_source(text), source)

    def test_raw_bytes(self) -> None:
        """
        A key that was sent unescaped is UTF-8 as well.
        """
        self.assertEqual(CopySource.of(call("PUT /b/k", x_amz_copy_source="b/é")), CopySource("b", "é"))

    def test_malformed(self) -> None:
        """
        What names no object is an invalid argument.
        """
        for text in (*MALFORMED, "b/k?versionId=", "b/k?versionId=a b"):
            with self.subTest(text=text):
                self.assertEqual(self.assertRaises(S3Error, parse_copy_source, text).code, "InvalidArgument")

    @given(KEYS)
    def test_round_trip(self, key: str) -> None:
        """Any key can be named."""
        self.assertEqual(parse_copy_source(quote(f"b/{key}")), CopySource("b", key))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Whatever comes is a source or an error for the client."""
        try:
            parse_copy_source(text)
        except S3Error as error:
            self.assertEqual(error.code, "InvalidArgument")


class DirectiveTests(SynchronousTestCase):
    """`x-amz-metadata-directive` and its like."""

    def test_metadata(self) -> None:
        """
        COPY is the default, REPLACE the other, and there is no third.
        """
        self.assertFalse(replaces_metadata(call("PUT /b/k")))
        self.assertFalse(replaces_metadata(call("PUT /b/k", x_amz_metadata_directive="COPY")))
        self.assertTrue(replaces_metadata(call("PUT /b/k", x_amz_metadata_directive="REPLACE")))
        for word in ("replace", "MOVE"):
            request = call("PUT /b/k", x_amz_metadata_directive=word)
            self.assertEqual(self.assertRaises(S3Error, replaces_metadata, request).code, "InvalidArgument")

    def test_tagging(self) -> None:
        """
        Known words change nothing, others are refused.
        """
        check_tagging_directive(call("PUT /b/k", x_amz_tagging_directive="REPLACE"))
        request = call("PUT /b/k", x_amz_tagging_directive="x")
        self.assertRaises(S3Error, check_tagging_directive, request)


class RangeTests(SynchronousTestCase):
    """`x-amz-copy-source-range`."""

    def test_ranges(self) -> None:
        """
        Both ends are given and lie in the source.
        """
        self.assertIsNone(parse_copy_range(None, 100))
        self.assertEqual(parse_copy_range("bytes=0-99", 100), ByteRange(0, 99))
        for header in (
            "",
            "bytes=0-",
            "bytes=-5",
            "bytes=0-100",
            "bytes=5-4",
            "0-1",
            "bytes=0-1,2-3",
            "bytes=1-2\n",
        ):
            with self.subTest(header=header):
                error = self.assertRaises(S3Error, parse_copy_range, header, 100)
                self.assertEqual(error.details["ArgumentName"], "x-amz-copy-source-range")
