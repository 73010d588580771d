"""
Bytes on their way in: where they come from, and what is known of them at the end.

The engine does not care whether a client or another backend sends them. It decides, per
attempt, whether an MD5 must be computed because the backend's own ETag will not be one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.web.iweb import IBodyProducer

from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.interfaces import Filter
from s3orchestrator.protocol.digests import Digests


class Declared(Protocol):
    """What a sender said about a body, as filters that hold the last bytes back until it proves true."""

    @property
    def length(self) -> int:
        """Bytes of the object, without any framing."""

    def filters(self, *, want_md5: bool, want: str | None) -> Sequence[Filter]:
        """The filters, source first; `want` is a checksum to compute besides. Called once."""

    def foretold(self) -> Digests:
        """What the body's digests are if it is accepted, as far as that is known before it has come."""

    def digests(self) -> Digests:
        """What has been found out; called after the filters have finished."""


@frozen
class Incoming:
    """
    A body that may be started once, with what was declared about it.

    `algorithm` is that of the checksum a client sends along, None if it sends none.
    """

    source: IBodyProducer
    declared: Declared
    algorithm: str | None = None

    @property
    def length(self) -> int:
        """Bytes of the object."""
        return self.declared.length

    def open(self, *, want_md5: bool, want: str | None = None) -> tuple[IBodyProducer, Callable[[], Digests]]:
        """Return the verified body, and what to call for the digests after its end."""
        body = self.source
        for stage in self.declared.filters(want_md5=want_md5, want=want):
            # HTTP's own chunks say nothing of their sum. What comes out is of the declared length, or fails.
            body = FilteredBody(body, stage, self.length)
        return body, self.declared.digests
