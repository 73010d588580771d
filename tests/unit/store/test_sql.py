"""Tests for the words of a database."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.sql import POSTGRES, SQLITE, Dialect, pyformat


class DialectTests(SynchronousTestCase):
    def test_words(self) -> None:
        """
        Words are replaced; parameters are left alone.
        """
        dialect = Dialect("other", {"greatest": "greatest"})
        self.assertEqual(dialect.render("SELECT $greatest(a, :b)"), "SELECT greatest(a, :b)")

    def test_unknown_word(self) -> None:
        """
        A word without a translation is a mistake, not an empty string.
        """
        self.assertRaises(KeyError, SQLITE.render, "SELECT $nonsense")

    def test_nothing_to_do(self) -> None:
        """
        SQLite has one writer and needs no locks.
        """
        self.assertEqual(SQLITE.render("$lock_key"), "")


class PyformatTests(SynchronousTestCase):
    def test_parameters(self) -> None:
        """
        Parameters are named as PostgreSQL's driver wants them; casts and percent signs stay what they are.
        """
        self.assertEqual(
            pyformat("SELECT :a::bigint, '%', x FROM t WHERE b = :b_1"),
            "SELECT %(a)s::bigint, '%%', x FROM t WHERE b = %(b_1)s",
        )

    def test_words(self) -> None:
        """
        Both databases have a word for everything.
        """
        self.assertEqual(set(SQLITE.words), set(POSTGRES.words))
        self.assertEqual(pyformat("$skip_locked"), "FOR UPDATE SKIP LOCKED")
