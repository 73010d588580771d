"""Tests for keeping the parts of a version small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.records import PartInfo
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.store.partlist import read_parts, write_parts

checksums = st.none() | st.builds(Checksum, st.just("crc32"), st.sampled_from(("AA==", "BB==")))
parts = st.lists(st.builds(PartInfo, st.integers(1, 20), st.sampled_from((5, 6)), checksums))


class PartListTests(SynchronousTestCase):
    @given(parts)
    def test_round_trip(self, written: list[PartInfo]) -> None:
        """
        What is read is what was written, with gaps, odd sizes and checksums.
        """
        self.assertEqual(tuple(read_parts(write_parts(written))), tuple(written))

    def test_none(self) -> None:
        """
        A version that was not made of parts stores nothing.
        """
        self.assertIsNone(write_parts(()))
        self.assertEqual(read_parts(None), ())

    def test_small(self) -> None:
        """
        Ten thousand parts of one size and a last one take a few bytes.
        """
        sizes = [PartInfo(number, 8 << 20) for number in range(1, 10_000)]
        text = write_parts([*sizes, PartInfo(10_000, 1)])
        assert text is not None
        self.assertLess(len(text), 50)
        self.assertEqual(len(read_parts(text)), 10_000)

    def test_sequence(self) -> None:
        """
        They can be used like any sequence of parts.
        """
        written = (PartInfo(1, 5), PartInfo(3, 6))
        read = read_parts(write_parts(written))
        self.assertTrue(read)
        self.assertEqual((read[1], read[:1], len(read)), (written[1], written[:1], 2))
        self.assertEqual(read, written)
        self.assertNotEqual(read, written[:1])
        self.assertEqual(hash(read), hash(written))
