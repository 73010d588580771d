"""Comparing what the ledger says of a backend with what the backend says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.reconciling import Seen, compare, side_by_side
from s3orchestrator.domain.records import Blob, BlobState

T = TypeVar("T")


async def stream(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


class SideBySideTests(SynchronousTestCase):
    @given(st.sets(st.text()), st.sets(st.text()))
    def test_pairs(self, left: set[str], right: set[str]) -> None:
        """Every name comes once, in order, with what either side has of it."""

        async def merged() -> list[tuple[str | None, str | None]]:
            pairs = side_by_side(
                stream(Seen(name, 0, "") for name in sorted(left)),
                stream(Seen(name, 0, "") for name in sorted(right)),
            )
            return [(a and a.name, b and b.name) async for a, b in pairs]

        expected = [
            (name if name in left else None, name if name in right else None) for name in sorted(left | right)
        ]
        self.assertEqual(self.successResultOf(start(merged())), expected)


class CompareTests(SynchronousTestCase):
    row = Blob(1, "disk", "b/k", BlobState.LIVE, 3, 0, key="k", etag="e")

    def test_what_agrees_is_no_finding(self) -> None:
        """Size and ETag agree; a backend that lists no ETag is not held against it."""
        self.assertIsNone(compare(self.row, Seen("b/k", 3, "e"), "disk"))
        self.assertIsNone(compare(self.row, Seen("b/k", 3, ""), "disk"))

    def test_what_differs(self) -> None:
        """Missing bytes, other sizes, other ETags and strays are told apart."""
        for row, seen, words in [
            (self.row, None, "not there"),
            (self.row, Seen("b/k", 4, "e"), "4 bytes instead of 3"),
            (self.row, Seen("b/k", 3, "f"), "ETag f instead of e"),
            (None, Seen("b/k", 3, "e"), "does not know"),
        ]:
            found = compare(row, seen, "disk")
            assert found is not None
            self.assertIn(words, found.message)

    def test_rows_on_their_way_own_their_names(self) -> None:
        """What is pending or doomed may have bytes or not."""
        for state in (BlobState.PENDING, BlobState.DOOMED, BlobState.RESTING, BlobState.DEAD):
            row = Blob(1, "disk", "b/k", state, 3, 0)
            self.assertIsNone(compare(row, None, "disk"))
            self.assertIsNone(compare(row, Seen("b/k", 99, ""), "disk"))
