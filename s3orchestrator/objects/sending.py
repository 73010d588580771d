"""
Getting a body onto one of several backends, under a reserved name.

This is what writing, parts and copies share: small bodies are collected and verified
before any backend hears of them, so that each of them can be tried; larger ones stream,
and can go to another backend only as long as nobody has started them.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.web.iweb import IBodyProducer

from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.domain.describing import Known
from s3orchestrator.errors import IntegrityError
from s3orchestrator.interfaces import Stored, Traits
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.digests import Digests, with_md5

# Bytes of a kept body whose MD5 is computed although the backend's ETag will be one: it costs next to
# nothing, and shows that the backend has got the same. That of a MiB costs as much as three small objects.
HASHED_ANYWAY = 64 * 1024


@define(eq=False)
class Sending:
    """
    One body of at least `keep` bytes streams, a smaller one is kept; `want` is a checksum to compute.

    `offer` gives a body for one attempt. `is_replayable` tells whether another attempt is
    possible: always for a body that is kept, otherwise until it was first offered.
    """

    _incoming: Incoming
    _keep: int
    _want: str | None = None
    _kept: bytes | None = field(default=None, init=False)
    _reading: bool = field(default=False, init=False)
    _digests: Digests | None = field(default=None, init=False)
    _body: IBodyProducer | None = field(default=None, init=False)
    _found: Callable[[], Digests] = field(default=Digests, init=False)

    @property
    def length(self) -> int:
        """Bytes of the object."""
        return self._incoming.length

    @property
    def is_replayable(self) -> bool:
        """Tell whether `offer` may be called (again)."""
        if self._kept is not None:
            return True
        return not self._reading and not (self._body is not None and getattr(self._body, "started", True))

    @property
    def is_kept(self) -> bool:
        """Tell whether all of it is here, and all is known of it, before any is sent."""
        return self._kept is not None

    async def offer(self, traits: Traits) -> IBodyProducer:
        """
        Return the body for an attempt on a backend with these traits.

        :raises S3Error: a kept body is not what was declared.
        :raises BodyAborted: the client left before it was kept.
        """
        want_md5 = not traits.md5_etags
        if self._kept is None and 0 <= self.length <= self._keep:
            self._reading = True  # from here on the source cannot be read again
            is_cheap = self.length <= HASHED_ANYWAY
            body, digests = self._incoming.open(want_md5=want_md5 or is_cheap, want=self._want)
            self._kept = await collect(body, self.length)
            self._digests = digests()
        if self._kept is not None:
            if want_md5:
                self._digests = with_md5(self._digests or Digests(), self._kept)
            return _known(self._kept, self._digests or Digests())
        # A body that was offered but never started is opened anew: another backend has other traits.
        self._body, self._found = self._incoming.open(want_md5=want_md5, want=self._want)
        return self._body

    def digests(self) -> Digests:
        """What was found out about the body; after an attempt succeeded."""
        return self._digests or self._found()

    def foretold(self) -> Known:
        """What is known of the body as its headers leave."""
        digests = self._digests or self._incoming.declared.foretold()
        return Known(digests.md5 or "", digests.checksum)

    def told(self) -> Known:
        """What is known of the body after its end; the ETag only if we made one."""
        digests = self.digests()
        return Known(digests.md5 or "", digests.checksum)

    def etag_of(self, stored: Stored, traits: Traits) -> str:
        """
        Return the ETag to tell the client: the MD5, by us or by the backend.

        :raises IntegrityError: both are known and differ, so the backend has other bytes.
        """
        ours = self.digests().md5
        if traits.md5_etags and stored.etag and ours and stored.etag != ours:
            raise IntegrityError(f"the backend stored an object with ETag {stored.etag}, not {ours}")
        return ours or stored.etag


def _known(data: bytes, digests: Digests) -> BytesBody:
    """Return a body with what was found out about it, lest a backend that wants that computes it again."""
    checksum = digests.checksum
    crc32 = checksum.value if checksum is not None and checksum.algorithm == "crc32" else None
    return BytesBody(data, digests.sha256, crc32)
