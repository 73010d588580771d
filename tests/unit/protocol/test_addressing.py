"""Tests for what a request names."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.addressing import (
    is_servable_bucket_name,
    is_valid_bucket_name,
    parse_part_number,
    parse_version_id,
    resolve,
)
from s3orchestrator.protocol.errors import S3Error

KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300
).filter(lambda key: len(key.encode()) <= 1024)

PATHS = [
    (b"/", (None, None)),
    (b"/b", ("b", None)),
    (b"/b/", ("b", None)),
    (b"/b//", ("b", "/")),
    (b"/b/k", ("b", "k")),
    (b"/b/a//b/", ("b", "a//b/")),
    (b"/b/./../x", ("b", "./../x")),
    (b"/b/a%2Fb", ("b", "a/b")),
    (b"/b/a+b", ("b", "a+b")),
    (b"/b/%252F", ("b", "%2F")),
    (b"/b/%C3%A9", ("b", "é")),
    (b"/b/\xc3\xa9", ("b", "é")),
    (b"/b/e%CC%81", ("b", "e\u0301")),
    (b"/b/%01%09%0A", ("b", "\x01\t\n")),
    (b"/b/%3Fa", ("b", "?a")),
    (b"/b/" + b"k" * 1024, ("b", "k" * 1024)),
]
REFUSED = [
    (b"", "InvalidURI"),
    (b"*", "InvalidURI"),
    (b"b/k", "InvalidURI"),
    (b"/b/%", "InvalidURI"),
    (b"/b/%4", "InvalidURI"),
    (b"/b/%zz", "InvalidURI"),
    (b"/b/%ff", "InvalidURI"),
    (b"/b/\xff", "InvalidURI"),
    (b"/b/%ED%A0%80", "InvalidURI"),
    (b"/b/a%00", "InvalidURI"),
    (b"//k", "InvalidBucketName"),
    (b"/b/" + b"k" * 1025, "KeyTooLongError"),
    (b"/b/" + b"%C3%A9" * 513, "KeyTooLongError"),
]


class ResolveTests(SynchronousTestCase):
    """`resolve`."""

    def test_path_style(self) -> None:
        """
        The path is decoded once and never normalised.
        """
        for path, expected in PATHS:
            with self.subTest(path=path):
                self.assertEqual(resolve("localhost:9000", path), expected)

    def test_refused(self) -> None:
        """
        What is no path, no UTF-8 or too long has its code.
        """
        for path, code in REFUSED:
            with self.subTest(path=path):
                self.assertEqual(self.assertRaises(S3Error, resolve, "", path).code, code)

    def test_too_long_says_how_long(self) -> None:
        """
        `KeyTooLongError` counts bytes, not characters.
        """
        error = self.assertRaises(S3Error, resolve, "", b"/b/" + b"%C3%A9" * 600)
        self.assertEqual(error.details, {"Size": 1200, "MaxSizeAllowed": 1024})

    def test_virtual_hosted_style(self) -> None:
        """
        The configured suffix is taken off the host, whatever dots the bucket has.
        """
        domains = ("s3.example.com", "example.com", "Other.Test")
        for host, path, expected in [
            ("photos.s3.example.com", b"/k", ("photos", "k")),
            ("photos.s3.example.com:9000", b"/", ("photos", None)),
            ("photos.s3.example.com", b"//", ("photos", "/")),
            ("my.photos.s3.example.com", b"/a/b", ("my.photos", "a/b")),
            ("photos.example.com", b"/k", ("photos", "k")),
            ("PHOTOS.other.test.", b"/k", ("photos", "k")),
            ("s3.example.com", b"/photos/k", ("photos", "k")),
            ("example.com", b"/photos", ("photos", None)),
            ("127.0.0.1:9000", b"/photos/k", ("photos", "k")),
            ("[::1]:9000", b"/photos/k", ("photos", "k")),
            (".example.com", b"/photos/k", ("photos", "k")),
            ("notexample.com", b"/photos/k", ("photos", "k")),
            ("", b"/photos/k", ("photos", "k")),
        ]:
            with self.subTest(host=host, path=path):
                self.assertEqual(resolve(host, path, domains), expected)

    @given(KEYS, st.text(max_size=3))
    def test_round_trip(self, key: str, safe: str) -> None:
        """A key comes back whatever a client chose to escape."""
        safe_ascii = safe.encode("ascii", "ignore").replace(b"%", b"").replace(b"?", b"")
        path = quote(f"/b/{key}", safe=b"/" + safe_ascii).encode()
        self.assertEqual(resolve("", path), ("b", key))

    @given(st.binary(), st.text())
    def test_anything(self, path: bytes, host: str) -> None:
        """Whatever comes is an address or an error for the client."""
        try:
            resolve(host, b"/" + path, ("example.com",))
        except S3Error as error:
            self.assertEqual(error.status, 400)


class NameTests(SynchronousTestCase):
    """Names of buckets."""

    def test_valid(self) -> None:
        """
        S3's rules for a bucket that is to be made.
        """
        for name in ("abc", "a-b", "a.b", "0.a.1", "a" * 63, "1.2.3", "192.168.1.x", "a--b"):
            with self.subTest(name=name):
                self.assertTrue(is_valid_bucket_name(name))

    def test_invalid(self) -> None:
        """
        What S3's rules exclude, and our own paths.
        """
        for name in (
            *("", "ab", "a" * 64, "Abc", "a_b", "a..b", "a.-b", "a-.b", "-ab", "ab-", ".ab", "ab."),
            *("192.168.1.1", "999.1.1.1", "xn--abc", "sthree-abc", "amzn-s3-demo-a", "a-s3alias", "a--ol-s3"),
            *("a--x-s3", "a b", "äbc", "abc\n", "a/b", "health", "metrics", "admin", "~s3o"),
        ):
            with self.subTest(name=name):
                self.assertFalse(is_valid_bucket_name(name))

    def test_servable(self) -> None:
        """
        The configuration file may keep names that are older than the rules.
        """
        for name in ("abc", "ui2", "A", "My_Bucket", "a..b", "_x", "a" * 255):
            with self.subTest(name=name):
                self.assertTrue(is_servable_bucket_name(name))
        for name in ("", ".", "..", ".hidden", "~x", "ui", "health", "a/b", "a b", "a" * 256, "a\n", "é"):
            with self.subTest(name=name):
                self.assertFalse(is_servable_bucket_name(name))

    @given(st.text(alphabet="ab0.-_A~", max_size=70))
    def test_what_can_be_made_can_be_served(self, name: str) -> None:
        """The looser rule holds for every name that the strict one lets pass."""
        if is_valid_bucket_name(name):
            self.assertTrue(is_servable_bucket_name(name))


class ParameterTests(SynchronousTestCase):
    """Part numbers and version ids."""

    def test_part_numbers(self) -> None:
        """
        1 to 10000 and nothing else.
        """
        self.assertEqual([parse_part_number(text) for text in ("1", "10000", "007")], [1, 10000, 7])
        for text in (None, "", "0", "10001", "-1", "1.0", "a", " 1", "١", "1" * 5000):
            with self.subTest(text=text):
                error = self.assertRaises(S3Error, parse_part_number, text)
                self.assertEqual(
                    (error.code, error.details["ArgumentName"]), ("InvalidArgument", "partNumber")
                )

    def test_version_ids(self) -> None:
        """
        Absent is no version; what nobody could have given out is refused.
        """
        self.assertEqual(
            [parse_version_id(text) for text in (None, "null", "3sL4-_.~")], [None, "null", "3sL4-_.~"]
        )
        for text in ("", "a b", "é", "x" * 1025, "a\n"):
            with self.subTest(text=text):
                self.assertEqual(self.assertRaises(S3Error, parse_version_id, text).code, "InvalidArgument")
