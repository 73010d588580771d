"""Bytes on their way from one of our backends to another: measured, and compared with what we know."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.errors import BackendError, BodyAborted, IntegrityError
from s3orchestrator.interfaces import Filter
from s3orchestrator.protocol.checksums import Checksum, Hasher, new
from s3orchestrator.protocol.digests import Digests

_MD5 = re.compile(r"[0-9a-f]{32}\Z")


def is_md5(etag: str) -> bool:
    """Tell whether an ETag can be the MD5 of its object; one of a multipart object cannot."""
    return _MD5.match(etag) is not None


@define(eq=False)
class Passing:
    """
    Bytes that one of our own backends sends: measured on the way, and compared with what we know.

    `md5` is what they must hash to, None if nobody knows; then it is computed. `checksum`
    is what they must have besides.
    """

    length: int
    _md5: str | None = None
    _checksum: Checksum | None = None
    _algorithm: str | None = None
    _measure: Measure | None = field(default=None, init=False)

    def filters(self, *, want_md5: bool, want: str | None = None) -> Sequence[Filter]:
        """One filter, measuring what will be asked for."""
        self._algorithm = want or self._algorithm
        self._measure = Measure(
            self.length, self._md5, self._checksum, self._algorithm, want_md5=want_md5 or not self._md5
        )
        return [self._measure]

    def foretold(self) -> Digests:
        """What we know."""
        is_wanted = self._checksum is not None and self._checksum.algorithm == self._algorithm
        return Digests(md5=self._md5, checksum=self._checksum if is_wanted else None)

    def digests(self) -> Digests:
        """What was measured; a known MD5 counts even if it was not computed again."""
        assert self._measure is not None
        return Digests(md5=self._measure.md5 or self._md5, checksum=self._measure.checksum)


class Measure:
    """Hashes what passes; holds the last bytes back until they are known to be right."""

    md5: str | None = None
    checksum: Checksum | None = None

    def __init__(
        self,
        length: int,
        md5: str | None,
        checksum: Checksum | None,
        algorithm: str | None,
        *,
        want_md5: bool,
    ) -> None:
        self._left = length
        self._expected = md5
        self._expected_checksum = checksum
        self._hash = hashlib.md5(usedforsecurity=False) if want_md5 else None
        self._running: Hasher | None = new(algorithm) if algorithm else None
        self._algorithm = algorithm
        self._held = b""

    def resize(self, length: int) -> int:
        """The bytes are not changed."""
        return length

    def update(self, data: bytes) -> bytes:
        """Pass on what came before."""
        if self._hash is not None:
            self._hash.update(data)
        if self._running is not None:
            self._running.update(data)
        self._left -= len(data)
        passed, self._held = self._held, data
        return passed

    def finish(self) -> bytes:
        """
        Pass on the last bytes.

        :raises IntegrityError: they are not what the ledger says.
        """
        if self._left:
            raise IntegrityError(f"the copy has {-self._left} bytes more than the ledger says")
        if self._hash is not None:
            self.md5 = self._hash.hexdigest()
            if self._expected is not None and self.md5 != self._expected:
                raise IntegrityError(f"the copy has the MD5 {self.md5} instead of {self._expected}")
        if self._running is not None and self._algorithm is not None:
            self.checksum = Checksum.of_digest(self._algorithm, self._running.digest())
            known = self._expected_checksum
            if known is not None and known.algorithm == self._algorithm and known != self.checksum:
                raise IntegrityError(f"the copy has another {self._algorithm} than the ledger says")
        return self._held


@implementer(IBodyProducer)
@define(eq=False)
class Lent:
    """
    A backend's body as one that somebody sends us: its failure is the sender's.

    Else the backend that takes it would be held responsible for the one that gives it.
    """

    _source: IBodyProducer

    @property
    def length(self) -> int:
        """The source's."""
        length: int = self._source.length
        return length

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Start the source."""
        produced: Deferred[None] = self._source.startProducing(consumer)
        return produced.addErrback(self._broken_off)

    def pauseProducing(self) -> None:
        """Pause the source."""
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the source."""
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        """Stop the source."""
        self._source.stopProducing()

    @staticmethod
    def _broken_off(failure: Failure) -> None:
        failure.trap(BackendError)
        raise BodyAborted(f"the source of a copy: {failure.value}") from failure.value
