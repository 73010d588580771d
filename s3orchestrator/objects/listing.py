"""Pages of keys, versions and uploads: the pager says where to look, the ledger looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from attrs import define, frozen

from s3orchestrator.domain.records import Bucket, ListedVersion, Part, Upload
from s3orchestrator.interfaces import IUploads, IVersions
from s3orchestrator.protocol.listing import START, Keyed, Page, Pager, Position, Seek

R = TypeVar("R", bound=Keyed)


@frozen
class Wanted:
    """What a listing asks for; `limit` entries at most, common prefixes counted."""

    prefix: str = ""
    delimiter: str = ""
    limit: int = 1000
    position: Position = START


@define(eq=False)
class ObjectLister:
    """Lists buckets' contents; a page costs about as many rows as it has entries."""

    _versions: IVersions
    _uploads: IUploads

    async def objects(self, bucket: Bucket, wanted: Wanted) -> Page[ListedVersion]:
        """Return latest versions that are no delete markers."""

        async def look(seek: Seek) -> Sequence[ListedVersion]:
            return await self._versions.page(
                bucket, seek.lower, seek.upper, seek.limit, inclusive=seek.inclusive
            )

        return await _fill(_pager(wanted, None), look)

    async def versions(self, bucket: Bucket, wanted: Wanted) -> Page[ListedVersion]:
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

        return await _fill(_pager(wanted, _version_id), look)

    async def uploads(self, bucket: Bucket, wanted: Wanted) -> Page[Upload]:
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

        return await _fill(_pager(wanted, _upload_id), look)

    async def parts(
        self, bucket: Bucket, key: str, upload_id: str, after: int, limit: int
    ) -> tuple[Upload, Sequence[Part], bool]:
        """
        Return an upload, the parts after a number, and whether there are more.

        :raises NoSuchUpload: no such upload of that bucket and key is open.
        """
        upload = await self._uploads.find(bucket, key, upload_id)
        parts = await self._uploads.parts(upload, after, limit + 1)
        return upload, parts[:limit], len(parts) > limit


def _pager(wanted: Wanted, row_id: Callable[[R], str] | None) -> Pager[R]:
    return Pager(
        prefix=wanted.prefix,
        delimiter=wanted.delimiter,
        limit=wanted.limit,
        position=wanted.position,
        row_id=row_id,
    )


async def _fill(pager: Pager[R], look: Callable[[Seek], Awaitable[Sequence[R]]]) -> Page[R]:
    while pager.seek is not None:
        pager.feed(await look(pager.seek))
    return pager.page


def _version_id(row: ListedVersion) -> str:
    return row.version_id


def _upload_id(row: Upload) -> str:
    return row.id
