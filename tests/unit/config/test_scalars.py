"""Values as they are written in the file."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.scalars import (
    MAX_INTEGER,
    ScalarError,
    Secret,
    escape,
    expand,
    format_duration,
    format_size,
    parse_boolean,
    parse_duration,
    parse_integer,
    parse_number,
    parse_secret,
    parse_size,
    parse_text,
)


class ExpandTests(SynchronousTestCase):
    """`${VARIABLES}` in values."""

    def test_variable(self) -> None:
        """A reference is replaced by the variable, also inside other text and several times."""
        self.assertEqual(expand("a${X}b${Y}", {"X": "1", "Y": "2"}), "a1b2")

    def test_value_is_not_looked_at_again(self) -> None:
        """What a variable holds goes in as it is, quotes, colons and references included."""
        self.assertEqual(expand("${X}", {"X": '": ${Y} $$'}), '": ${Y} $$')

    def test_default(self) -> None:
        """A default serves where the variable is unset or empty, as in a shell."""
        self.assertEqual(expand("${X:-d}", {}), "d")
        self.assertEqual(expand("${X:-d}", {"X": ""}), "d")
        self.assertEqual(expand("${X:-d}", {"X": "v"}), "v")
        self.assertEqual(expand("${X:-}", {}), "")

    def test_empty_variable(self) -> None:
        """A variable that is set but empty is no mistake."""
        self.assertEqual(expand("${X}", {"X": ""}), "")

    def test_unset_variable(self) -> None:
        """An unset variable without a default is an error that names it."""
        error = self.assertRaises(ScalarError, expand, "${ABSENT}", {})
        self.assertIn("ABSENT", str(error))

    def test_bcrypt_survives(self) -> None:
        """Dollars that start no reference are left alone."""
        for text in ("$2a$10$N9qo8uLOickgx2ZMRZoMye", "cost: $5", "$", "a$b", "$NAME and more", "$1"):
            self.assertEqual(expand(text, {"b": "x", "NAME": "x", "1": "x"}), text)

    def test_lone_name(self) -> None:
        """A value that is nothing but `$NAME` is an error that says how to write it."""
        error = self.assertRaises(ScalarError, expand, "$HOME", {"HOME": "/root"})
        self.assertIn("write ${HOME}", str(error))

    def test_lone_name_may_be_a_secret(self) -> None:
        """What looks like `$NAME` but is no variable is not repeated in the message."""
        error = self.assertRaises(ScalarError, expand, "$word", {})
        self.assertNotIn("word", str(error))

    def test_malformed(self) -> None:
        """Unclosed, nameless and nested references are errors, rather than swallowed."""
        for text in ("${X", "${}", "${a b}", "${1}", "x${X:-${Y}}", "${X-d}"):
            self.assertRaises(ScalarError, expand, text, {"X": "v", "Y": "v"})

    @given(st.text())
    def test_round_trip(self, text: str) -> None:
        """Whatever is escaped comes back, whatever is set."""
        self.assertEqual(expand(escape(text), {"A": "never"}), text)

    @given(st.text(), st.text(), st.text())
    def test_value_in_context(self, before: str, value: str, after: str) -> None:
        """A variable's value appears untouched between what surrounds it."""
        self.assertEqual(
            expand(f"{escape(before)}${{X}}{escape(after)}", {"X": value}), before + value + after
        )


class DurationTests(SynchronousTestCase):
    """Durations, in seconds."""

    def test_examples(self) -> None:
        """Units add up, fractions count, and a bare zero needs none."""
        for text, seconds in (
            ("300ms", 0.3),
            ("30s", 30.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("2us", 0.000002),
            ("2µs", 0.000002),
            ("0", 0.0),
            ("0s", 0.0),
        ):
            self.assertEqual(parse_duration(text), seconds, text)

    def test_refused(self) -> None:
        """Numbers without a unit, unknown units, and what is negative or absurd."""
        for text in ("", "30", "5 m", "1d", "-5s", "s", "1h30", "1e3s", "9999999h"):
            self.assertRaises(ScalarError, parse_duration, text)

    @given(st.integers(0, 10**12))
    def test_round_trip(self, milliseconds: int) -> None:
        """Whole milliseconds are written and read without loss."""
        self.assertEqual(parse_duration(format_duration(milliseconds / 1000)), milliseconds / 1000)

    @given(st.text("0123456789.hmsunµ -"))
    def test_never_negative(self, text: str) -> None:
        """Whatever is accepted is a time that can be waited for."""
        with contextlib.suppress(ScalarError):
            self.assertGreaterEqual(parse_duration(text), 0)


class SizeTests(SynchronousTestCase):
    """Sizes, in bytes."""

    def test_examples(self) -> None:
        """Plain bytes, suffixes in any case, all powers of 1024."""
        for text, size in (
            ("21474836480", 20 << 30),
            ("21_474_836_480", 20 << 30),
            ("0", 0),
            ("12B", 12),
            ("64kb", 64 << 10),
            ("256MB", 256 << 20),
            ("5 GiB", 5 << 30),
            ("1TB", 1 << 40),
        ):
            self.assertEqual(parse_size(text), size, text)

    def test_refused(self) -> None:
        """Fractions, unknown suffixes, negatives and what no database can store."""
        for text in ("", "1.5GB", "-1", "5G", "5XB", "GB", "5iB", "9999999TB", "0x10", "٣", "9" * 9999):
            self.assertRaises(ScalarError, parse_size, text)

    @given(st.integers(0, MAX_INTEGER))
    def test_round_trip(self, size: int) -> None:
        """Every size is written and read without loss."""
        self.assertEqual(parse_size(format_size(size)), size)
        self.assertEqual(parse_size(str(size)), size)


class NumberTests(SynchronousTestCase):
    """Numbers and truths are read by declared type, not by YAML's guesses."""

    def test_integers(self) -> None:
        """Decimal only: a leading zero would have been octal, and is refused."""
        self.assertEqual([parse_integer(text) for text in ("0", "-3", "1_000")], [0, -3, 1000])
        for text in ("", "012", "0x1f", "1.0", "1e3", "1__0", str(MAX_INTEGER + 1), "9" * 9999):
            self.assertRaises(ScalarError, parse_integer, text)

    def test_numbers(self) -> None:
        """Fractions and exponents, but nothing that is not a number."""
        self.assertEqual([parse_number(text) for text in ("0.8", ".5", "1e3", "2.")], [0.8, 0.5, 1000.0, 2.0])
        for text in ("", "nan", "inf", "0,5", "1e999", "9" * 999):
            self.assertRaises(ScalarError, parse_number, text)

    def test_truths(self) -> None:
        """The words of newer and of older YAML."""
        self.assertEqual([parse_boolean(text) for text in ("true", "Yes", "ON", "y")], [True] * 4)
        self.assertEqual([parse_boolean(text) for text in ("false", "No", "off", "N")], [False] * 4)
        for text in ("", "1", "truth"):
            self.assertRaises(ScalarError, parse_boolean, text)


class TextTests(SynchronousTestCase):
    """Text, and text that must not show."""

    def test_one_line(self) -> None:
        """A line end, most likely the last byte of a file in a variable, is refused."""
        self.assertEqual(parse_text("héllo wörld"), "héllo wörld")
        self.assertRaises(ScalarError, parse_text, "a\nb")
        self.assertRaises(ScalarError, parse_secret, "secret\n")

    def test_secret_does_not_show(self) -> None:
        """A secret's `repr` is not the secret; its text still is."""
        secret = parse_secret("hunter2")
        self.assertNotIn("hunter2", repr(secret))
        self.assertNotIn("hunter2", repr({"key": (secret,)}))
        self.assertEqual(secret, "hunter2")
        self.assertIsInstance(secret, Secret)
