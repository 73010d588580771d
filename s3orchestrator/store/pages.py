"""Listings: one index range per page, however many versions there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from s3orchestrator.domain.records import ListedVersion
from s3orchestrator.interfaces import IDatabase
from s3orchestrator.store.rows import LISTED, listed_of

Range = tuple[bool, bool]  # includes the lower end; has an upper end

_RANGES: dict[Range, str] = {
    (False, False): "key > :lower",
    (True, False): "key >= :lower",
    (False, True): "key > :lower AND key < :upper",
    (True, True): "key >= :lower AND key < :upper",
}
_FROM = f"SELECT {LISTED} FROM versions WHERE bucket_id = :bucket_id"

LATEST = {
    kind: f"{_FROM} AND is_latest AND NOT is_delete_marker AND {between} ORDER BY key LIMIT :limit"
    for kind, between in _RANGES.items()
}
LATEST_OR_MARKER = {
    kind: f"{_FROM} AND is_latest AND {between} ORDER BY key LIMIT :limit"
    for kind, between in _RANGES.items()
}
OLDER = {
    kind: f"{_FROM} AND NOT is_latest AND {between} ORDER BY key, modified_ms DESC LIMIT :limit"
    for kind, between in _RANGES.items()
}
LATEST_OF_KEY = f"{_FROM} AND key = :key AND is_latest"
OLDER_OF_KEY = f"""
    {_FROM} AND key = :key AND NOT is_latest AND modified_ms < :before
     ORDER BY modified_ms DESC LIMIT :limit
"""
POSITION = """
    SELECT is_latest, modified_ms FROM versions
     WHERE bucket_id = :bucket_id AND key = :key AND version_id = :version_id
"""
_END_OF_TIME = 1 << 62


async def latest(
    database: IDatabase, bucket_id: int, lower: str, upper: str | None, limit: int, *, inclusive: bool
) -> Sequence[ListedVersion]:
    """See `IVersions.page`."""
    rows = await _page(database, LATEST, bucket_id, lower, upper, limit, inclusive=inclusive)
    return [listed_of(row) for row in rows]


async def versions(
    database: IDatabase,
    bucket_id: int,
    lower: str,
    upper: str | None,
    limit: int,
    *,
    inclusive: bool,
    after_version: str | None = None,
) -> Sequence[ListedVersion]:
    """See `IVersions.page_versions`."""
    rows: list[Any] = []
    if after_version is not None:
        rows = await _rest_of_key(database, bucket_id, lower, after_version, limit)
        inclusive = False
    if (left := limit - len(rows)) > 0:
        current = await _page(database, LATEST_OR_MARKER, bucket_id, lower, upper, left, inclusive=inclusive)
        older = await _page(database, OLDER, bucket_id, lower, upper, left, inclusive=inclusive)
        rows += islice(_newest_first(current, older), left)
    return [listed_of(row) for row in rows]


async def _page(
    database: IDatabase,
    statements: dict[Range, str],
    bucket_id: int,
    lower: str,
    upper: str | None,
    limit: int,
    *,
    inclusive: bool,
) -> list[Any]:
    statement = statements[inclusive, upper is not None]
    if upper is None:
        return await database.query(statement, bucket_id=bucket_id, lower=lower, limit=limit)
    return await database.query(statement, bucket_id=bucket_id, lower=lower, upper=upper, limit=limit)


async def _rest_of_key(
    database: IDatabase, bucket_id: int, key: str, after_version: str, limit: int
) -> list[Any]:
    """
    Return the versions of a key that are older than one of them.

    If that one has gone meanwhile all are returned: a client that deletes what it has
    listed, page by page, must not miss the others.
    """
    position = await database.query(POSITION, bucket_id=bucket_id, key=key, version_id=after_version)
    rows: list[Any] = []
    before = _END_OF_TIME
    if not position:
        rows = await database.query(LATEST_OF_KEY, bucket_id=bucket_id, key=key)
    elif not position[0]["is_latest"]:
        before = position[0]["modified_ms"]
    rows += await database.query(OLDER_OF_KEY, bucket_id=bucket_id, key=key, before=before, limit=limit)
    return rows[:limit]


def _newest_first(current: Iterable[Any], older: Iterable[Any]) -> Iterable[Any]:
    """Merge two streams ascending by key; of one key the current version comes first."""
    return merge(current, older, key=lambda row: row["key"])
