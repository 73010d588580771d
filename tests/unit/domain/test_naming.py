"""Tests for the names of blobs."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.naming import (
    ENTROPY,
    NAME_LIMIT,
    ancestors,
    descendants,
    hashed_name,
    hashed_prefix,
    is_odd,
    other_name,
    scratch_names,
    token,
    unique_prefix,
    usable_plain_name,
)

TOKEN = token(0, b"\0" * ENTROPY)

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=1100)
instants = st.integers(0, 2**48 - 1)
entropies = st.binary(min_size=ENTROPY, max_size=ENTROPY)


class TokenTests(SynchronousTestCase):
    @given(instants, instants, entropies, entropies)
    def test_sorts_by_time(self, earlier: int, later: int, one: bytes, other: bytes) -> None:
        """
        Tokens sort by time first, whatever is random in them.
        """
        if earlier < later:
            self.assertLess(token(earlier, one), token(later, other))

    @given(instants, entropies, entropies)
    def test_all_bits_count(self, now_ms: int, one: bytes, other: bytes) -> None:
        """
        Two tokens of one instant are the same only if all random bits are.
        """
        self.assertEqual(token(now_ms, one) == token(now_ms, other), one == other)

    @given(instants, entropies)
    def test_form(self, now_ms: int, entropy: bytes) -> None:
        """
        A token is 26 characters that need no escaping anywhere.
        """
        self.assertRegex(token(now_ms, entropy), r"^[0-9a-v]{26}$")


class NamesTests(SynchronousTestCase):
    def test_plain_and_unique(self) -> None:
        """
        Users recognise both.
        """
        self.assertEqual(usable_plain_name("photos", "a/b.jpg"), "photos/a/b.jpg")
        other = other_name("photos", "a/b.jpg", TOKEN)
        self.assertEqual(other, f"photos/a/b.jpg~{TOKEN}")
        self.assertTrue(other.startswith(unique_prefix("photos", "a/b.jpg")))

    @given(keys, st.booleans())
    def test_fit(self, key: str, exact: bool) -> None:
        """
        No name is longer than a backend takes, in bytes; a plain name is exactly bucket and key.
        """
        plain, other = (
            usable_plain_name("bucket", key, exact=exact),
            other_name("bucket", key, TOKEN, exact=exact),
        )
        self.assertLessEqual(len(other.encode()), NAME_LIMIT)
        self.assertTrue(other.endswith(f"~{TOKEN}"))
        if plain is not None:
            self.assertEqual(plain, f"bucket/{key}")
            self.assertLessEqual(len(plain.encode()), NAME_LIMIT)
        else:
            self.assertTrue(other.startswith(hashed_prefix("bucket", key)))

    def test_limits(self) -> None:
        """
        Each kind of name is used up to its very last byte.
        """
        for filler, width in (("k", 1), ("ü", 2), ("🙂", 4)):
            for length, plain, unique in (
                (NAME_LIMIT - 27, True, True),
                (NAME_LIMIT - 26, True, False),
                (NAME_LIMIT, True, False),
                (NAME_LIMIT + 1, False, False),
            ):
                rest = length - len("b/")
                key = filler * (rest // width) + "x" * (rest % width)
                self.assertEqual(len(f"b/{key}".encode()), length)
                self.assertEqual(usable_plain_name("b", key) is not None, plain, (filler, length))
                hashed = other_name("b", key, TOKEN).startswith("~s3o/")
                self.assertEqual(not hashed, unique, (filler, length))

    def test_hashed(self) -> None:
        """
        A hashed name tells bucket and key apart, and fits any backend.
        """
        self.assertNotEqual(hashed_prefix("a", "b/c"), hashed_prefix("a/b", "d"))
        self.assertRegex(hashed_name("photos", "k", TOKEN), r"^~s3o/[a-z2-7]{52}~[0-9a-v]{26}$")

    def test_odd(self) -> None:
        """
        A backend that takes names for paths gets no name it would change.
        """
        for key in ("a//b", "/a", "a/", "../a", "a/..", "a/./b", "."):
            self.assertTrue(is_odd(f"b/{key}"), key)
            self.assertIsNone(usable_plain_name("b", key, exact=False))
            self.assertEqual(usable_plain_name("b", key), f"b/{key}")
        self.assertTrue(other_name("b", "a//b", TOKEN, exact=False).startswith(hashed_prefix("b", "a//b")))
        for key in ("a", "a/b", "...", "a..b", ".a/b."):
            self.assertFalse(is_odd(f"b/{key}"), key)

    def test_control_characters(self) -> None:
        """
        No backend gets a name that it could not list.
        """
        for character in "\0\t\n\r\x1f\x7f\ufffe":
            self.assertIsNone(usable_plain_name("b", f"k{character}"))
            other = other_name("b", f"k{character}", TOKEN)
            self.assertTrue(other.startswith(hashed_prefix("b", f"k{character}")))
        for character in " ~\x80\x85\xa0\u2028\U0010ffff":
            self.assertEqual(usable_plain_name("b", f"k{character}"), f"b/k{character}")

    def test_looks_like_ours(self) -> None:
        """
        A key that looks like one of our names is just a key.
        """
        self.assertEqual(usable_plain_name("b", f"k~{TOKEN}"), f"b/k~{TOKEN}")

    @given(keys, keys)
    def test_in_the_way(self, key: str, other: str) -> None:
        """
        What needs a name as a folder is exactly what lies in the range below it.
        """
        lower, upper = (end.encode() for end in descendants(key))
        below = lower <= f"{key}/{other}".encode() < upper
        self.assertTrue(below)
        self.assertIn(key, ancestors(f"{key}/{other}"))
        self.assertEqual(lower <= other.encode() < upper, other.startswith(f"{key}/"))

    def test_scratch(self) -> None:
        """
        Two scratch names are never in each other's way by accident, and belong to no bucket.
        """
        simple, odd = scratch_names(token(1, os.urandom(ENTROPY)))
        self.assertTrue(simple.startswith("~") and odd.startswith("~"))
        self.assertTrue(is_odd(odd) and not is_odd(simple))
