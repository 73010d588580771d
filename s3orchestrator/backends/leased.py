"""
A backend that is changed only while the lease of this process runs.

Once it has lapsed others may delete what we are writing, and use a name that we are deleting. So
nothing that changes anything is sent any more shortly before, and what is under way is broken off.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.protocol.ranges import ByteRange

T = TypeVar("T")

# A timer set for the end would sleep as long as a suspended machine does; this one is late by a second.
LOOK_EVERY = 1.0


@implementer(IBackend)
@define(eq=False)
class LeasedBackend:
    """Another backend; `may_send` tells whether a change may be sent to it now. Reads are not touched."""

    _backend: IBackend
    _may_send: Callable[[], bool]
    _clock: IReactorTime
    _sending: set[Deferred[Any]] = field(factory=set, init=False)
    _looking: IDelayedCall | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The backend's."""
        name: str = self._backend.name
        return name

    @property
    def traits(self) -> Traits | None:
        """The backend's."""
        traits: Traits | None = self._backend.traits
        return traits

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """Store an object, if there is time."""
        return await self._send(lambda: self._backend.put(name, body, description, exclusive=exclusive))

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """Remove an object, if there is time."""
        await self._send(lambda: self._backend.delete(name, version_id))

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """Copy an object, if there is time."""
        return await self._send(
            lambda: self._backend.copy(
                source, target, description, exclusive=exclusive, source_etag=source_etag
            )
        )

    async def create_upload(self, name: str, description: Description) -> str:
        """Begin an upload, if there is time."""
        return await self._send(lambda: self._backend.create_upload(name, description))

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """Store a part, if there is time."""
        return await self._send(lambda: self._backend.put_part(name, upload_id, number, body))

    async def copy_part(
        self,
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        *,
        source_etag: str | None = None,
    ) -> Stored:
        """Make a part, if there is time."""
        return await self._send(
            lambda: self._backend.copy_part(name, upload_id, number, source, wanted, source_etag=source_etag)
        )

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """Make an object of parts, if there is time."""
        return await self._send(
            lambda: self._backend.complete_upload(name, upload_id, parts, exclusive=exclusive, late=late)
        )

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """Discard an upload, if there is time."""
        await self._send(lambda: self._backend.abort_upload(name, upload_id))

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """Find out `traits`, if there is time."""
        return await self._send(lambda: self._backend.probe(scratch))

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """Open an object."""
        return await self._backend.get(name, wanted, etag=etag)

    async def head(self, name: str) -> Found:
        """Look at an object."""
        return await self._backend.head(name)

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """List objects."""
        return await self._backend.list_objects(prefix, after, limit)

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """List uploads."""
        return await self._backend.list_uploads(prefix)

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """List versions."""
        return await self._backend.list_versions(name)

    async def close(self) -> None:
        """Let go of everything."""
        await self._backend.close()

    async def _send(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if not self._may_send():
            raise BackendUnavailable(f"{self.name}: our lease is running out", sent=False)
        sending = start(change())
        self._sending.add(sending)
        if not sending.called:
            self._keep_looking()
        try:
            return await sending
        except Exception:
            if sending not in self._sending:
                raise BackendUnavailable(f"{self.name}: broken off, our lease is running out") from None
            raise
        finally:
            self._sending.discard(sending)
            if not self._sending and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def _keep_looking(self) -> None:
        if self._looking is None and self._sending:
            self._looking = self._clock.callLater(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Break off what is being sent once the time is over."""
        self._looking = None
        if self._may_send():
            self._keep_looking()
        else:
            self.break_off()

    def break_off(self) -> None:
        """Break off what is being sent: the lease has lapsed, or is about to. What has left the set was."""
        sending, self._sending = self._sending, set()
        for one in sending:
            one.cancel()
