"""Tests for the parameters of listings."""

from __future__ import annotations

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.listing import START, Position
from s3orchestrator.protocol.listqueries import AttributesQuery, BucketsQuery, ListQuery, PartsQuery

LISTINGS = {
    "max-keys": (ListQuery.objects, ListQuery.objects_v2, ListQuery.versions),
    "max-uploads": (ListQuery.uploads,),
    "max-parts": (PartsQuery.of,),
}


@frozen
class Bucket:
    """A bucket by name."""

    name: str


class LimitTests(SynchronousTestCase):
    """`max-keys` and its like."""

    def test_limits(self) -> None:
        """
        Absent, empty and too much are a full page; zero is none.
        """
        for name, readers in LISTINGS.items():
            for read in readers:
                for text, limit in {"": 1000, "1": 1, "0": 0, "1000": 1000, "5000": 1000, "007": 7}.items():
                    self.assertEqual(read({name: text}).limit, limit)
                self.assertEqual(read({}).limit, 1000)

    def test_refused(self) -> None:
        """
        Negative numbers, no numbers, numbers beyond 32 bits.
        """
        for name, readers in LISTINGS.items():
            for read in readers:
                for text in ("-1", "a", "1.5", " 1", "2147483648", "9" * 5000, "١"):
                    with self.subTest(name=name, text=text):
                        error = self.assertRaises(S3Error, read, {name: text})
                        self.assertEqual(
                            (error.code, error.details["ArgumentName"]), ("InvalidArgument", name)
                        )

    def test_encoding_type(self) -> None:
        """
        `url`, exactly, or nothing.
        """
        for readers in LISTINGS.values():
            for read in readers:
                self.assertTrue(read({"encoding-type": "url"}).url)
                self.assertFalse(read({"encoding-type": ""}).url)
                self.assertFalse(read({}).url)
                self.assertRaises(S3Error, read, {"encoding-type": "URL"})


class PositionTests(SynchronousTestCase):
    """Where a listing begins."""

    def test_objects(self) -> None:
        """
        A marker goes on after a key, or after all of a common prefix.
        """
        self.assertEqual(ListQuery.objects({}).position, START)
        self.assertEqual(ListQuery.objects({"marker": "a/"}).position, Position("a/"))
        query = ListQuery.objects({"marker": "a/", "delimiter": "/"})
        self.assertEqual((query.position, query.marker), (Position("a/", below=True), "a/"))

    def test_objects_v2(self) -> None:
        """
        A token wins over start-after, an empty one is as good as none; all are repeated.
        """
        self.assertEqual(
            ListQuery.objects_v2({"start-after": "a/", "delimiter": "/"}).position, Position("a/")
        )
        token = Position("b/", below=True).token()
        query = ListQuery.objects_v2({"start-after": "a", "continuation-token": token})
        self.assertEqual((query.position, query.start_after), (Position("b/", below=True), "a"))
        query = ListQuery.objects_v2({"start-after": "a", "continuation-token": ""})
        self.assertEqual((query.position, query.token), (Position("a"), ""))
        self.assertRaises(S3Error, ListQuery.objects_v2, {"continuation-token": "photos/a"})

    def test_owner(self) -> None:
        """
        Only `true` asks for owners.
        """
        asked = [
            ListQuery.objects_v2({"fetch-owner": text}).fetch_owner for text in ("true", "", "false", "1")
        ]
        self.assertEqual(asked, [True, False, False, False])

    def test_versions(self) -> None:
        """
        A version marker needs a key marker.
        """
        query = ListQuery.versions({"key-marker": "a", "version-id-marker": "null"})
        self.assertEqual(query.position, Position("a", id="null"))
        self.assertRaises(S3Error, ListQuery.versions, {"version-id-marker": "null"})

    def test_uploads(self) -> None:
        """
        An upload marker without a key marker is ignored.
        """
        self.assertEqual(ListQuery.uploads({"upload-id-marker": "u"}).position, START)
        query = ListQuery.uploads({"key-marker": "a", "upload-id-marker": "u"})
        self.assertEqual(query.position, Position("a", id="u"))

    def test_parts(self) -> None:
        """
        Parts go on after a number.
        """
        self.assertEqual(PartsQuery.of({"part-number-marker": "7"}).marker, 7)
        self.assertRaises(S3Error, PartsQuery.of, {"part-number-marker": "-7"})

    def test_the_pager_is_what_was_asked_for(self) -> None:
        """
        A query's pager begins where it says, within its prefix.
        """
        seek = ListQuery.objects({"prefix": "a", "marker": "ab", "max-keys": "5"}).pager().seek
        assert seek is not None
        self.assertEqual((seek.lower, seek.inclusive, seek.upper, seek.limit), ("ab", False, "b", 6))


class BucketsTests(SynchronousTestCase):
    """ListBuckets."""

    @given(
        st.sets(st.text(alphabet="abc", min_size=1, max_size=3)),
        st.integers(1, 5),
        st.sampled_from(["", "a", "ab"]),
    )
    def test_pages(self, names: set[str], limit: int, prefix: str) -> None:
        """Pages make up the sorted list."""
        buckets, listed, token = [Bucket(name) for name in names], list[str](), ""
        while True:
            query = BucketsQuery.of(
                {"max-buckets": str(limit), "prefix": prefix, "continuation-token": token}
            )
            page, following = query.select(buckets)
            listed += [bucket.name for bucket in page]
            if following is None:
                break
            self.assertEqual(len(page), limit)
            token = following
        self.assertEqual(listed, sorted(name for name in names if name.startswith(prefix)))

    def test_all_at_once(self) -> None:
        """
        Without a limit all buckets come, sorted.
        """
        page, token = BucketsQuery.of({}).select([Bucket(str(number)) for number in range(20000)])
        self.assertEqual((len(page), token, page[1].name), (20000, None, "1"))

    def test_refused(self) -> None:
        """
        1 to 10000.
        """
        for text in ("0", "10001", "-1", "a"):
            self.assertRaises(S3Error, BucketsQuery.of, {"max-buckets": text})


class AttributesTests(SynchronousTestCase):
    """GetObjectAttributes."""

    def test_words(self) -> None:
        """
        Known words, separated by commas; none is a mistake of its own.
        """
        query = AttributesQuery.of("ETag, ObjectSize,", None, "3")
        self.assertEqual(
            (query.wanted, query.max_parts, query.part_marker), ({"ETag", "ObjectSize"}, 1000, 3)
        )
        for text, code in {None: "InvalidRequest", " ,": "InvalidRequest", "Etag": "InvalidArgument"}.items():
            error = self.assertRaises(S3Error, AttributesQuery.of, text, None, None)
            self.assertEqual(error.code, code)
        self.assertRaises(S3Error, AttributesQuery.of, "ETag", "-1", None)
