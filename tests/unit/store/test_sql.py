"""Tests for the words of a database."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.sql import SQLITE, Dialect


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
