"""In which order backends are offered an object."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.fleet import Fleet, Member
from s3orchestrator.domain.placement import pack, spread
from s3orchestrator.domain.records import Blob, BlobState, Usage

NAMES = ["a", "b", "c"]


def used(**taken: tuple[int, int | None]) -> dict[str, Usage]:
    return {name: Usage(name, live=bytes_, limit=limit) for name, (bytes_, limit) in taken.items()}


class PlacementTests(SynchronousTestCase):
    def test_pack_keeps_the_order(self) -> None:
        """Packing fills backends as they are listed."""
        self.assertEqual(pack(NAMES), NAMES)

    def test_spread_prefers_the_emptiest(self) -> None:
        """It is the share of the limit that counts, not the bytes."""
        usage = used(a=(50, 100), b=(60, 1000), c=(10, 20))
        self.assertEqual(spread(NAMES, usage), ["b", "a", "c"])

    def test_unlimited_is_neither_starved_nor_swallows(self) -> None:
        """It is measured by the largest limit there is: it takes its share until it holds that much."""
        usage = used(a=(500, 1000), b=(400, None), c=(60, 100))
        self.assertEqual(spread(NAMES, usage), ["b", "a", "c"])
        usage = used(a=(999, 1000), b=(1001, None), c=(99, 100))
        self.assertEqual(spread(NAMES, usage)[-1], "b")

    def test_all_unlimited(self) -> None:
        """With nothing to measure by, the fewest bytes lead."""
        self.assertEqual(spread(NAMES, used(a=(3, None), b=(1, None), c=(2, None))), ["b", "c", "a"])

    @given(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.tuples(st.integers(0, 10**15), st.none() | st.integers(1, 10**15)),
        )
    )
    def test_spread_loses_nobody(self, known: dict[str, tuple[int, int | None]]) -> None:
        """Every backend is offered exactly once, also one the ledger knows nothing of."""
        self.assertEqual(sorted(spread(NAMES, used(**known))), NAMES)


class FleetTests(SynchronousTestCase):
    def test_object_too_large_for_a_backend(self) -> None:
        """A backend's own limit for objects keeps larger ones away."""
        fleet = Fleet((Member("a", 10), Member("b"), Member("c", 11)))
        self.assertEqual(fleet.writable(11), ["b", "c"])

    def test_failing_backends_are_asked_last(self) -> None:
        """They are not left out: everything may be failing."""
        fleet = Fleet(tuple(Member(name) for name in NAMES))
        self.assertEqual(fleet.writable(1, failing={"a"}), ["b", "c", "a"])

    def test_reads_prefer_sound_copies(self) -> None:
        """Suspect copies come last, failing backends before them, the rest as configured."""
        fleet = Fleet(tuple(Member(name) for name in NAMES))
        copies = [
            Blob(1, "a", "n", BlobState.LIVE, 1, 0, suspect=True),
            Blob(2, "b", "n", BlobState.LIVE, 1, 0),
            Blob(3, "c", "n", BlobState.LIVE, 1, 0),
            Blob(4, "gone", "n", BlobState.LIVE, 1, 0),
        ]
        self.assertEqual([blob.id for blob in fleet.readable(copies, failing={"b"})], [3, 2, 1])
