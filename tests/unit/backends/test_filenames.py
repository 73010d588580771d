"""Tests for the mapping of names to files."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.filenames import MAX_NAME, Kind, directory_of, name_of, place_of, read_entry

# What the mapping looks at, often; anything else, sometimes.
_SEGMENTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "%", "%e", "a", "b", ".s3o", "lost+found", "a%file", "a%more", "\n", "%41"]
    ),
    st.text(st.sampled_from(".%/efilmor3AF\x01\x7fé😀"), max_size=8),
    st.builds(
        lambda unit, count, end: unit * count + end,
        st.sampled_from("xé😀%"),
        st.integers(55, 250),
        st.text(max_size=2),
    ),
    st.text(max_size=6),
)
NAMES = (
    st.lists(_SEGMENTS, min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda name: 0 < len(name.encode()) <= MAX_NAME)
)


class PlaceTests(SynchronousTestCase):
    """Tests for `place_of`."""

    def assertFile(self, name: str, path: str) -> None:
        self.assertEqual(place_of(name).plain.decode(), path)

    def test_ordinary_names(self) -> None:
        """Names that people and programs give are spelt as they are."""
        for name in (
            "photos/2024/a.jpg",
            "photos/.hidden",
            "photos/a b+c&d=e~01HZXW5N4T3S0ABCDEFGHJKMNP",
            "~s3o/abc~01HZXW5N4T3S0ABCDEFGHJKMNP",
            "fotos/grün/日本.png",
            "backups/x.s3o",
            "photos/.s3o/a",
            "a/" + "x" * 239,
        ):
            self.assertFile(name, name)

    def test_escapes(self) -> None:
        """What a file system would take for something else is escaped."""
        for name, path in (
            ("a/./b", "a/%2E/b"),
            ("../b", "%2E%2E/b"),
            ("a//b", "a/%e/b"),
            ("/a", "%e/a"),
            ("a/", "a/%e"),
            ("100%", "100%25"),
            ("a\nb", "a%0Ab"),
            (".s3o/identity", "%2Es3o/identity"),
            ("lost+found", "%6Cost+found"),
            ("a%file", "a%25file"),
        ):
            self.assertFile(name, path)

    def test_long_segments(self) -> None:
        """A segment that is too long for a file system goes on in a directory of its own."""
        self.assertFile("a/" + "x" * 300, "a/" + "x" * 240 + "%more/" + "x" * 60)
        self.assertFile("x" * 240 + "/b", "x" * 240 + "%more/%e/b")
        self.assertFile("x" * 240 + "..", "x" * 240 + "%more/%2E%2E")

    def test_shadow(self) -> None:
        """An object whose file would be a directory is the file beside it."""
        self.assertEqual(place_of("a/b").shadow, b"a/b%file")
        self.assertEqual(place_of("a/b").parent, b"a")
        self.assertEqual(place_of("a").parent, b".")

    def test_impossible(self) -> None:
        """Names that are empty, too long or not text are no names."""
        for name in ("", "x" * 1025, "é" * 513, "\ud800"):
            with self.assertRaises(ValueError):
                place_of(name)

    @given(NAMES)
    def test_reversible(self, name: str) -> None:
        """Either file tells the name."""
        where = place_of(name)
        self.assertEqual(name_of(where.plain), name)
        self.assertEqual(name_of(where.shadow), name)

    @given(NAMES, NAMES)
    def test_injective(self, one: str, other: str) -> None:
        """Two names share no file, and no file of one is on the way to the other but as its shadow."""
        assume(one != other)
        here, there = place_of(one), place_of(other)
        self.assertFalse({here.plain, here.shadow} & {there.plain, there.shadow})
        self.assertNotIn(here.shadow, there.directories)

    @given(NAMES)
    def test_possible(self, name: str) -> None:
        """Every component fits a file system and means itself, and paths are not too long for the kernel."""
        where = place_of(name)
        components = [*where.shadow.split(b"/"), *where.plain.split(b"/")]
        for component in components:
            self.assertTrue(0 < len(component) <= 255)
            self.assertNotIn(component, (b".", b".."))
            self.assertFalse([byte for byte in component if byte < 32])
        self.assertNotIn(components[0], (b".s3o", b"lost+found"))
        self.assertLess(len(where.shadow), 4000)

    @given(st.binary(min_size=1, max_size=12), st.booleans(), st.booleans())
    def test_strange_files(self, raw: bytes, is_directory: bool, at_top: bool) -> None:
        """A file that we would have called otherwise is not taken for one of ours."""
        assume(b"/" not in raw and b"\0" not in raw)
        entry = read_entry(raw, is_directory=is_directory, at_top=at_top)
        if entry is None or is_directory or not at_top:
            return
        where = place_of(entry.covers.decode())
        self.assertIn(raw, (where.plain, where.shadow))

    def test_strangers(self) -> None:
        """Files that only look like ours are none."""
        for raw in (
            b"%2e",
            b"%41",
            b"%zz",
            b"a%",
            b"\xff",
            b".s3o",
            b"lost+found",
            b"%e%e",
            b"x" * 250,
            b"%C3%A9",
        ):
            self.assertIsNone(read_entry(raw, is_directory=False, at_top=True), raw)
        self.assertIsNone(read_entry(b"a%file", is_directory=True, at_top=True))
        self.assertIsNone(read_entry(b"a%more", is_directory=True, at_top=True))


class OrderTests(SynchronousTestCase):
    """Tests for what directories and entries say about the order of names."""

    @given(NAMES, st.integers(0, 1024))
    def test_directory_of_prefix(self, name: str, length: int) -> None:
        """The directory of a prefix is on the way to every name that has it."""
        prefix = name[:length]
        directory, covered = directory_of(prefix)
        where = place_of(name)
        self.assertIn(directory, (b".", *where.directories))
        self.assertTrue(prefix.encode().startswith(covered))

    @given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    def test_entries_are_intervals(self, some: list[str]) -> None:
        """Sorted by what its entries cover, a directory gives names in byte order."""
        ordered = sorted(some, key=str.encode)
        self.assertEqual(sorted(some, key=_covers), ordered)


def _covers(name: str) -> list[bytes]:
    """What is covered on the way to a name: comparing these is what a walk of the tree does."""
    *directories, leaf = place_of(name).plain.split(b"/")
    covers = []
    for index, raw in enumerate(directories):
        entry = read_entry(raw, is_directory=True, at_top=index == 0)
        assert entry is not None
        assert entry.kind in (Kind.SEGMENT, Kind.PIECE)
        covers.append(entry.covers)
    entry = read_entry(leaf, is_directory=False, at_top=not directories)
    assert entry is not None
    return [*covers, entry.covers]
