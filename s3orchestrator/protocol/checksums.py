"""Checksums of objects and parts: their names on the wire, their values, and which may be used where."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, Protocol

from attrs import define, frozen

from s3orchestrator.protocol import crc
from s3orchestrator.protocol.errors import S3Error

FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"

Headers = Mapping[bytes, Sequence[bytes]]


class Hasher(Protocol):
    """A checksum in the making."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


@define(eq=False)
class _CrcHasher:
    _extend: crc.Extend
    _size: int
    _crc: int = 0

    def update(self, data: bytes, /) -> None:
        self._crc = self._extend(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(self._size, "big")


@frozen(eq=False)
class Algorithm:
    """
    One of S3's checksum algorithms.

    `name` is how we write it, S3 writes it in capitals; `size` is that of the binary value.
    `polynomial` is None unless checksums of parts can be joined to that of the whole.
    """

    name: str
    size: int
    new: Callable[[], Hasher]
    polynomial: crc.Polynomial | None = None

    @property
    def header(self) -> str:
        return f"x-amz-checksum-{self.name}"

    @property
    def element(self) -> str:
        return f"Checksum{self.name.upper()}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a multipart upload may have, the default first."""
        if self.polynomial is None:
            return (COMPOSITE,)
        if self.name == "crc64nvme":
            return (FULL_OBJECT,)
        return (COMPOSITE, FULL_OBJECT)


ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("crc32", 4, lambda: _CrcHasher(crc.crc32, 4), crc.CRC32),
        Algorithm("crc32c", 4, lambda: _CrcHasher(crc.crc32c, 4), crc.CRC32C),
        Algorithm("crc64nvme", 8, lambda: _CrcHasher(crc.crc64nvme, 8), crc.CRC64NVME),
        Algorithm("sha1", 20, lambda: hashlib.sha1(usedforsecurity=False)),
        Algorithm("sha256", 32, hashlib.sha256),
    )
}

BY_HEADER: Mapping[bytes, Algorithm] = {
    algorithm.header.encode(): algorithm for algorithm in ALGORITHMS.values()
}
BY_ELEMENT: Mapping[str, Algorithm] = {algorithm.element: algorithm for algorithm in ALGORITHMS.values()}

# Headers that begin like those of values and are none.
_NOT_VALUES = frozenset({b"x-amz-checksum-algorithm", b"x-amz-checksum-mode", b"x-amz-checksum-type"})


@frozen
class Checksum:
    """
    A checksum as it is stored and told: `value` is base64, for composites with `-{number of parts}`.
    """

    algorithm: str
    value: str
    kind: str = FULL_OBJECT

    @classmethod
    def of_digest(cls, algorithm: str, digest: bytes) -> Checksum:
        """Write the binary value of a whole object or of one part."""
        return cls(algorithm, b64encode(digest).decode("ascii"))

    @classmethod
    def parse(cls, algorithm: str, text: str) -> Checksum:
        """
        Read a value as a client wrote it in a header or an element.

        :raises S3Error: `InvalidRequest`, unless it is base64 of the right length; a number
            of parts may follow.
        """
        encoded, dash, parts = text.partition("-")
        if _decoded(encoded, ALGORITHMS[algorithm].size) is None or (dash and not _is_count(parts)):
            raise S3Error("InvalidRequest", f"Value for {ALGORITHMS[algorithm].header} header is invalid.")
        return cls(algorithm, text, COMPOSITE if dash else FULL_OBJECT)

    @property
    def header(self) -> str:
        return ALGORITHMS[self.algorithm].header

    @property
    def element(self) -> str:
        return ALGORITHMS[self.algorithm].element

    @property
    def digest(self) -> bytes:
        """The binary value, without the number of parts."""
        return b64decode(self.value.partition("-")[0])

    def agrees_with(self, told: Checksum) -> bool:
        """
        Say whether this is what a client told; it may have left out the number of parts.
        """
        if self.algorithm != told.algorithm or self.digest != told.digest:
            return False
        return told.kind == FULL_OBJECT or self.value == told.value


def _decoded(text: str, size: int) -> bytes | None:
    try:
        value = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    # Padding bits that are not zero would give one value two spellings.
    return value if len(value) == size and b64encode(value).decode("ascii") == text else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) <= 5


def new(algorithm: str) -> Hasher:
    """Begin a checksum."""
    return ALGORITHMS[algorithm].new()


def algorithm_named(name: str, header: str = "x-amz-checksum-algorithm") -> str:
    """
    Return our name for the algorithm a client called `name`, in any case, in `header`.

    :raises S3Error: `InvalidRequest`: we don't know it.
    """
    found = name.lower()
    if found not in ALGORITHMS:
        known = ", ".join(sorted(known.upper() for known in ALGORITHMS))
        raise S3Error(
            "InvalidRequest",
            f"Value for {header} header is invalid: the checksum algorithm must be one of [{known}].",
        )
    return found


def in_headers(headers: Headers) -> Checksum | None:
    """
    Return the checksum a client sent in an `x-amz-checksum-*` header.

    :raises S3Error: `InvalidRequest`: several, an unknown algorithm, or not a value of it.
    """
    found: list[tuple[bytes, bytes]] = [
        (name, b",".join(values))
        for name, values in headers.items()
        if name.startswith(b"x-amz-checksum-") and name not in _NOT_VALUES
    ]
    if not found:
        return None
    if len(found) > 1:
        refuse_several()
    name, value = found[0]
    algorithm = algorithm_named(
        name.removeprefix(b"x-amz-checksum-").decode("latin-1"), name.decode("latin-1")
    )
    return Checksum.parse(algorithm, value.strip().decode("latin-1"))


def for_upload(headers: Headers) -> tuple[str, str] | None:
    """
    Return the algorithm and kind a multipart upload is to have, None if it was not asked for any.

    :raises S3Error: `InvalidRequest`: unknown, or the two do not go together.
    """
    name = _single(headers, b"x-amz-checksum-algorithm")
    kind = _single(headers, b"x-amz-checksum-type")
    if name is None:
        if kind is not None:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )
        return None
    algorithm = ALGORITHMS[algorithm_named(name)]
    chosen = algorithm.kinds[0] if kind is None else kind.upper()
    if chosen not in (FULL_OBJECT, COMPOSITE):
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    if chosen not in algorithm.kinds:
        raise S3Error(
            "InvalidRequest",
            f"The {chosen} checksum type cannot be used with the {algorithm.name} checksum algorithm.",
        )
    return algorithm.name, chosen


def for_copy(headers: Headers) -> str | None:
    """
    Return the algorithm a copy shall be given instead of its source's, None to keep that.

    :raises S3Error: `InvalidRequest`: unknown.
    """
    name = _single(headers, b"x-amz-checksum-algorithm")
    return None if name is None else algorithm_named(name)


def check_part(algorithm: str | None, sent: str | None) -> None:
    """
    Refuse a part whose checksum is not the one its upload was created with.

    :raises S3Error: `InvalidRequest`.
    """
    # An upload without an algorithm verifies what a part brings, and forgets it.
    if algorithm is not None and sent is not None and sent != algorithm:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm},"
            f" actual checksum Type: {sent}",
        )


def check_listed(algorithm: str, kind: str, listed: Sequence[tuple[int, Checksum | None]]) -> None:
    """
    Refuse a completion that leaves out checksums a composite is made of.

    `listed` are part numbers and what the client's list says of them.

    :raises S3Error: `InvalidRequest`.
    """
    if kind != COMPOSITE:
        return
    for number, checksum in listed:
        if checksum is None:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {algorithm} checksum. The complete request must include the"
                f" checksum for each part. It was missing for part {number} in the request.",
            )


def of_parts(algorithm: str, kind: str, parts: Sequence[tuple[Checksum, int]]) -> Checksum:
    """
    Return the checksum of an object made of `parts`, given theirs and their sizes in bytes.

    No data is read again: a composite is computed over the parts' values, and the CRC of
    the whole follows from theirs. `kind` must be one of the algorithm's.
    """
    if kind == COMPOSITE:
        return _composite(algorithm, [checksum.digest for checksum, _ in parts])
    known = ALGORITHMS[algorithm]
    if known.polynomial is None:
        raise ValueError(f"{algorithm} of a whole does not follow from its parts")
    whole = 0
    for checksum, length in parts:
        whole = known.polynomial.combine(whole, int.from_bytes(checksum.digest, "big"), length)
    return Checksum.of_digest(algorithm, whole.to_bytes(known.size, "big"))


def _composite(algorithm: str, digests: Sequence[bytes]) -> Checksum:
    hasher = new(algorithm)
    for digest in digests:
        hasher.update(digest)
    value = b64encode(hasher.digest()).decode("ascii")
    return Checksum(algorithm, f"{value}-{len(digests)}", COMPOSITE)


def check_whole(computed: Checksum, told: Checksum | None) -> None:
    """
    Refuse a completion whose headers tell another checksum than the parts have.

    :raises S3Error: `BadDigest`.
    """
    if told is not None and not computed.agrees_with(told):
        refuse_mismatch(told.algorithm)


def refuse_several() -> NoReturn:
    raise S3Error(
        "InvalidRequest",
        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )


def refuse_mismatch(algorithm: str) -> NoReturn:
    raise S3Error(
        "BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum."
    )


def _single(headers: Headers, name: bytes) -> str | None:
    values = headers.get(name)
    return None if values is None else b",".join(values).strip().decode("latin-1")
