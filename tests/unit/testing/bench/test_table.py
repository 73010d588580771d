"""Figures in columns."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.table import Table


class TableTests(SynchronousTestCase):
    def test_columns(self) -> None:
        """Figures stand below each other, at the right; names at the left."""
        table = Table("Cost", ["", "µs", "guide"])
        table.add("GET", "9", "≤ 220")
        table.add("overwriting", "1000", "")
        self.assertEqual(
            table.render(),
            "Cost\n----\n               µs  guide\nGET             9  ≤ 220\noverwriting  1000\n",
        )

    def test_headings_of_several_lines(self) -> None:
        """The last line of each heading is next to the figures."""
        table = Table("Cost", ["", "CPU\nmin", "rate"])
        table.add("GET", "9", "10")
        self.assertEqual(table.render(), "Cost\n----\n     CPU\n     min  rate\nGET    9    10\n")

    def test_wrong_width(self) -> None:
        """A row that does not fit is a mistake."""
        self.assertRaises(ValueError, Table("Cost", ["", "µs"]).add, "GET")
