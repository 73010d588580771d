"""Blobs in a bucket of any service that speaks S3."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.credentials import Credentials, Keys, StaticCredentials, default_chain
from s3orchestrator.backends.dialling import Address, dial_with
from s3orchestrator.backends.exchange import Reply, Timeouts
from s3orchestrator.backends.s3_listings import S3Listings
from s3orchestrator.backends.s3_probe import find_traits
from s3orchestrator.backends.s3_replies import described, etag_of, fetched, found_in, stored
from s3orchestrator.backends.s3_requests import S3Requests, place_of
from s3orchestrator.backends.s3_uploads import S3Uploads
from s3orchestrator.backends.transport import HttpClient
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.bodies.splicing import Splicer
from s3orchestrator.config.sections import BackendConfig
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.errors import BackendRefused, BackendUnavailable, BlobChanged, NameTaken, NoSuchBlob
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    ICountsRequests,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.protocol.canonical import encoded_query
from s3orchestrator.protocol.ranges import ByteRange

LONGEST_NAME = 1024  # bytes of UTF-8, S3's own limit

# S3's limit for one copy; services that follow it say so in one of these ways.
LARGEST_COPY = 5 * 1024 * 1024 * 1024
_TOO_LARGE = frozenset(["InvalidRequest", "EntityTooLarge", "InvalidArgument"])


@implementer(IBackend, ICountsRequests)
@define(eq=False)
class S3Backend:
    """
    A bucket of an S3 service as a backend.

    `checksums`: small bodies carry a CRC-32, so that the service notices if they were
    changed on the way; not all services know the header. `_minds_sources`: it is proven
    that copies of a source with another ETag are refused.
    """

    name: str
    _requests: S3Requests
    _uploads: S3Uploads
    _listings: S3Listings
    _checksums: bool = True
    traits: Traits | None = field(init=False, default=None)
    _minds_sources: bool = field(init=False, default=False)

    @property
    def requests_sent(self) -> int:
        """Every request that has left for the service, also those that were sent twice."""
        return self._requests.client.requests_sent

    @classmethod
    def of(
        cls, settings: BackendConfig, server: ServerConfig, reactor: Any, splicer: Splicer | None = None
    ) -> S3Backend:
        """
        Build what the configuration describes; nothing is sent before it is used.

        :raises ValueError: the endpoint is not a URL.
        """
        address, prefix = place_of(
            Address.of(settings.endpoint), settings.bucket, path_style=settings.force_path_style
        )
        timeouts = Timeouts(server.backend_timeout, min(server.read_timeout, server.write_timeout))
        client = HttpClient(
            settings.name,
            reactor,
            address.header,
            dial_with(reactor, address, timeouts.answer, settings.ca_file),
            timeouts,
            address.secure,
            splicer=splicer,
        )
        credentials: Credentials
        if settings.credential_source == "default_chain":
            credentials = default_chain(settings.name, reactor)
        else:
            credentials = StaticCredentials(Keys(settings.access_key_id, settings.secret_access_key))
        unsigned = settings.unsigned_payload
        if unsigned is None and address.secure:
            unsigned = True
        requests = S3Requests(settings.name, client, prefix, settings.region, credentials, reactor, unsigned)
        checksums = not (settings.disable_checksum or settings.strip_sdk_headers)
        return cls(
            settings.name, requests, S3Uploads(requests, settings.bucket), S3Listings(requests), checksums
        )

    # --- objects ----------------------------------------------------------------------------

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """See `IBackend`."""
        self._check_name(name)
        headers = described(description)
        if exclusive:
            headers[b"if-none-match"] = b"*"
        self._add_checksum(headers, body)
        reply = await self._requests.send(b"PUT", name, headers, body)
        if reply.status == 412 and exclusive:
            raise await self._taken(reply)
        await self._requests.done(reply)
        return stored(self.name, etag_of(reply), reply)

    def _check_name(self, name: str) -> None:
        """Not left to the service: some would take an empty name for the bucket."""
        if not 0 < len(name.encode()) <= LONGEST_NAME:
            raise BackendRefused(f"{self.name}: a name of {len(name.encode())} bytes", status=400)

    def _add_checksum(self, headers: dict[bytes, bytes], body: IBodyProducer) -> None:
        # Streams could carry one only behind the body, in a framing that few services know.
        if self._checksums and isinstance(body, BytesBody):
            headers[b"x-amz-checksum-crc32"] = _crc32_of(body)

    async def _taken(self, reply: Reply) -> NameTaken | BackendUnavailable:
        """What a refused exclusive write means: after a resend it may have been ours that came first."""
        await self._requests.refusal(reply)
        if reply.resent:
            return BackendUnavailable(f"{self.name}: the name is taken, perhaps by the request itself")
        return NameTaken(f"{self.name}: there is an object of that name")

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """See `IBackend`."""
        headers = {}
        if wanted is not None:
            headers[b"range"] = wanted.header.encode()
        if etag is not None:
            headers[b"if-match"] = f'"{etag}"'.encode()
        reply = await self._requests.send(b"GET", name, headers)
        if reply.status in (200, 206):
            return fetched(self.name, reply, wanted, etag)
        if reply.status == 412 and etag is not None:
            await self._requests.refusal(reply)
            raise BlobChanged(f"{self.name}: the object has another ETag")
        await self._requests.refuse(reply)
        raise AssertionError("refuse always raises")

    async def head(self, name: str) -> Found:
        """See `IBackend`."""
        reply = await self._requests.send(b"HEAD", name, {})
        if reply.status == 200:
            return found_in(self.name, reply)
        if reply.status == 404:
            await self._confirm_missing(name)
        await self._requests.refuse(reply)
        raise AssertionError("refuse always raises")

    async def _confirm_missing(self, name: str) -> None:
        """
        Find out what is missing: the answer to a HEAD does not say, and a bucket is not an object.

        :raises BackendError: always.
        """
        reply = await self._requests.send(b"GET", name, {b"range": b"bytes=0-0"})
        if reply.status >= 300 and reply.status != 416:
            await self._requests.refuse(reply)
        reply.body.stopProducing()
        raise BackendUnavailable(f"{self.name}: an object that was missing a moment ago")

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """See `IBackend`."""
        query = encoded_query({"versionId": version_id}) if version_id is not None else b""
        reply = await self._requests.send(b"DELETE", name, {}, query=query)
        if reply.status == 204 and isinstance(reply.body, BytesBody):
            return
        try:
            await self._requests.done(reply)
        except NoSuchBlob:
            return
        except BackendRefused as error:
            if error.code != "NoSuchVersion":
                raise

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """See `IBackend`."""
        self._check_name(target)
        await self._check_source(source, source_etag)
        return await self._copy(source, target, description, exclusive, source_etag)

    async def _check_source(self, source: str, source_etag: str | None) -> None:
        """Look first where the service does not: it would copy whatever is there."""
        if source_etag is None or self._minds_sources:
            return
        if (await self.head(source)).etag != source_etag:
            raise self._changed()

    def _changed(self) -> BlobChanged:
        return BlobChanged(f"{self.name}: the source of the copy has another ETag")

    async def _copy(
        self, source: str, target: str, description: Description, exclusive: bool, source_etag: str | None
    ) -> Stored:
        headers = described(description)
        headers.update(self._uploads.copy_source(source, source_etag))
        headers[b"x-amz-metadata-directive"] = b"REPLACE"
        if exclusive:
            headers[b"if-none-match"] = b"*"
        reply = await self._requests.send(b"PUT", target, headers)
        if reply.status == 412:
            raise await self._not_copied(reply, source, source_etag, exclusive=exclusive)
        try:
            return await self._uploads.copied(reply, "CopyObjectResult")
        except BackendRefused as error:
            size = await self._size_if_too_large(error, source, source_etag)
            if size is None:
                raise
        return await self._uploads.copy_in_parts(
            source, target, description, size, exclusive=exclusive, source_etag=source_etag
        )

    async def _not_copied(
        self, reply: Reply, source: str, source_etag: str | None, *, exclusive: bool
    ) -> Exception:
        """Find out which of the two conditions failed."""
        if not exclusive:
            await self._requests.refusal(reply)
            return self._changed()
        taken = await self._taken(reply)
        if source_etag is not None and (await self.head(source)).etag != source_etag:
            return self._changed()
        return taken

    async def _size_if_too_large(
        self, error: BackendRefused, source: str, source_etag: str | None
    ) -> int | None:
        if error.code not in _TOO_LARGE:
            return None
        found = await self.head(source)
        if source_etag is not None and found.etag != source_etag:
            raise self._changed()
        return found.size if found.size > LARGEST_COPY else None

    # --- multipart uploads --------------------------------------------------------------------

    async def create_upload(self, name: str, description: Description) -> str:
        """See `IBackend`."""
        self._check_name(name)
        return await self._uploads.create(name, description)

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """See `IBackend`."""
        headers: dict[bytes, bytes] = {}
        self._add_checksum(headers, body)
        return await self._uploads.put_part(name, upload_id, number, body, headers)

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
        """See `IBackend`."""
        await self._check_source(source, source_etag)
        try:
            return await self._uploads.copy_part(name, upload_id, number, source, wanted, source_etag)
        except BackendRefused as error:
            if error.status == 404 and not error.code:  # it does not say what is missing
                await self.head(source)
            raise

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """See `IBackend`; a service keeps what it was told when the upload was created."""
        return await self._uploads.complete(name, upload_id, parts, exclusive=exclusive)

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """See `IBackend`."""
        await self._uploads.abort(name, upload_id)

    # --- listings, and the rest -----------------------------------------------------------------

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """See `IBackend`."""
        return await self._listings.objects(prefix, after, limit)

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """See `IBackend`."""
        return await self._listings.uploads(prefix)

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """See `IBackend`."""
        return await self._listings.versions(name)

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """See `IBackend`."""
        simple, odd = scratch
        traits = await find_traits(self, simple, odd)
        self._minds_sources = await self._refuses_other_sources(simple)
        self.traits = traits
        return traits

    async def _refuses_other_sources(self, name: str) -> bool:
        try:
            await self._copy(name, name, Description("application/octet-stream"), False, "0" * 32)
        except BlobChanged:
            return True
        except BackendRefused:
            return False
        return False

    async def close(self) -> None:
        """See `IBackend`."""
        await self._requests.client.close()


def _crc32_of(body: BytesBody) -> bytes:
    return body.crc32.encode() if body.crc32 else b64encode(zlib.crc32(body.data).to_bytes(4, "big"))
