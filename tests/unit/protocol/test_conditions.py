"""Tests for conditional requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import NoSuchKey, PreconditionFailed
from s3orchestrator.protocol.conditions import ReadCondition, WriteCondition, parse_etags
from s3orchestrator.protocol.encoding import http_date

from .calls import NOW, call

MODIFIED = int(NOW) - 1000
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
HIT, MISS = f'"{ETAG}"', '"other"'
BEFORE, SAME, AFTER = (http_date(MODIFIED + shift) for shift in (-1, 0, 1))

# If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since -> verdict, or the header that failed.
READS = [
    ((None, None, None, None), "serve"),
    ((HIT, None, None, None), "serve"),
    (("*", None, None, None), "serve"),
    ((MISS, None, None, None), "If-Match"),
    ((HIT, None, None, BEFORE), "serve"),
    ((MISS, None, None, AFTER), "If-Match"),
    ((None, None, None, BEFORE), "If-Unmodified-Since"),
    ((None, None, None, SAME), "serve"),
    ((None, None, None, AFTER), "serve"),
    ((None, HIT, None, None), "not_modified"),
    ((None, "*", None, None), "not_modified"),
    ((None, MISS, None, None), "serve"),
    ((None, HIT, BEFORE, None), "not_modified"),
    ((None, MISS, AFTER, None), "serve"),
    ((None, None, BEFORE, None), "serve"),
    ((None, None, SAME, None), "not_modified"),
    ((None, None, AFTER, None), "not_modified"),
    ((HIT, HIT, None, None), "not_modified"),
    ((HIT, None, AFTER, None), "not_modified"),
    ((None, MISS, None, BEFORE), "If-Unmodified-Since"),
    ((None, None, "not a date", "not a date"), "serve"),
    ((None, None, http_date(int(NOW) + 60), None), "serve"),
    ((None, f'"x", W/{HIT}', None, None), "not_modified"),
    ((ETAG, None, None, None), "serve"),
    ((f"{ETAG},x", None, None, None), "serve"),
    (("", None, None, None), "If-Match"),
]
NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


class ReadTests(SynchronousTestCase):
    """`ReadCondition`."""

    def decide(self, prefix: str, values: tuple[str | None, ...]) -> str:
        """Return the verdict on the object of these tests, or the header that failed."""
        headers = {
            prefix + name: value for name, value in zip(NAMES, values, strict=True) if value is not None
        }
        request = call("GET /b/k", **headers)
        condition = ReadCondition.of_copy_source(request) if prefix else ReadCondition.of(request)
        try:
            return condition.check(ETAG, MODIFIED * 1000 + 999)
        except PreconditionFailed as error:
            return str(error)

    def test_reads(self) -> None:
        """
        The order is that of RFC 9110, whole seconds on both sides.
        """
        for values, verdict in READS:
            with self.subTest(values=values):
                self.assertEqual(self.decide("", values), verdict)

    def test_copy_sources(self) -> None:
        """
        For the source of a copy every "no" is a failure, never a 304.
        """
        for values, verdict in READS:
            with self.subTest(values=values):
                told = self.decide("x-amz-copy-source-", values)
                if verdict == "serve":
                    self.assertEqual(told, "serve")
                else:
                    self.assertTrue(told.startswith("x-amz-copy-source-If-"), told)

    def test_empty_is_falsy(self) -> None:
        """
        Without conditions there is nothing to look up.
        """
        self.assertFalse(ReadCondition.of(call()))
        self.assertFalse(ReadCondition.of_copy_source(call("PUT /b/k", if_match="x")))
        self.assertTrue(ReadCondition.of(call(if_match="*")))
        self.assertFalse(ReadCondition.of(call(if_modified_since="not a date")))


class WriteTests(SynchronousTestCase):
    """`WriteCondition`."""

    def test_table(self) -> None:
        """
        What a write demands of the object that is there, or of its absence.
        """
        for name, value, existing, failure in [
            ("if_none_match", "*", ETAG, PreconditionFailed),
            ("if_none_match", "*", None, None),
            ("if_none_match", HIT, ETAG, PreconditionFailed),
            ("if_none_match", MISS, ETAG, None),
            ("if_none_match", HIT, None, None),
            ("if_match", HIT, ETAG, None),
            ("if_match", MISS, ETAG, PreconditionFailed),
            ("if_match", HIT, None, NoSuchKey),
            ("if_match", "*", ETAG, None),
            ("if_match", "*", None, NoSuchKey),
        ]:
            with self.subTest(name=name, value=value, existing=existing):
                condition = WriteCondition.of(call("PUT /b/k", **{name: value}))
                self.assertTrue(condition)
                if failure is None:
                    condition.check(existing)
                else:
                    self.assertRaises(failure, condition.check, existing)

    def test_both(self) -> None:
        """
        Two conditions must both hold.
        """
        condition = WriteCondition.of(call("PUT /b/k", if_match=HIT, if_none_match="*"))
        self.assertEqual(str(self.assertRaises(PreconditionFailed, condition.check, ETAG)), "If-None-Match")

    def test_empty_is_falsy(self) -> None:
        """
        Without conditions nothing is refused.
        """
        condition = WriteCondition.of(call("PUT /b/k"))
        self.assertFalse(condition)
        condition.check(None)
        condition.check(ETAG)


class ETagTests(SynchronousTestCase):
    """Lists of ETags."""

    def test_forms(self) -> None:
        """
        Quoted, bare, weak, with commas inside, in a list.
        """
        self.assertEqual(parse_etags('"a", W/"b" ,c,"d,e"'), ("a", "b", "c", "d,e"))
        self.assertEqual(parse_etags("*"), ("*",))
        self.assertEqual(parse_etags(""), ())
        self.assertIsNone(parse_etags(None))

    @given(
        st.lists(
            st.text(
                st.characters(codec="ascii", exclude_characters='"', exclude_categories=["Cc"]), min_size=1
            )
        )
    )
    def test_round_trip(self, tags: list[str]) -> None:
        """Whatever stands between quotes comes back."""
        self.assertEqual(parse_etags(", ".join(f'"{tag}"' for tag in tags)), tuple(tags))
