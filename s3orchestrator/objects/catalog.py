"""
The buckets being served: those of the configuration file, and those users have created.

A bucket taken out of the file stops being served; its row and its objects stay. One
process owns the ledger, so what is in memory here is what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, define

from s3orchestrator.concurrency import shield
from s3orchestrator.domain.records import Bucket
from s3orchestrator.errors import BucketExists, NoSuchBucket
from s3orchestrator.interfaces import IBuckets
from s3orchestrator.objects.cleaning import Cleaner


@define(eq=False)
class Catalog:
    """Finds, makes and removes buckets."""

    _buckets: IBuckets
    _cleaner: Cleaner
    _served: dict[str, Bucket] = Factory(dict)
    _of_file: frozenset[str] = frozenset()

    async def load(self, from_file: Iterable[str]) -> None:
        """Read the ledger's buckets and make those of the file; called before anybody is served."""
        self._of_file = frozenset(from_file)
        served = {name: await self._buckets.adopt(name) for name in sorted(self._of_file)}
        for bucket in await self._buckets.all():
            if bucket.owner is not None:
                served.setdefault(bucket.name, bucket)
        self._served = served

    def find(self, name: str) -> Bucket | None:
        """Return the bucket of that name, None if none is being served."""
        return self._served.get(name)

    def get(self, name: str) -> Bucket:
        """:raises NoSuchBucket: none of that name is being served."""
        try:
            return self._served[name]
        except KeyError:
            raise NoSuchBucket(name) from None

    def is_of_file(self, bucket: Bucket) -> bool:
        """Tell whether the configuration file lists the bucket, also one that a user has created before."""
        return bucket.name in self._of_file

    def all(self) -> Sequence[Bucket]:
        """Every bucket being served, by name."""
        return [self._served[name] for name in sorted(self._served)]

    async def create(self, name: str, owner: str) -> Bucket:
        """:raises BucketExists: the name is taken, by whomever."""
        existing = self._served.get(name)
        if existing is not None:
            raise BucketExists(name, owned=existing.owner == owner)
        return await shield(self._create(name, owner))

    async def _create(self, name: str, owner: str) -> Bucket:
        try:
            bucket = await self._buckets.create(name, owner)
        except BucketExists:
            await self._serve_unheard_of(name)
            raise
        self._served[name] = bucket
        return bucket

    async def _serve_unheard_of(self, name: str) -> None:
        """Serve a bucket that users made; an earlier create of it may have got no answer."""
        for bucket in await self._buckets.all():
            if bucket.name == name and bucket.owner is not None:
                self._served.setdefault(name, bucket)

    async def delete(self, bucket: Bucket) -> None:
        """
        Remove an empty bucket; its unfinished uploads are aborted.

        :raises BucketNotEmpty: it holds a version.
        """
        await shield(self._delete(bucket))

    async def _delete(self, bucket: Bucket) -> None:
        try:
            doomed = await self._buckets.delete(bucket)
        except NoSuchBucket:  # an earlier delete got no answer
            self._stop_serving(bucket)
            raise
        self._stop_serving(bucket)
        self._cleaner.clean(doomed)

    def _stop_serving(self, bucket: Bucket) -> None:
        if self._served.get(bucket.name) == bucket:
            del self._served[bucket.name]
