"""The last stage of an upload on its way in: nothing is whole before its digests have matched."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import partial

from attrs import define, evolve, field, frozen

from s3orchestrator.protocol import checksums
from s3orchestrator.protocol.checksums import Checksum, Hasher
from s3orchestrator.protocol.errors import S3Error


@frozen
class Digests:
    """What was computed or verified while a body passed, hashes in hex; None where nobody asked."""

    md5: str | None = None
    sha256: str | None = None
    checksum: Checksum | None = None


@define(eq=False, repr=False)
class Verifier:
    """
    A filter that changes nothing, and holds the newest bytes back until all is known to be right.

    What was declared: `length`; `md5`; `sha256`, the payload's hash in hex; `checksum`, asked
    for at the end only, since a trailer comes no sooner. `algorithms` are computed: among
    them must be those of what was declared. One pass each, whoever else wants to know.
    """

    length: int
    _algorithms: Iterable[str]
    _md5: bytes | None = None
    _sha256: bytes | None = None
    _checksum: Callable[[], Checksum | None] = lambda: None
    _hashers: dict[str, Hasher] = field(init=False)
    _results: dict[str, bytes] = field(init=False, factory=dict)
    _size: int = field(init=False, default=0)
    _held: bytes = field(init=False, default=b"")

    def __attrs_post_init__(self) -> None:
        self._hashers = {algorithm: _new(algorithm) for algorithm in self._algorithms}

    def resize(self, length: int) -> int:
        return length

    def update(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self.length:
            raise S3Error("IncompleteBody")
        for hasher in self._hashers.values():
            hasher.update(data)
        if not data:
            return b""
        ready, self._held = self._held, data
        return ready

    def finish(self) -> bytes:
        if self._size != self.length:
            raise S3Error("IncompleteBody")
        self._results = {algorithm: hasher.digest() for algorithm, hasher in self._hashers.items()}
        self._check_payload_hash()
        self._check_md5()
        self._check_checksum()
        last, self._held = self._held, b""
        return last

    def digest(self, algorithm: str) -> bytes | None:
        """Return a binary value once all is done; None before, and if it was not computed."""
        return self._results.get(algorithm)

    def _check_payload_hash(self) -> None:
        if self._sha256 is None:
            return
        computed = self._results["sha256"].hex()
        if computed.encode() != self._sha256.lower():
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._sha256.decode(),
                S3ComputedContentSHA256=computed,
            )

    def _check_md5(self) -> None:
        if self._md5 is None:
            return
        computed = self._results["md5"]
        if computed != self._md5:
            raise S3Error(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                ExpectedDigest=b64encode(self._md5).decode(),
                CalculatedDigest=b64encode(computed).decode(),
            )

    def _check_checksum(self) -> None:
        told = self._checksum()
        if told is not None and self._results[told.algorithm] != told.digest:
            checksums.refuse_mismatch(told.algorithm)


def with_md5(digests: Digests, data: bytes) -> Digests:
    """Return `digests` of `data` with its MD5, computed if it is not among them."""
    return digests if digests.md5 is not None else evolve(digests, md5=_md5(data).hexdigest())


def _new(algorithm: str) -> Hasher:
    # S3 has no checksum of this name; its ETags are made of it.
    return _md5() if algorithm == "md5" else checksums.new(algorithm)


_md5 = partial(hashlib.md5, usedforsecurity=False)
