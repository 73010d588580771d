"""Tests for percent-encoding and the forms of time."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.encoding import encode_key, http_date, parse_http_date, xml_time

SECONDS = st.integers(0, 4_102_444_800)  # to the year 2100


class KeyTests(SynchronousTestCase):
    """`encode_key`."""

    def test_examples(self) -> None:
        """
        Slashes and the unreserved stay; a space is %20, a plus %2B, hex is upper-case.
        """
        self.assertEqual(encode_key("a/b-c.d_e~f"), "a/b-c.d_e~f")
        self.assertEqual(encode_key("a b+c"), "a%20b%2Bc")
        self.assertEqual(encode_key("é*\r%\n"), "%C3%A9%2A%0D%25%0A")
        self.assertEqual(encode_key("a\n"), "a%0A")

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_round_trip(self, key: str) -> None:
        """What is encoded and decoded again is what was encoded."""
        encoded = encode_key(key)
        self.assertTrue(encoded.isascii())
        self.assertEqual(unquote(encoded), key)


class TimeTests(SynchronousTestCase):
    """Times in documents and in headers."""

    def test_whole_seconds(self) -> None:
        """
        A document's time is cut to the second, so that it agrees with the header.
        """
        self.assertEqual(xml_time(1_795_227_300_999), "2026-11-21T02:15:00.000Z")
        self.assertEqual(http_date(1_795_227_300), "Sat, 21 Nov 2026 02:15:00 GMT")

    @given(SECONDS)
    def test_against_the_standard_library(self, seconds: int) -> None:
        """Both forms are those of the standard library, and a header's date is read back."""
        moment = datetime.fromtimestamp(seconds, UTC)
        self.assertEqual(xml_time(seconds * 1000), f"{moment:%Y-%m-%dT%H:%M:%S}.000Z")
        self.assertEqual(http_date(seconds), format_datetime(moment, usegmt=True))
        self.assertEqual(parse_http_date(http_date(seconds)), seconds)

    def test_old_forms(self) -> None:
        """
        The two historic forms are read (RFC 9110 section 5.6.7).
        """
        for text in (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ):
            self.assertEqual(parse_http_date(text), 784111777)

    def test_unreadable(self) -> None:
        """
        What is no date is none, and never an exception.
        """
        for text in (
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 2024 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT\n",
            "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        ):
            with self.subTest(text=text):
                self.assertIsNone(parse_http_date(text))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Reading never raises."""
        parse_http_date(text)
