"""What a bucket of an S3 service holds, page by page."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from s3orchestrator.backends.s3_documents import (
    MAX_LISTING,
    Document,
    Named,
    is_encoded,
    milliseconds,
    named_entries,
    plain,
)
from s3orchestrator.backends.s3_replies import bare_etag
from s3orchestrator.backends.s3_requests import S3Requests, Unreadable
from s3orchestrator.errors import BackendRefused, BackendUnavailable
from s3orchestrator.interfaces import ListedObject, ListedUpload
from s3orchestrator.protocol.canonical import encoded_query

PAGE = 1000  # S3's own limit


@frozen
class S3Listings:
    """The listings that a backend needs, through its requests."""

    _requests: S3Requests

    async def objects(self, prefix: str, after: str, limit: int) -> Sequence[ListedObject]:
        """
        See `IBackend.list_objects`.

        :raises BackendRefused: the names do not come in byte order, which listing relies on.
        """
        found: list[ListedObject] = []
        query = {"list-type": "2", "encoding-type": "url"}
        query.update({name: value for name, value in (("prefix", prefix), ("start-after", after)) if value})
        while len(found) < limit:
            query["max-keys"] = str(min(PAGE, limit - len(found)))
            document = await self._page(
                {name: value for name, value in query.items() if value}, "ListBucketResult"
            )
            found += [_object(entry) for entry in named_entries(document, ["Contents"])]
            token = document.fields.get("NextContinuationToken", "")
            if not _goes_on(document) or not token:
                break
            query["continuation-token"] = token
        self._check_order(after, found)
        return found

    def _check_order(self, after: str, found: Sequence[ListedObject]) -> None:
        before = after.encode()
        for each in found:
            name = each.name.encode()
            if name <= before and before:
                raise BackendRefused(f"{self._requests.name}: it does not list names in byte order")
            before = name

    async def uploads(self, prefix: str) -> Sequence[ListedUpload]:
        """
        See `IBackend.list_uploads`.

        Asked to encode names, radosgw does but does not say so. So names come in plain, unless
        they have characters that XML has no place for.
        """
        if not any(character < " " for character in prefix):
            try:
                return await self._uploads(prefix, encoded=False)
            except Unreadable:
                pass
        return await self._uploads(prefix, encoded=True)

    async def _uploads(self, prefix: str, *, encoded: bool) -> Sequence[ListedUpload]:
        found: list[ListedUpload] = []
        query = {"uploads": "", "max-uploads": str(PAGE)}
        if encoded:
            query["encoding-type"] = "url"
        if prefix:
            query["prefix"] = prefix
        while True:
            document = await self._page(query, "ListMultipartUploadsResult")
            found += [_upload(entry) for entry in named_entries(document, ["Upload"], encoded=encoded)]
            markers = _markers(document, "NextKeyMarker", "NextUploadIdMarker")
            if not _goes_on(document) or not self._advances(query, markers, "key-marker", "upload-id-marker"):
                return found

    async def versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """See `IBackend.list_versions`."""
        found: list[tuple[str, bool]] = []
        query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE), "prefix": name}
        while True:
            document = await self._page(query, "ListVersionsResult")
            entries = named_entries(document, ["Version", "DeleteMarker"])
            found += [_version(entry) for entry in entries if entry.name == name]
            markers = _markers(document, "NextKeyMarker", "NextVersionIdMarker")
            # Longer names follow the shorter one that they start with.
            others = any(entry.name != name for entry in entries)
            if others or not _goes_on(document):
                break
            if not self._advances(query, markers, "key-marker", "version-id-marker"):
                break
        # Without versioning every object is listed as the version "null".
        return [] if all(version == ("null", False) for version in found) else found

    async def _page(self, query: dict[str, str], root: str) -> Document:
        reply = await self._requests.send(b"GET", "", {}, query=encoded_query(query))
        return await self._requests.document(reply, root, MAX_LISTING, strict=True)

    def _advances(self, query: dict[str, str], markers: tuple[str, str], key: str, second: str) -> bool:
        """Move `query` to the next page; False if there is nothing to go on from."""
        if not markers[0]:
            return False
        if (query.get(key), query.get(second)) == markers:
            raise BackendUnavailable(f"{self._requests.name}: a listing that goes round in circles")
        query[key], query[second] = markers
        return True


def _goes_on(document: Document) -> bool:
    return document.fields.get("IsTruncated") == "true"


def _markers(document: Document, key: str, second: str) -> tuple[str, str]:
    return plain(document.fields.get(key, ""), encoded=is_encoded(document)), document.fields.get(second, "")


def _object(entry: Named) -> ListedObject:
    size = entry.fields.get("Size", "")
    if not size.isdecimal():
        raise BackendUnavailable(f"a listing without the size of {entry.name!r}")
    return ListedObject(
        entry.name,
        int(size),
        bare_etag(entry.fields.get("ETag", "")),
        milliseconds(entry.fields.get("LastModified", "")),
    )


def _upload(entry: Named) -> ListedUpload:
    initiated = milliseconds(entry.fields.get("Initiated", ""))
    return ListedUpload(entry.name, entry.fields.get("UploadId", ""), initiated)


def _version(entry: Named) -> tuple[str, bool]:
    return entry.fields.get("VersionId", "null"), entry.kind == "DeleteMarker"
