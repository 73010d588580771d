"""CRCs: known values, plain Python against compiled code, and joining without reading again."""

from __future__ import annotations

import zlib

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol import crc

CHECK = b"123456789"

# Long enough for several folds, with lengths around the limits between them.
messages = st.one_of(
    st.binary(max_size=600),
    st.builds(
        lambda seed, size: (seed * size)[:size], st.binary(min_size=1, max_size=97), st.integers(1, 9000)
    ),
)


def bit_by_bit(polynomial: crc.Polynomial, data: bytes, value: int = 0) -> int:
    """The definition of a reflected CRC."""
    value ^= polynomial.ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial.bits if value & 1 else 0)
    return value ^ polynomial.ones


class KnownValues(SynchronousTestCase):
    """The value every catalogue of CRCs gives for the digits 1 to 9."""

    def test_crc32(self) -> None:
        """CRC32 is the one of zip and Ethernet."""
        self.assertEqual(crc.crc32(CHECK, 0), 0xCBF43926)

    def test_crc32c(self) -> None:
        """CRC32C is Castagnoli's, compiled or not."""
        self.assertEqual(crc.crc32c(CHECK, 0), 0xE3069283)
        self.assertEqual(crc.FOLDED_CRC32C.extend(CHECK), 0xE3069283)

    def test_crc64nvme(self) -> None:
        """CRC64NVME is the one of the NVM Express command set, compiled or not."""
        self.assertEqual(crc.crc64nvme(CHECK, 0), 0xAE8B14860A799888)
        self.assertEqual(crc.FOLDED_CRC64NVME.extend(CHECK), 0xAE8B14860A799888)


class FoldingTests(SynchronousTestCase):
    """The CRCs in plain Python."""

    def test_terms_are_multiples(self) -> None:
        """
        The sum of the terms is the distance's power of x, or folding would change the remainder.
        """
        for folding in (crc.FOLDED_CRC32C, crc.FOLDED_CRC64NVME):
            total = 0
            for term in folding.terms:
                total ^= folding.polynomial.power(term)
            self.assertEqual(total, folding.polynomial.power(folding.distance))

    @given(messages, st.integers(0, 2**32 - 1))
    def test_crc32c_as_compiled(self, data: bytes, before: int) -> None:
        """Every message, continued from any value, has the CRC32C that compiled code gives it."""
        self.assertEqual(crc.FOLDED_CRC32C.extend(data, before), google_crc32c.extend(before, data))

    @given(messages, st.integers(0, 2**64 - 1))
    def test_crc64nvme_as_defined(self, data: bytes, before: int) -> None:
        """Every message, continued from any value, has the CRC64NVME of the definition."""
        self.assertEqual(crc.FOLDED_CRC64NVME.extend(data, before), bit_by_bit(crc.CRC64NVME, data, before))

    def test_megabyte(self) -> None:
        """A read's worth of data, where folding goes through many scales."""
        data = bytes(range(256)) * 4096
        self.assertEqual(crc.FOLDED_CRC32C.extend(data), google_crc32c.value(data))


class CombineTests(SynchronousTestCase):
    """Joining two CRCs."""

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_combine(self, first: bytes, second: bytes) -> None:
        """The CRC of two messages joined follows from theirs and the second one's length."""
        for polynomial, extend in (
            (crc.CRC32, crc.crc32),
            (crc.CRC32C, crc.crc32c),
            (crc.CRC64NVME, crc.crc64nvme),
        ):
            joined = polynomial.combine(extend(first, 0), extend(second, 0), len(second))
            self.assertEqual(joined, extend(first + second, 0))

    def test_lengths_of_parts(self) -> None:
        """Lengths like those of real parts are no different."""
        zeros = bytes(8 * 1024 * 1024)
        first = zlib.crc32(b"first")
        self.assertEqual(crc.CRC32.combine(first, zlib.crc32(zeros), len(zeros)), zlib.crc32(zeros, first))
