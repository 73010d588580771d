"""
A backend behind a gate.

Nothing here knows what kind of backend it is: every verb goes through `_through`, save the
one that leaves a body to be read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from attrs import define
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.guard import Admitted, Guard, LimitedAs
from s3orchestrator.domain.usage import ONE_REQUEST, Counters
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    IOwnership,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.protocol.ranges import ByteRange

T = TypeVar("T")


@implementer(IBackend)
@define(eq=False)
class GuardedBackend:
    """
    Any backend, with its breaker, its limits and its metrics.

    Writes and reads are held to the monthly limits. Deleting, aborting and looking are not:
    space can always be freed. Nor is completing an upload, whose parts have been paid for.

    Before anything is changed `ownership` is asked. Without it, and not held to limits, is who
    finds out whose the backend is.
    """

    backend: IBackend
    guard: Guard
    ownership: IOwnership | None = None
    is_limited: bool = True

    @property
    def name(self) -> str:
        """The backend's."""
        return self.backend.name

    @property
    def traits(self) -> Traits | None:
        """The backend's."""
        return self.backend.traits

    def _begin(self, operation: str, proposed: Counters, limited_as: LimitedAs) -> Admitted:
        return self.guard.begin(operation, proposed, limited_as if self.is_limited else None)

    async def _before_writing(self) -> None:
        if self.ownership is not None:
            await self.ownership.before_writing(self.name)

    async def _before_removing(self) -> None:
        if self.ownership is not None:
            await self.ownership.before_removing(self.name)

    async def _through(self, call: Admitted, work: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await work()
        except BaseException as error:
            call.raised(error)
            raise
        call.answered()
        return answer

    async def _send(
        self, operation: str, body: IBodyProducer, work: Callable[[IBodyProducer], Awaitable[T]]
    ) -> T:
        await self._before_writing()
        size = 0 if body.length is UNKNOWN_LENGTH else body.length
        call = self._begin(operation, Counters(1, 0, size), "write")
        outgoing = call.sending(body)
        try:
            answer = await work(outgoing)
        except BaseException as error:
            call.sent(outgoing)
            call.raised(error)
            raise
        call.sent(outgoing)
        call.answered()
        return answer

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """See `IBackend`."""
        return await self._send(
            "PutObject",
            body,
            lambda outgoing: self.backend.put(name, outgoing, description, exclusive=exclusive),
        )

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """See `IBackend`. How much a whole object is becomes known with its headers."""
        call = self._begin("GetObject", Counters(1, wanted.length if wanted else 0), "read")
        try:
            fetched = await self.backend.get(name, wanted, etag=etag)
        except BaseException as error:
            call.raised(error)
            raise
        if wanted is None and self.is_limited and self.guard.meter.is_limited:
            self._hold_whole(call, fetched)
        body = call.opened(fetched.body)
        return fetched if body is fetched.body else Fetched(fetched.size, fetched.etag, body)

    def _hold_whole(self, call: Admitted, fetched: Fetched) -> None:
        whole = Counters(0, fetched.size)
        try:
            self.guard.meter.check(whole, writing=False)
        except BaseException:
            fetched.body.stopProducing()
            call.answered()
            raise
        call.held.more(whole)

    async def head(self, name: str) -> Found:
        """See `IBackend`."""
        return await self._through(self.guard.begin("HeadObject"), partial(self.backend.head, name))

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """See `IBackend`."""
        await self._before_removing()
        call = self.guard.begin("DeleteObject")
        await self._through(call, partial(self.backend.delete, name, version_id))

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """See `IBackend`. The bytes neither leave nor enter."""
        work = partial(
            self.backend.copy, source, target, description, exclusive=exclusive, source_etag=source_etag
        )
        await self._before_writing()
        return await self._through(self._begin("CopyObject", ONE_REQUEST, "write"), work)

    async def create_upload(self, name: str, description: Description) -> str:
        """See `IBackend`."""
        await self._before_writing()
        call = self._begin("CreateMultipartUpload", ONE_REQUEST, "write")
        return await self._through(call, partial(self.backend.create_upload, name, description))

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """See `IBackend`."""
        return await self._send("UploadPart", body, partial(self.backend.put_part, name, upload_id, number))

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
        """See `IBackend`. The bytes neither leave nor enter."""
        work = partial(
            self.backend.copy_part, name, upload_id, number, source, wanted, source_etag=source_etag
        )
        await self._before_writing()
        return await self._through(self._begin("UploadPartCopy", ONE_REQUEST, "write"), work)

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """See `IBackend`."""
        work = partial(self.backend.complete_upload, name, upload_id, parts, exclusive=exclusive, late=late)
        await self._before_writing()
        return await self._through(self.guard.begin("CompleteMultipartUpload"), work)

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """See `IBackend`."""
        await self._before_removing()
        call = self.guard.begin("AbortMultipartUpload")
        await self._through(call, partial(self.backend.abort_upload, name, upload_id))

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """See `IBackend`."""
        call = self.guard.begin("ListObjectsV2")
        return await self._through(call, partial(self.backend.list_objects, prefix, after, limit))

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """See `IBackend`."""
        call = self.guard.begin("ListMultipartUploads")
        return await self._through(call, partial(self.backend.list_uploads, prefix))

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """See `IBackend`."""
        call = self.guard.begin("ListObjectVersions")
        return await self._through(call, partial(self.backend.list_versions, name))

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """See `IBackend`. Many requests, whose own failures decide how the whole ends."""
        await self._before_writing()
        return await self._through(self.guard.begin("Probe"), partial(self.backend.probe, scratch))

    async def close(self) -> None:
        """See `IBackend`."""
        await self.backend.close()
