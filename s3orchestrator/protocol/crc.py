"""
The CRCs that S3 knows, as fast as this machine allows, and the arithmetic to join them.

Where no compiled library is at hand, long messages are *folded*: whole runs of bits are added
to later ones, which Python's big integers are good at, and only the last hundred bytes or so
go through a table. That is fifteen to thirty times faster than the table alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

from attrs import field, frozen

# Like `zlib.crc32`: the CRC of some bytes appended to what had the CRC given.
Extend = Callable[[bytes, int], int]


@frozen(eq=False)
class Polynomial:
    """
    A CRC's polynomial, bits reflected: the coefficient of x^0 is the highest of `width` bits.

    All CRCs here begin with all ones and end with them, as S3's do.
    """

    width: int
    bits: int
    table: tuple[int, ...] = field(init=False)
    _multiples: Callable[[int], tuple[int, ...]] = field(init=False)

    @table.default
    def _table(self) -> tuple[int, ...]:
        return tuple(self._times_x(byte, 8) for byte in range(256))

    @_multiples.default
    def _cached_multiples(self) -> Callable[[int], tuple[int, ...]]:
        # The parts of an upload have one length, or two.
        return lru_cache(maxsize=64)(self._multiples_after)

    @property
    def ones(self) -> int:
        return (1 << self.width) - 1

    def combine(self, first: int, second: int, length: int) -> int:
        """Return the CRC of two messages joined; the second is `length` bytes long."""
        shifted = 0
        for index, multiple in enumerate(self._multiples(length)):
            if first >> index & 1:
                shifted ^= multiple
        return shifted ^ second

    def power(self, exponent: int) -> int:
        """Return x to the `exponent`, modulo the polynomial."""
        result, square = 1 << (self.width - 1), 1 << (self.width - 2)
        while exponent:
            if exponent & 1:
                result = self._times(result, square)
            square = self._times(square, square)
            exponent >>= 1
        return result

    def _multiples_after(self, length: int) -> tuple[int, ...]:
        """What each bit of a CRC becomes when `length` zero bytes follow."""
        falling = [self.power(8 * length)]
        for _ in range(self.width - 1):
            falling.append(self._times_x(falling[-1], 1))
        return tuple(reversed(falling))

    def _times(self, left: int, right: int) -> int:
        product = 0
        for index in reversed(range(self.width)):
            if left >> index & 1:
                product ^= right
            right = self._times_x(right, 1)
        return product

    def _times_x(self, value: int, times: int) -> int:
        for _ in range(times):
            value = value >> 1 ^ (self.bits if value & 1 else 0)
        return value


@frozen(eq=False)
class Folding:
    """
    A CRC in plain Python.

    x^`distance` is, modulo the polynomial, the sum of x^t for the few `terms`; squaring
    both sides doubles all exponents, so the same holds for any power of two times them.
    """

    polynomial: Polynomial
    distance: int
    terms: tuple[int, ...]

    def extend(self, data: bytes, crc: int = 0) -> int:
        state = crc ^ self.polynomial.ones
        if 8 * len(data) > 2 * self.distance:
            data, state = self._fold(int.from_bytes(data, "little") ^ state, 8 * len(data)), 0
        table = self.polynomial.table
        for byte in data:
            state = table[(state ^ byte) & 0xFF] ^ state >> 8
        return state ^ self.polynomial.ones

    def _fold(self, message: int, length: int) -> bytes:
        """
        Shorten `message` of `length` bits, keeping its remainder.

        Bit i of the number is the coefficient of x^(length-1-i): the end that came first
        has the highest degree and the lowest bits.
        """
        while length > 2 * self.distance:
            scale, taken = self._step(length)
            head = message & ((1 << taken) - 1)
            spread = max(self.terms) * scale
            folded = 0
            for term in self.terms:
                folded ^= head << spread - term * scale
            message = message >> taken ^ folded << self.distance * scale - taken - spread
            length -= taken
        message <<= -length % 8  # zeros in front of a message change nothing
        return message.to_bytes((length + 7) // 8, "little")

    def _step(self, length: int) -> tuple[int, int]:
        """Choose the power of two, and how many bits to fold at that distance: the most there are."""
        best = (1, 0)
        scale = 1
        while self.distance * scale < length:
            room = (self.distance - max(self.terms)) * scale
            best = max(best, (scale, min(length - self.distance * scale, room)), key=lambda step: step[1])
            scale *= 2
        return best


def _crc32(data: bytes, crc: int = 0) -> int:
    return zlib.crc32(data, crc)


def _crc32c() -> Extend:
    """The fastest CRC32C there is."""
    try:
        google = import_module("google_crc32c")
    except ImportError:
        return _from_awscrt("crc32c") or FOLDED_CRC32C.extend
    if google.implementation != "c":
        return _from_awscrt("crc32c") or FOLDED_CRC32C.extend
    extend: Callable[[int, bytes], int] = google.extend
    return lambda data, crc: extend(crc, data)


def _crc64nvme() -> Extend:
    """The fastest CRC64NVME there is."""
    return _from_awscrt("crc64nvme") or FOLDED_CRC64NVME.extend


def _from_awscrt(name: str) -> Extend | None:
    try:
        found: Extend = getattr(import_module("awscrt.checksums"), name)
    except (ImportError, AttributeError):
        return None
    return found


CRC32 = Polynomial(32, 0xEDB88320)
CRC32C = Polynomial(32, 0x82F63B78)
CRC64NVME = Polynomial(64, 0x9A6C9329AC4BC9B5)

# The multiples with the fewest terms found by trying all of this kind; tests prove that they are multiples.
FOLDED_CRC32C = Folding(CRC32C, 563, (0, 31, 53, 58, 109))
FOLDED_CRC64NVME = Folding(CRC64NVME, 689, (0, 5, 32, 33, 36, 42, 44, 50, 51, 58, 62, 91, 94, 138))

crc32: Extend = _crc32
crc32c: Extend = _crc32c()
crc64nvme: Extend = _crc64nvme()
