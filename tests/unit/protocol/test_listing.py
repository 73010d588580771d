"""Tests for paging through an ascending stream of keys."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from attrs import define, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.listing import START, Page, Pager, Position, Seek, common_prefix, prefix_end

# Few characters, so that keys share prefixes; the last ones sort differently as UTF-16 or have no successor.
ALPHABET = "/a-b\U0010ffff\uffff\ud7ff\U00010000 "
NAMES = st.text(alphabet=ALPHABET, max_size=5)
KEY_SETS = st.sets(st.text(alphabet=ALPHABET, min_size=1, max_size=5), max_size=40)
DELIMITERS = st.sampled_from(["", "/", "a", "//", "-b", "\U0010ffff"])
LIMITS = st.integers(1, 12)


@frozen
class Row:
    """A row of a listing; `id` tells rows of one key apart."""

    key: str
    id: str = ""


@define
class Stream:
    """Rows that can be entered anywhere; counts what is asked of it."""

    rows: Sequence[Row]
    queries: int = 0
    fetched: int = 0

    def read(self, seek: Seek) -> Sequence[Row]:
        """Return what `seek` asks for."""
        keys = [row.key for row in self.rows]
        start = (bisect_left if seek.inclusive else bisect_right)(keys, seek.lower)
        if seek.after is not None:
            start = self.rows.index(Row(seek.lower, seek.after)) + 1
        end = len(keys) if seek.upper is None else bisect_left(keys, seek.upper)
        found = self.rows[start : max(start, min(end, start + seek.limit))]
        self.queries += 1
        self.fetched += len(found)
        return found

    def fill(self, pager: Pager[Row]) -> Page[Row]:
        """Feed a pager until it has its page."""
        while pager.seek is not None:
            pager.feed(self.read(pager.seek))
        return pager.page


def stream(*keys: str) -> Stream:
    """Return a stream of those keys, one row each."""
    return Stream([Row(key) for key in sorted(keys)])


def model(keys: Sequence[str], prefix: str, delimiter: str) -> list[str]:
    """Return the whole listing as S3 defines it: each entry once, in order."""
    entries: list[str] = []
    for key in sorted(keys, key=lambda key: key.encode()):
        if key.startswith(prefix):
            entry = common_prefix(key, prefix, delimiter) or key
            if not entries or entries[-1] != entry:
                entries.append(entry)
    return entries


class PagerTests(SynchronousTestCase):
    """`Pager`, against the definition."""

    @given(KEY_SETS, NAMES, DELIMITERS, LIMITS, st.sampled_from(["position", "token", "marker"]))
    def test_pages_make_up_the_listing(
        self, keys: set[str], prefix: str, delimiter: str, limit: int, by: str
    ) -> None:
        """
        Page after page nothing is skipped, nothing comes twice, and only the last is the last.

        Whether a client goes on by a token or, as in version 1, by the last name.
        """
        source, expected = stream(*keys), model(list(keys), prefix, delimiter)
        position, listed = START, list[str]()
        while True:
            pager: Pager[Row] = Pager(prefix=prefix, delimiter=delimiter, limit=limit, position=position)
            page = source.fill(pager)
            listed += pager.entries
            self.assertEqual(page.truncated, len(listed) < len(expected))
            if not page.truncated:
                break
            self.assertEqual(len(pager.entries), limit)
            position = page.last
            if by == "token":
                position = Position.of_token(position.token())
            elif by == "marker":
                position = Position.of_marker(position.name, prefix, delimiter)
        self.assertEqual(listed, expected)

    @given(KEY_SETS, NAMES, DELIMITERS, NAMES, LIMITS)
    def test_start_after(self, keys: set[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
        """Listing after any key is listing the keys that are greater."""
        source = stream(*keys)
        pager: Pager[Row] = Pager(prefix=prefix, delimiter=delimiter, limit=limit, position=Position(after))
        page = source.fill(pager)
        expected = model([key for key in keys if key > after], prefix, delimiter)
        self.assertEqual(pager.entries, expected[:limit])
        self.assertEqual(page.truncated, len(expected) > limit)
        self.assertEqual(pager.entries, sorted([row.key for row in page.rows] + list(page.prefixes)))

    @given(
        st.lists(st.tuples(st.sampled_from(["a", "b", "b/c", "b/d", "c"]), st.integers(0, 9))),
        DELIMITERS,
        LIMITS,
    )
    def test_several_rows_of_one_key(self, pairs: list[tuple[str, int]], delimiter: str, limit: int) -> None:
        """Versions or uploads of one key may be divided between pages."""
        rows = sorted({Row(key, str(id)) for key, id in pairs}, key=lambda row: (row.key, row.id))
        source, position, listed, prefixes = Stream(rows), START, list[Row](), list[str]()
        while True:
            page = source.fill(
                Pager(delimiter=delimiter, limit=limit, position=position, row_id=lambda row: row.id)
            )
            listed += page.rows
            prefixes += page.prefixes
            if not page.truncated:
                break
            self.assertEqual(len(page.rows) + len(page.prefixes), limit)
            position = Position.of_marker(page.last.name, "", delimiter, page.last.id)
        self.assertEqual(listed, [row for row in rows if common_prefix(row.key, "", delimiter) is None])
        entries = (common_prefix(row.key, "", delimiter) for row in rows)
        self.assertEqual(prefixes, sorted({entry for entry in entries if entry is not None}))

    def test_nothing_wanted(self) -> None:
        """
        A page of no entries asks for nothing and is not truncated.
        """
        pager: Pager[Row] = Pager(limit=0)
        self.assertIsNone(pager.seek)
        self.assertEqual(pager.page, Page([], [], False, START))

    def test_a_key_that_is_the_prefix(self) -> None:
        """
        A "directory object" is listed as a key below itself.
        """
        pager: Pager[Row] = Pager(prefix="a/", delimiter="/")
        stream("a/", "a/b", "a/c/d", "a0").fill(pager)
        self.assertEqual(pager.entries, ["a/", "a/b", "a/c/"])

    def test_rest_below_the_last_prefix(self) -> None:
        """
        A page is not truncated if all that remains belongs to its last entry.
        """
        source = stream(*(f"a/{number:03}" for number in range(100)))
        page = source.fill(Pager(delimiter="/", limit=1))
        self.assertEqual((page.prefixes, page.truncated), (["a/"], False))

    def test_markers(self) -> None:
        """
        A marker that is a common prefix skips it, one inside or for another delimiter does not.
        """
        source = stream("a/1", "a/2", "a/3", "b")
        for marker, delimiter, expected in [
            ("a/", "/", ["b"]),
            ("a/2", "/", ["a/", "b"]),
            ("a/", "", ["a/1", "a/2", "a/3", "b"]),
            ("a/3", "/", ["b"]),
            ("zzz", "/", []),
        ]:
            with self.subTest(marker=marker, delimiter=delimiter):
                pager: Pager[Row] = Pager(
                    delimiter=delimiter, position=Position.of_marker(marker, "", delimiter)
                )
                source.fill(pager)
                self.assertEqual(pager.entries, expected)


class CostTests(SynchronousTestCase):
    """How often and how much a page asks."""

    def test_a_flat_page_is_one_query(self) -> None:
        """
        Without a delimiter all rows come at once, with one more to see whether there are more.
        """
        source = stream(*(f"{number:05}" for number in range(5000)))
        self.assertTrue(source.fill(Pager()).truncated)
        self.assertEqual((source.queries, source.fetched), (1, 1001))

    def test_large_prefixes_cost_a_short_query_each(self) -> None:
        """
        Ten prefixes over many keys are eleven queries of a few rows.
        """
        source = stream(*(f"{number % 10}/{number:05}" for number in range(20000)))
        page = source.fill(Pager(delimiter="/"))
        self.assertEqual(len(page.prefixes), 10)
        self.assertLessEqual(source.queries, 11)
        self.assertLess(source.fetched, 80)

    def test_a_flat_page_with_a_delimiter_is_few_queries(self) -> None:
        """
        Where nothing is rolled up the queries grow.
        """
        source = stream(*(f"{number:05}" for number in range(5000)))
        source.fill(Pager(delimiter="/"))
        self.assertLessEqual(source.queries, 5)
        self.assertLess(source.fetched, 1100)

    def test_small_prefixes_are_few_queries(self) -> None:
        """
        Directories of two files each are read in batches, not one by one.
        """
        source = stream(*(f"{number // 2:05}/{number}" for number in range(4000)))
        page = source.fill(Pager(delimiter="/"))
        self.assertEqual((len(page.prefixes), page.truncated), (1000, True))
        self.assertLess(source.queries, 20)


class PrefixEndTests(SynchronousTestCase):
    """`prefix_end`."""

    def test_examples(self) -> None:
        """
        The last character is raised; one that cannot be is dropped; surrogates are left out.
        """
        self.assertEqual(prefix_end("a/"), "a0")
        self.assertEqual(prefix_end("a\U0010ffff"), "b")
        self.assertEqual(prefix_end("\ud7ff"), "\ue000")
        self.assertIsNone(prefix_end(""))
        self.assertIsNone(prefix_end("\U0010ffff\U0010ffff"))

    @given(NAMES, NAMES)
    def test_bounds(self, prefix: str, key: str) -> None:
        """Keys in the range are exactly those that begin with the prefix, as bytes too."""
        end = prefix_end(prefix)
        self.assertEqual(prefix <= key and (end is None or key < end), key.startswith(prefix))
        if end is not None:
            self.assertEqual(key < end, key.encode() < end.encode())


class TokenTests(SynchronousTestCase):
    """Continuation tokens."""

    @given(NAMES, st.booleans())
    def test_round_trip(self, name: str, below: bool) -> None:
        """A token carries the key, or the common prefix as such, in characters that survive anywhere."""
        token = Position(name, below).token()
        self.assertRegex(token, r"^[A-Za-z0-9_-]+$")
        self.assertEqual(Position.of_token(token), Position(name, below))

    def test_empty_is_the_start(self) -> None:
        """
        An empty token begins the listing.
        """
        self.assertEqual(Position.of_token(""), START)

    @given(st.one_of(st.text(), st.text(alphabet="AQablk_-=", max_size=12)))
    def test_anything(self, token: str) -> None:
        """Whatever comes is a position or an error for the client."""
        try:
            Position.of_token(token)
        except S3Error as error:
            self.assertEqual(error.code, "InvalidArgument")

    def test_refused(self) -> None:
        """
        Other versions, other alphabets, other lengths.
        """
        for token in ("photos/2024", "AQ", "AQ==", "AmthYg", "AXhh", "AWv_", "é", "AWth\n", "AWsA"):
            with self.subTest(token=token):
                self.assertRaises(S3Error, Position.of_token, token)
