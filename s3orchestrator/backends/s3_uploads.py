"""Multipart uploads on an S3 service, and copies too large for one request."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.web.iweb import IBodyProducer

from s3orchestrator.backends.exchange import Reply
from s3orchestrator.backends.s3_documents import complete_document
from s3orchestrator.backends.s3_replies import bare_etag, described, etag_of, stored
from s3orchestrator.backends.s3_requests import S3Requests, Unreadable
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import shield
from s3orchestrator.domain.multipart import composite_etag
from s3orchestrator.errors import BackendError, BackendUnavailable, BlobChanged, NameTaken, NoSuchUpload
from s3orchestrator.interfaces import Description, Stored
from s3orchestrator.protocol.canonical import encoded_query
from s3orchestrator.protocol.encoding import encode_key
from s3orchestrator.protocol.ranges import ByteRange

# One request copies at most 5 GiB; S3's largest object in parts of this size is 5120 parts.
COPIED_AT_ONCE = 1024 * 1024 * 1024


@frozen
class S3Uploads:
    """Multipart uploads, through a backend's requests."""

    _requests: S3Requests
    _bucket: str

    async def create(self, name: str, description: Description) -> str:
        """
        See `IBackend.create_upload`.

        Never sent twice: an upload that nobody knows of would keep its parts for ever.
        """
        headers = described(description)
        reply = await self._requests.send(b"POST", name, headers, query=b"uploads=", repeatable=False)
        document = await self._requests.document(reply, "InitiateMultipartUploadResult")
        upload_id = document.fields.get("UploadId", "")
        if not upload_id:
            raise BackendUnavailable(f"{self._requests.name}: an upload without an id")
        return upload_id

    async def put_part(
        self, name: str, upload_id: str, number: int, body: IBodyProducer, headers: dict[bytes, bytes]
    ) -> Stored:
        """See `IBackend.put_part`."""
        reply = await self._requests.send(b"PUT", name, headers, body, query=_part(upload_id, number))
        await self._check_known(reply, name, upload_id)
        await self._requests.done(reply)
        return stored(self._requests.name, etag_of(reply), reply)

    async def copy_part(
        self,
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        source_etag: str | None,
    ) -> Stored:
        """See `IBackend.copy_part`."""
        headers = self.copy_source(source, source_etag)
        if wanted is not None:
            headers[b"x-amz-copy-source-range"] = wanted.header.encode()
        reply = await self._requests.send(b"PUT", name, headers, query=_part(upload_id, number))
        if reply.status == 412:
            await self._requests.refusal(reply)
            raise BlobChanged(f"{self._requests.name}: the source of the copy has another ETag")
        await self._check_known(reply, name, upload_id)
        return await self.copied(reply, "CopyPartResult")

    async def _check_known(self, reply: Reply, name: str, upload_id: str) -> None:
        """
        Find out whether a server error only means that it does not know the upload.

        radosgw answers so to a Complete, moto to everything.

        :raises NoSuchUpload: it does not know it.
        """
        if reply.status != 500:
            return
        query = encoded_query({"uploadId": upload_id, "max-parts": "1"})
        parts = await self._requests.send(b"GET", name, {}, query=query)
        if parts.status != 404:
            parts.body.stopProducing()
            return
        refusal = await self._requests.refusal(parts)
        if refusal.code in ("NoSuchUpload", "NoSuchKey"):
            reply.body.stopProducing()
            raise NoSuchUpload(f"{self._requests.name}: {upload_id}")

    def copy_source(self, source: str, source_etag: str | None) -> dict[bytes, bytes]:
        """Return the headers that name what is copied."""
        headers = {b"x-amz-copy-source": f"/{encode_key(self._bucket)}/{encode_key(source)}".encode()}
        if source_etag is not None:
            headers[b"x-amz-copy-source-if-match"] = f'"{source_etag}"'.encode()
        return headers

    async def copied(self, reply: Reply, root: str) -> Stored:
        """Return what a copy stored; the ETag is in the document, and a 200 may still be a failure."""
        document = await self._requests.document(reply, root)
        return stored(self._requests.name, bare_etag(document.fields.get("ETag", "")), reply)

    async def complete(
        self, name: str, upload_id: str, parts: Sequence[tuple[int, str]], *, exclusive: bool
    ) -> Stored:
        """See `IBackend.complete_upload`. Never sent twice: who asks can look what became of it."""
        headers = {b"content-type": b"application/xml"}
        if exclusive:
            headers[b"if-none-match"] = b"*"
        body = BytesBody(complete_document(parts))
        query = encoded_query({"uploadId": upload_id})
        reply = await self._requests.send(b"POST", name, headers, body, query=query, repeatable=False)
        if reply.status == 412 and exclusive:
            await self._requests.refusal(reply)
            raise NameTaken(f"{self._requests.name}: there is an object of that name")
        await self._check_known(reply, name, upload_id)
        etag = await self._etag_told(reply) or await self._etag_found(name, parts)
        return stored(self._requests.name, etag, reply)

    async def _etag_told(self, reply: Reply) -> str:
        """Return the ETag in the answer, empty if it has none or puts names in it that break its XML."""
        try:
            document = await self._requests.document(reply, "CompleteMultipartUploadResult")
        except Unreadable:
            return ""
        return bare_etag(document.fields.get("ETag", ""))

    async def _etag_found(self, name: str, parts: Sequence[tuple[int, str]]) -> str:
        """
        Return the ETag of the object that is there, empty if it was not made of these parts.

        radosgw 16 says yes, but not to what.
        """
        reply = await self._requests.send(b"HEAD", name, {})
        await self._requests.done(reply)
        etag = etag_of(reply)
        return etag if etag == composite_etag([etag for _, etag in parts]) else ""

    async def abort(self, name: str, upload_id: str) -> None:
        """See `IBackend.abort_upload`."""
        query = encoded_query({"uploadId": upload_id})
        reply = await self._requests.send(b"DELETE", name, {}, query=query)
        try:
            await self._requests.done(reply)
        except NoSuchUpload:
            return

    async def copy_in_parts(
        self,
        source: str,
        target: str,
        description: Description,
        size: int,
        *,
        exclusive: bool,
        source_etag: str | None,
    ) -> Stored:
        """Copy an object of `size` bytes as a multipart upload; on failure nothing of it is left."""
        upload_id = await self.create(target, description)
        try:
            parts = []
            for number, start in enumerate(range(0, size, COPIED_AT_ONCE), 1):
                wanted = ByteRange(start, min(start + COPIED_AT_ONCE, size) - 1)
                part = await self.copy_part(target, upload_id, number, source, wanted, source_etag)
                parts.append((number, part.etag))
            return await self.complete(target, upload_id, parts, exclusive=exclusive)
        except (CancelledError, BackendError):
            await shield(self._abort_quietly(target, upload_id))
            raise

    async def _abort_quietly(self, name: str, upload_id: str) -> None:
        try:
            await self.abort(name, upload_id)
        except BackendError:
            # The failure that led here is what counts; whoever cleans the name up lists uploads.
            return


def _part(upload_id: str, number: int) -> bytes:
    return encoded_query({"partNumber": str(number), "uploadId": upload_id})
