"""A ledger with so many keys that putting them one by one would take an hour."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.task import Clock

from s3orchestrator.domain.records import Blob, NewVersion
from s3orchestrator.interfaces import ITransaction, Stored, Traits
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.counting import COUNT, COUNT_ALL
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.versions import Versions

T = TypeVar("T")

PREFIXES = 10
BODY = bytes(range(256)) * 4
SIZE = len(BODY)

# All others are like the first one, but for their keys and names. The prefixes are as many as
# `key_of` makes, and the versions' ids follow on each other, for nobody else writes.
_MORE_VERSIONS = """
    WITH RECURSIVE numbers (number) AS (
        SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :keys - 1
    )
    INSERT INTO versions (bucket_id, key, version_id, is_latest, is_delete_marker, size, etag, modified_ms,
                          metadata, storage_class, checksum_algorithm, checksum_value, checksum_kind)
    SELECT bucket_id, printf('series-%d/object-%08d', number % :prefixes, number), version_id, is_latest,
           is_delete_marker, size, etag, modified_ms, metadata, storage_class, checksum_algorithm,
           checksum_value, checksum_kind
      FROM numbers, versions
     WHERE versions.bucket_id = :bucket_id AND versions.key = :first
"""
_MORE_BLOBS = """
    INSERT INTO blobs (backend, name, state, size, created_ms, bucket_id, key, etag, is_plain, was_live,
                       unclear, version)
    SELECT first.backend, :bucket || '/' || v.key, first.state, first.size, first.created_ms,
           first.bucket_id, v.key, first.etag, first.is_plain, first.was_live, first.unclear, v.id
      FROM blobs first, versions v
     WHERE first.id = :blob_id AND v.bucket_id = first.bucket_id AND v.key <> first.key
"""


def key_of(number: int) -> str:
    """The key of the object with that number, from 0."""
    return f"series-{number % PREFIXES}/object-{number:08}"


def fill(path: Path, bucket: str, keys: int, backend: str = "sink") -> None:
    """Make a ledger in which `bucket` has so many `keys`, as if `BODY` had been put at each."""
    clock = Clock()
    clock.advance(time.time_ns() / 1e9)
    database = SqliteDatabase(str(path), clock, threaded=False).open()
    try:
        blob = _result(_put_first(database, bucket, backend))
        _result(database.transact(partial(_put_others, blob, bucket, keys)))
    finally:
        _result(database.close())


async def _put_first(database: SqliteDatabase, name: str, backend: str) -> Blob:
    traits = Traits(exclusive=frozenset({"put"}))
    blobs = Blobs(database, traits_of=lambda _: traits, quiet_period=3600.0)
    bucket = await Buckets(database).adopt(name)
    etag = md5(BODY).hexdigest()
    blob = await blobs.reserve(bucket, key_of(0), SIZE, [backend])
    new = NewVersion(SIZE, etag, ObjectMetadata())
    committed = await Versions(database).commit(bucket, blob, Stored(etag), new)
    return committed.version.blobs[0]


async def _put_others(first: Blob, bucket: str, keys: int, tx: ITransaction) -> None:
    added = keys - 1
    await tx.run(_MORE_VERSIONS, keys=keys, prefixes=PREFIXES, bucket_id=first.bucket_id, first=first.key)
    await tx.run(_MORE_BLOBS, bucket=bucket, blob_id=first.id)
    bytes_added = {"backend": first.backend, "live": added * SIZE, "reserved": 0, "orphan": 0}
    await tx.run(COUNT, **bytes_added, bucket_id=first.bucket_id, objects=added, held=added)
    await tx.run(COUNT_ALL, **bytes_added)


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits: without a thread, no ledger does."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        value: T = stopped.value
        return value
    raise AssertionError("it waits")
