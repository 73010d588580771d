"""What people are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.tables import duration, printable, size, table


class TablesTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Columns are as wide as their widest cell; nothing trails."""
        shown = table(("NAME", "N", "OK"), [("a", 10, True), ("long name", 5, None)], right=(1,))
        self.assertEqual(shown, "NAME        N  OK\na          10  yes\nlong name   5  -\n")
        self.assertEqual(table(("A",), []), "A\n")

    def test_printable(self) -> None:
        """A key cannot move the cursor or begin a line."""
        self.assertEqual(printable("ü x"), "ü x")
        self.assertEqual(printable("a\nb\x1b[31m\u2028\x7f"), "a\\nb\\x1b[31m\\u2028\\x7f")

    def test_size(self) -> None:
        """Bytes have the unit in which they are easy to read."""
        shown = [size(number) for number in (0, 1023, 1024, 1536, 20 << 30, 3 << 50, 5000 << 50)]
        self.assertEqual(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "20.0 GiB", "3.0 PiB", "5000.0 PiB"])
        self.assertIsNone(size(None))

    def test_duration(self) -> None:
        """Intervals are as they are written in a configuration file."""
        self.assertEqual(
            [duration(each) for each in (0.5, 2, 90, 300, 3600)], ["0.5s", "2s", "90s", "5m", "1h"]
        )

    @given(st.lists(st.tuples(st.text(max_size=9), st.none() | st.integers() | st.booleans()), max_size=5))
    def test_lines(self, rows: list[tuple[object, ...]]) -> None:
        """Whatever the cells hold, a row is a line."""
        self.assertEqual(len(table(("A", "B"), rows).splitlines()), len(rows) + 1)
