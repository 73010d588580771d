"""
Finding objects while the ledger is away.

A key is looked for at the place where it was found last, else on all backends. An answer
needs an answer of each of them, for the one that keeps silent may have what was written
last: then, and where an object cannot be told of as it was, the answer is 503.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, frozen
from prometheus_client import Counter

from s3orchestrator.domain.describing import known_in, metadata_in
from s3orchestrator.domain.records import NULL_VERSION, Blob, BlobState, Bucket, Version
from s3orchestrator.errors import BackendError, NotSeen, StoreUnavailable
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.broadcasting import Broadcast, Sighting, Wanted
from s3orchestrator.objects.locations import Location, Locations

READS = Counter("s3o_degraded_reads_total", "Objects looked for without the database.", ["operation"])
for _operation in ("GetObject", "HeadObject"):
    READS.labels(_operation)
CACHE_HITS = Counter(
    "s3o_degraded_cache_hits_total", "Objects found without the database where they had been found before."
)


@frozen
class DegradedSettings:
    """
    How backends are asked: `at_once` is how many of them at a time, 0 for all.

    `allow_stale`: answer also if one of them does not, with what the others have.
    """

    at_once: int = 1
    allow_stale: bool = False


@define(eq=False)
class DegradedReads:
    """
    Tells of objects what the ledger would tell, as far as the backends know it.

    `absent` are backends that hold objects and cannot be asked, since the configuration does
    not have them any more.
    """

    _backends: Backends
    _ledger_id: str
    _locations: Locations
    _settings: DegradedSettings
    _absent: Collection[str] = ()

    async def find(self, bucket: Bucket, key: str, operation: str) -> Version:
        """
        Return the latest version of a key, with the blob that was found.

        An unacknowledged, refused or just deleted write may be seen.

        :raises NotSeen: every backend says that there is none, twice.
        :raises StoreUnavailable: that cannot be said, or the object cannot be told of as it was.
        """
        READS.labels(operation).inc()
        wanted = Wanted(self._ledger_id, bucket.name, key)
        seen = await self._where_it_was(bucket, wanted) or await self._anywhere(bucket, wanted)
        # Another instance may still have the ledger, and have moved it from behind to before where we looked.
        seen = seen or await self._anywhere(bucket, wanted)
        if seen is None:
            raise NotSeen(key)
        return self._version(bucket, key, seen)

    async def _where_it_was(self, bucket: Bucket, wanted: Wanted) -> Sighting | None:
        known = self._locations.find(bucket.id, wanted.key)
        if known is None:
            return None
        try:
            seen = await wanted.at(self._backends[known.backend], known.name)
        except BackendError:
            return None  # asking all will tell, and take note of the failure
        if seen is None or seen.age != (known.created_ms, known.blob_id):
            return None
        CACHE_HITS.inc()
        return seen

    async def _anywhere(self, bucket: Bucket, wanted: Wanted) -> Sighting | None:
        since = self._locations.moment()
        settings = self._settings
        unanswered = [f"{name}: not in the configuration" for name in self._absent]
        seen = None
        if settings.allow_stale or not unanswered:
            broadcast = Broadcast(
                self._backends,
                wanted,
                settings.at_once or max(len(self._backends.all()), 1),
                until_failure=not settings.allow_stale,
            )
            seen = await broadcast.newest()
            unanswered += broadcast.unanswered
        if unanswered and (seen is None or not settings.allow_stale):
            raise StoreUnavailable(f"the database is away, and so is a backend: {unanswered[0]}")
        if seen is not None and not unanswered:
            found = Location(seen.backend, seen.name, seen.stamp.blob_id, seen.stamp.created_ms)
            self._locations.remember(bucket.id, wanted.key, found, since=since)
        return seen

    def _version(self, bucket: Bucket, key: str, seen: Sighting) -> Version:
        stamp, found = seen.stamp, seen.found
        known = known_in(
            found.etag, found.meta, stamp, md5_etags=self._backends.traits_of(seen.backend).md5_etags
        )
        if not stamp.complete:
            raise StoreUnavailable(f"{seen.backend}: {seen.name} does not have all of its metadata with it")
        if not known.etag or not found.etag:
            raise StoreUnavailable(f"{seen.backend}: {seen.name} does not have its ETag with it")
        blob = Blob(
            stamp.blob_id,
            seen.backend,
            seen.name,
            BlobState.LIVE,
            found.size,
            stamp.created_ms,
            bucket_id=bucket.id,
            key=key,
            etag=found.etag,
            was_live=True,
        )
        return Version(
            id=-stamp.blob_id,  # no version of the ledger's; another blob is another version
            bucket_id=bucket.id,
            key=key,
            version_id=NULL_VERSION,
            is_latest=True,
            is_delete_marker=False,
            size=found.size,
            etag=known.etag,
            # The ledger's is that of the commit: soon after the later of the two.
            modified_ms=max(stamp.created_ms, found.modified_ms),
            metadata=metadata_in(found.content_type, found.meta, stamp),
            checksum=known.checksum,
            parts_known=not stamp.multipart,
            blobs=(blob,),
        )
