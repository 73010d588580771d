"""Pages of keys, versions and uploads: the pager says where to look, the ledger looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from attrs import define

from s3orchestrator.domain.records import Bucket, ListedVersion, Part, Upload
from s3orchestrator.interfaces import IUploads, IVersions
from s3orchestrator.protocol.listing import Keyed, Page, Pager, Seek
from s3orchestrator.protocol.listqueries import ListQuery, PartsQuery
from s3orchestrator.telemetry.storage import Record

R = TypeVar("R", bound=Keyed)


@define(eq=False)
class ObjectLister:
    """Lists buckets' contents; a page costs about as many rows as it has entries."""

    _versions: IVersions
    _uploads: IUploads

    async def objects(self, bucket: Bucket, query: ListQuery) -> Page[ListedVersion]:
        """Return latest versions that are no delete markers."""

        async def look(seek: Seek) -> Sequence[ListedVersion]:
            return await self._versions.page(
                bucket, seek.lower, seek.upper, seek.limit, inclusive=seek.inclusive
            )

        return await _recorded("ListObjects", bucket, query, query.pager(), look)

    async def versions(self, bucket: Bucket, query: ListQuery) -> Page[ListedVersion]:
        """Return all versions and delete markers, newest first within a key."""

        async def look(seek: Seek) -> Sequence[ListedVersion]:
            return await self._versions.page_versions(
                bucket,
                seek.lower,
                seek.upper,
                seek.limit,
                inclusive=seek.inclusive,
                after_version=seek.after,
            )

        return await _recorded("ListObjectVersions", bucket, query, query.pager(_version_id), look)

    async def uploads(self, bucket: Bucket, query: ListQuery) -> Page[Upload]:
        """Return open uploads, oldest first within a key."""

        async def look(seek: Seek) -> Sequence[Upload]:
            return await self._uploads.page(
                bucket,
                seek.lower,
                seek.upper,
                seek.limit,
                inclusive=seek.inclusive,
                after_upload=seek.after,
            )

        return await _recorded("ListMultipartUploads", bucket, query, query.pager(_upload_id), look)

    async def parts(
        self, bucket: Bucket, key: str, upload_id: str, query: PartsQuery
    ) -> tuple[Upload, Sequence[Part]]:
        """
        Return an upload and its parts after the marker: one more than the limit tells that there are more.

        :raises NoSuchUpload: no such upload of that bucket and key is open.
        """
        with Record("ListParts", bucket=bucket.name, key=key, upload_id=upload_id) as record:
            upload = await self._uploads.find(bucket, key, upload_id)
            parts = await self._uploads.parts(upload, query.marker, query.limit + 1)
            record.tell(part_count=min(len(parts), query.limit), truncated=len(parts) > query.limit)
            return upload, parts


async def _recorded(
    operation: str,
    bucket: Bucket,
    query: ListQuery,
    pager: Pager[R],
    look: Callable[[Seek], Awaitable[Sequence[R]]],
) -> Page[R]:
    """Fill a page; a line of the audit trail."""
    with Record(operation, bucket=bucket.name, prefix=query.prefix) as record:
        while pager.seek is not None:
            pager.feed(await look(pager.seek))
        page = pager.page
        record.tell(key_count=len(page.rows) + len(page.prefixes), truncated=page.truncated)
        return page


def _version_id(row: ListedVersion) -> str:
    return row.version_id


def _upload_id(row: Upload) -> str:
    return row.id
