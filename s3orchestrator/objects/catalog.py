"""
The buckets being served: those of the configuration file, and those users have created.

A bucket taken out of the file stops being served; its row and its objects stay. Who may do
what is decided by what is in memory here. Other instances make and remove buckets too: we hear
of it and read them all again, now and then also without having heard. Meanwhile the ledger
decides: nothing is written to a bucket that another instance has removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import Factory, define, field

from s3orchestrator.concurrency import shield
from s3orchestrator.domain.records import Bucket
from s3orchestrator.errors import BucketExists, NoSuchBucket, StoreUnavailable
from s3orchestrator.interfaces import IBuckets
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.telemetry.storage import Record

# What instances tell each other: that buckets have changed, or that we may have missed something.
NOTICES = ("buckets", "")


@define(eq=False)
class Catalog:
    """Finds, makes and removes buckets. `is_shared`: other instances do so, too."""

    log = make_logger()
    _buckets: IBuckets
    _cleaner: Cleaner
    _served: dict[str, Bucket] = Factory(dict)
    _of_file: frozenset[str] = frozenset()
    _is_shared: bool = field(default=False, kw_only=True)
    _changes: int = field(default=0, init=False)
    _is_reading: bool = field(default=False, init=False)
    _is_stale: bool = field(default=False, init=False)

    async def load(self, from_file: Iterable[str]) -> None:
        """Read the ledger's buckets and make those of the file; called before anybody is served."""
        self._of_file = frozenset(from_file)
        await self.adopt(self._of_file)
        await self.reload()

    async def adopt(self, names: Iterable[str]) -> Sequence[Bucket]:
        """
        Have the ledger know buckets that a file lists. Nobody is served them yet.

        :raises StoreUnavailable: it may know some of them.
        """
        return [await self._buckets.adopt(name) for name in sorted(names)]

    def take_over(self, from_file: Iterable[str], adopted: Iterable[Bucket]) -> None:
        """
        Serve from now on what another file lists, and no longer what only the one before did.

        :param adopted: what the ledger has for those names that are new.
        """
        self._changes += 1
        self._of_file = frozenset(from_file)
        served = {
            name: bucket
            for name, bucket in self._served.items()
            if bucket.owner is not None or name in self._of_file
        }
        # What users have made we serve already, unless its owner has just deleted it.
        served.update({bucket.name: bucket for bucket in adopted if bucket.owner is None})
        self._served = served

    async def reload(self) -> None:
        """
        Read the ledger's buckets again.

        :raises StoreUnavailable: what is being served stays as it is.
        """
        while True:
            changes = self._changes
            served = {
                bucket.name: bucket
                for bucket in await self._buckets.all()
                if bucket.owner is not None or bucket.name in self._of_file
            }
            if changes == self._changes:  # else what was read may be older than what we did
                self._served = served
                return

    def has_heard_of(self, name: str) -> bool:
        """Tell whether `look_for` would find nothing more: it is served, or nobody else makes any."""
        return name in self._served or not self._is_shared

    async def look_for(self, name: str) -> None:
        """
        Serve a bucket of which we have not heard yet: whoever made it a moment ago may ask us for it now.

        What the ledger does not tell, because it is away, is not served.
        """
        if not self.has_heard_of(name):
            with suppress(StoreUnavailable):
                await self._serve_unheard_of(name)

    async def look_again(self) -> None:
        """Know what there is now, for whoever asks just that; while the ledger is away, what there was."""
        if self._is_shared:
            with suppress(StoreUnavailable):
                await self.reload()

    def heard(self, notice: str) -> None:
        """Read the buckets again if that is what another instance tells us to."""
        if notice not in NOTICES:
            return
        self._is_stale = True
        if not self._is_reading:
            self._is_reading = True
            self._cleaner.background(self._catch_up())

    async def _catch_up(self) -> None:
        """However many notices come while the ledger is read, it is read only once more."""
        try:
            while self._is_stale:
                self._is_stale = False
                await self.reload()
        except StoreUnavailable as error:
            self.log.warn("the buckets are read again later: {error}", error=str(error))
        finally:
            self._is_reading = False

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
        return await shield(self._create(name, owner))

    async def _create(self, name: str, owner: str) -> Bucket:
        with Record("CreateBucket", bucket=name):
            try:
                bucket = await self._buckets.create(name, owner)
            except BucketExists:
                await self._serve_unheard_of(name)
                raise
        self._serve(bucket)
        return bucket

    async def _serve_unheard_of(self, name: str) -> None:
        """
        Serve a bucket that users made.

        Another instance may have just done so, or an earlier create of ours got no answer.
        """
        for bucket in await self._buckets.all():
            if bucket.name == name and bucket.owner is not None and self._served.get(name) != bucket:
                self._serve(bucket)

    def _serve(self, bucket: Bucket) -> None:
        self._changes += 1
        self._served[bucket.name] = bucket

    async def delete(self, bucket: Bucket) -> None:
        """
        Remove an empty bucket; its unfinished uploads are aborted.

        :raises BucketNotEmpty: it holds a version.
        """
        await shield(self._delete(bucket))

    async def _delete(self, bucket: Bucket) -> None:
        with Record("DeleteBucket", bucket=bucket.name):
            try:
                doomed = await self._buckets.delete(bucket)
            except NoSuchBucket:  # an earlier delete got no answer
                self._stop_serving(bucket)
                raise
        self._stop_serving(bucket)
        self._cleaner.clean(doomed)

    def _stop_serving(self, bucket: Bucket) -> None:
        self._changes += 1
        if self._served.get(bucket.name) == bucket:
            del self._served[bucket.name]
