"""The latest lines, in memory."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.lines import json_line
from s3orchestrator.telemetry.ring import MOST_BYTES_EACH, MOST_LINES, Ring, Wanted


def add(ring: Ring, message: str = "hello", level: str = "info", at: float = 0.0, **fields: Any) -> None:
    component = fields.pop("component", "store")
    event = {"log_namespace": f"s3orchestrator.{component}", "log_level": LogLevel.lookupByName(level)}
    line = json_line({**event, "log_time": at, "log_format": "{message_}", "message_": message, **fields})
    ring.add([(at, level, json.loads(line)["component"], line)])


def messages(ring: Ring, **wanted: Any) -> list[str]:
    return [entry["msg"] for entry in ring.find(Wanted(**wanted)).entries]


class RingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ring = Ring()

    def test_latest(self) -> None:
        """
        The latest lines come in the order in which they were written, with numbers.
        """
        for number in range(5):
            add(self.ring, f"line {number}")
        found = self.ring.find(Wanted(limit=2))
        self.assertEqual([(one["id"], one["msg"]) for one in found.entries], [(4, "line 3"), (5, "line 4")])
        self.assertEqual((found.newest, found.has_more), (5, True))
        self.assertFalse(self.ring.find(Wanted(limit=5)).has_more)

    def test_onwards_and_back(self) -> None:
        """
        A number leads on to what came after it, or back to what was before.
        """
        for number in range(1, 7):
            add(self.ring, str(number))
        self.assertEqual(messages(self.ring, after=2, limit=2), ["3", "4"])
        self.assertEqual(messages(self.ring, before=3), ["1", "2"])
        self.assertEqual(messages(self.ring, before=5, limit=2), ["3", "4"])
        self.assertEqual(messages(self.ring, after=6), [])

    def test_another_process(self) -> None:
        """
        Whoever followed a process that has ended gets all of the new one.
        """
        add(self.ring, "begun")
        self.assertEqual(messages(self.ring, after=4711), ["begun"])

    def test_conditions(self) -> None:
        """
        Lines are chosen by level, component, text and time.
        """
        add(self.ring, "a", level="debug", at=1.0)
        add(self.ring, "b", level="warn", at=2.0, component="web.admin.resource")
        add(self.ring, "c", level="error", at=3.0, key='x"y/ü')
        self.assertEqual(messages(self.ring, level="warn"), ["b", "c"])
        self.assertEqual(messages(self.ring, component="admin"), ["b"])
        self.assertEqual(messages(self.ring, component="ledger"), ["a", "c"])
        self.assertEqual(messages(self.ring, text='x"y/ü'), ["c"])
        self.assertEqual(messages(self.ring, since=2.0), ["b", "c"])
        self.assertEqual(messages(self.ring, since=2.0, component="nothing"), [])

    def test_bounded_lines(self) -> None:
        """
        Ten thousand requests leave no more than the last lines.
        """
        for number in range(20_000):
            add(self.ring, str(number), key="photos/2026/cat.jpg")
        self.assertEqual(len(self.ring), MOST_LINES)
        self.assertEqual(messages(self.ring, limit=1), ["19999"])
        self.assertLess(self.ring.size, MOST_LINES * 250)

    def test_bounded_bytes(self) -> None:
        """
        Many long lines push each other out.
        """
        ring = Ring(most_bytes=50_000)
        for number in range(100):
            add(ring, str(number), key="k" * 900)
        self.assertLessEqual(ring.size, 50_000)
        self.assertEqual(messages(ring, limit=1), ["99"])

    @given(
        st.dictionaries(
            st.sampled_from(["key", "keys", "error", "path", "prefix"]),
            st.one_of(
                st.text(max_size=30),
                st.integers(1, 40_000).map(lambda n: "\u2028" * n),
                st.lists(st.just("k" * 2000), max_size=20),
            ),
        )
    )
    def test_bounded_each(self, fields: dict[str, Any]) -> None:
        """A line that is too long is cut where it is long, and says so; it can still be read."""
        ring = Ring()
        add(ring, "hello", **fields)
        self.assertLessEqual(ring.size, MOST_BYTES_EACH)
        self.assertEqual(messages(ring), ["hello"])

    def test_cut(self) -> None:
        """
        What is left of a long value tells how long it was.
        """
        add(self.ring, key="k" * 9000, short="s")
        (entry,) = self.ring.find(Wanted()).entries
        self.assertTrue(entry["key"].endswith("... (9000 characters)"), entry["key"])
        self.assertEqual(entry["short"], "s")
