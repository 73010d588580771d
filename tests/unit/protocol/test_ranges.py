"""Tests for byte ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.ranges import ByteRange, parse_range

# On an object of 100 bytes.
SERVED = {
    "bytes=0-9": (0, 9),
    "bytes=00-09": (0, 9),
    "bytes=90-": (90, 99),
    "bytes=90-500": (90, 99),
    "bytes=90-99999999999999999999999999": (90, 99),
    "bytes=-10": (90, 99),
    "bytes=-500": (0, 99),
    "bytes=-99999999999999999999999999": (0, 99),
    "bytes=0-": (0, 99),
    "bytes=99-99": (99, 99),
}
IGNORED = (
    *("bytes=9-0", "bytes=a-b", "bytes=", "bytes=-", "bytes=--1", "bytes= 0-1", "bytes=0-1 ", "chars=0-1"),
    *("Bytes=0-1", "bytes=0-0,5-6", "bytes=0", "0-1", "", "bytes=1-2\n", "bytes=١-٢", "bytes=0x1-2"),
)
UNSATISFIABLE = ("bytes=100-", "bytes=100-110", "bytes=-0", "bytes=99999999999999999999999999-")


class ParseTests(SynchronousTestCase):
    """`parse_range`."""

    def test_served(self) -> None:
        """
        One satisfiable range selects what the object has of it.
        """
        for header, (start, end) in SERVED.items():
            with self.subTest(header=header):
                self.assertEqual(parse_range(header, 100), ByteRange(start, end))

    def test_ignored(self) -> None:
        """
        Anything but one well-formed range means the whole object.
        """
        for header in (None, *IGNORED):
            with self.subTest(header=header):
                self.assertIsNone(parse_range(header, 100))

    def test_unsatisfiable(self) -> None:
        """
        A range without a byte of the object is 416, with the size in the answer.
        """
        for header in UNSATISFIABLE:
            with self.subTest(header=header):
                error = self.assertRaises(S3Error, parse_range, header, 100)
                self.assertEqual((error.code, error.status), ("InvalidRange", 416))
                self.assertEqual(error.details, {"RangeRequested": header, "ActualObjectSize": 100})
                self.assertEqual(error.headers, {"Content-Range": "bytes */100"})

    def test_empty_objects_have_no_ranges(self) -> None:
        """
        No range of an empty object can be served.
        """
        for header in ("bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0"):
            with self.subTest(header=header):
                self.assertRaises(S3Error, parse_range, header, 0)

    def test_values(self) -> None:
        """
        A range knows its length and both of its headers.
        """
        part = ByteRange(90, 99)
        self.assertEqual(
            (part.length, part.header, part.content_range(100)), (10, "bytes=90-99", "bytes 90-99/100")
        )

    @given(st.text(), st.integers(0, 10**15))
    def test_anything(self, header: str, size: int) -> None:
        """What is selected lies inside the object; only `S3Error` escapes."""
        for text in (header, f"bytes={header}"):
            try:
                part = parse_range(text, size)
            except S3Error:
                continue
            self.assertTrue(part is None or 0 <= part.start <= part.end < size)

    @given(st.integers(0, 10**25), st.integers(0, 10**25), st.integers(0, 200))
    def test_the_same_as_a_slice(self, start: int, end: int, size: int) -> None:
        """A range selects what a slice would."""
        expected = range(size)[start : end + 1]
        try:
            part = parse_range(f"bytes={start}-{end}", size)
        except S3Error:
            self.assertGreaterEqual(start, size)
        else:
            if part is None:
                self.assertGreater(start, end)
            else:
                self.assertEqual(range(part.start, part.end + 1), expected)
