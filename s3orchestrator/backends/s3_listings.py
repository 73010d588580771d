"""What a bucket of an S3 service holds, page by page."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from s3orchestrator.backends.s3_documents import (
    MAX_LISTING,
    Document,
    Named,
    is_encoded,
    milliseconds,
    named_entries,
    plain,
    whole_number,
)
from s3orchestrator.backends.s3_replies import bare_etag
from s3orchestrator.backends.s3_requests import S3Requests, Unreadable
from s3orchestrator.errors import BackendRefused, BackendUnavailable
from s3orchestrator.interfaces import ListedObject, ListedUpload
from s3orchestrator.protocol.canonical import encoded_query

PAGE = 1000  # S3's own limit
# Services send empty pages where much has been deleted, or filtered. So many in a row are none's.
EMPTY_PAGES = 100
# Uploads, or versions of one name. They are listed to be cleaned up, and are all in memory then.
MAX_FOUND = 100_000
MAX_MARKER = 8 * 1024  # it goes into the next request's address


@define
class _Pages:
    """Turns pages, as long as there is an end to be hoped for."""

    _name: str
    _seen: set[tuple[str, ...]] = field(factory=set)
    _empty: int = 0

    def turn(self, entries: int, *marker: str) -> None:
        """
        After a page with so many entries, go on from `marker`.

        :raises BackendUnavailable: it is where we have been before, or nothing has come for long.
        """
        if sum(map(len, marker)) > MAX_MARKER:
            raise self._endless("names its next page at too great length")
        if marker in self._seen:
            raise self._endless("goes round in circles")
        self._seen.add(marker)
        self._empty = 0 if entries else self._empty + 1
        if self._empty > EMPTY_PAGES:
            raise self._endless("has nothing but empty pages")

    def check(self, found: Sequence[object]) -> None:
        """:raises BackendUnavailable: that is more than there can be."""
        if len(found) > MAX_FOUND:
            raise self._endless(f"has more than {MAX_FOUND} entries")

    def _endless(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(f"{self._name}: a listing that {what}")


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
        pages = _Pages(self._requests.name)
        query = {"list-type": "2", "encoding-type": "url"}
        query.update({name: value for name, value in (("prefix", prefix), ("start-after", after)) if value})
        while len(found) < limit:
            query["max-keys"] = str(min(PAGE, limit - len(found)))
            document = await self._page(
                {name: value for name, value in query.items() if value}, "ListBucketResult"
            )
            listed = [_object(entry) for entry in named_entries(document, ["Contents"])]
            self._check_order(found[-1].name if found else after, listed)
            found += listed
            token = document.fields.get("NextContinuationToken", "")
            if not _goes_on(document) or not token:
                break
            pages.turn(len(listed), token)
            query["continuation-token"] = token
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
        pages = _Pages(self._requests.name)
        query = {"uploads": "", "max-uploads": str(PAGE)}
        if encoded:
            query["encoding-type"] = "url"
        if prefix:
            query["prefix"] = prefix
        while True:
            document = await self._page(query, "ListMultipartUploadsResult")
            listed = [_upload(entry) for entry in named_entries(document, ["Upload"], encoded=encoded)]
            found += listed
            pages.check(found)
            markers = _markers(document, "NextKeyMarker", "NextUploadIdMarker")
            if not _goes_on(document) or not markers[0]:
                return found
            pages.turn(len(listed), *markers)
            query["key-marker"], query["upload-id-marker"] = markers

    async def versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """See `IBackend.list_versions`."""
        found: list[tuple[str, bool]] = []
        pages = _Pages(self._requests.name)
        query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE), "prefix": name}
        while True:
            document = await self._page(query, "ListVersionsResult")
            entries = named_entries(document, ["Version", "DeleteMarker"])
            found += [_version(entry) for entry in entries if entry.name == name]
            pages.check(found)
            markers = _markers(document, "NextKeyMarker", "NextVersionIdMarker")
            # Longer names follow the shorter one that they start with.
            others = any(entry.name != name for entry in entries)
            if others or not _goes_on(document) or not markers[0]:
                break
            pages.turn(len(entries), *markers)
            query["key-marker"], query["version-id-marker"] = markers
        # Without versioning every object is listed as the version "null".
        return [] if all(version == ("null", False) for version in found) else found

    async def _page(self, query: dict[str, str], root: str) -> Document:
        reply = await self._requests.send(b"GET", "", {}, query=encoded_query(query))
        return await self._requests.document(reply, root, MAX_LISTING, strict=True)


def _goes_on(document: Document) -> bool:
    return document.fields.get("IsTruncated") == "true"


def _markers(document: Document, key: str, second: str) -> tuple[str, str]:
    return plain(document.fields.get(key, ""), encoded=is_encoded(document)), document.fields.get(second, "")


def _object(entry: Named) -> ListedObject:
    size = whole_number(entry.fields.get("Size", ""))
    if size is None:
        raise BackendUnavailable(f"a listing without the size of {entry.name[:1024]!r}")
    return ListedObject(
        entry.name,
        size,
        bare_etag(entry.fields.get("ETag", "")),
        milliseconds(entry.fields.get("LastModified", "")),
    )


def _upload(entry: Named) -> ListedUpload:
    initiated = milliseconds(entry.fields.get("Initiated", ""))
    return ListedUpload(entry.name, entry.fields.get("UploadId", ""), initiated)


def _version(entry: Named) -> tuple[str, bool]:
    return entry.fields.get("VersionId", "null"), entry.kind == "DeleteMarker"
