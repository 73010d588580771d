"""
Bringing a ledger forward that is behind its backends: it was restored from a backup (L9).

A backend is listed beside the rows. What bears our stamp and has no row is taken in; rows without
bytes become suspect. Nothing is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from hashlib import md5

from attrs import define, field, frozen

from s3orchestrator.bodies.sources import collect
from s3orchestrator.domain.describing import known_in, metadata_in
from s3orchestrator.domain.naming import (
    HIDDEN,
    PROBE,
    TOKEN_LENGTH,
    hashed_prefix,
    is_token,
    plain_name,
)
from s3orchestrator.domain.owning import LONGEST, MARKER
from s3orchestrator.domain.reconciling import Seen, compare, side_by_side
from s3orchestrator.domain.records import Blob, BlobState, Bucket, Finding, NewVersion
from s3orchestrator.domain.stamping import SELF, Stamp, read_stamp
from s3orchestrator.errors import NoSuchBlob
from s3orchestrator.interfaces import (
    Found,
    IBackend,
    IBlobs,
    IRestoring,
    ListedObject,
    Outcome,
    Sighted,
    Stored,
)
from s3orchestrator.objects.comparing import objects_on, rows_of

PAGE = 1000


@frozen
class Place:
    """Which key of which bucket an object was written for; `bucket` is None if the ledger has none such."""

    bucket_name: str
    bucket: Bucket | None
    key: str
    is_plain: bool


@define(eq=False)
class Restorer:
    """
    Compares all of one backend with the ledger, and has the ledger know what is there.

    `buckets` are those of the ledger, by name. A name is looked at unless it is as its row says and
    was written before it could have had another owner: names rest for `quiet_period` between two.
    `tally` counts what became of names, by outcome.
    """

    _ledger_id: str
    _blobs: IBlobs
    _restoring: IRestoring
    _buckets: Mapping[str, Bucket]
    _quiet_period: float
    tally: Counter[str] = field(factory=Counter, init=False)
    _md5_etags: bool = field(default=False, init=False)

    async def bring_forward(self, backend: IBackend) -> AsyncIterator[Finding]:
        """
        Do it, and give what an operator should know of, what was taken in included.

        :raises BackendError: the backend does not answer; what was done is done, and may be begun again.
        """
        self._md5_etags = await _has_md5_etags(backend)
        async for row, seen in side_by_side(rows_of(self._blobs, backend.name), objects_on(backend)):
            if seen is None:
                assert row is not None
                found = await self._missing(backend, row)
            elif row is not None and self._is_as_it_was(row, seen):
                self.tally["unchanged"] += 1
                continue
            else:
                found = await self._look(backend, row, seen.name)
            if found is not None:
                yield found

    async def suspects(self, backend: str) -> AsyncIterator[Finding]:
        """Give what cannot be read on a backend; to be asked when all of them have been gone through."""
        after = 0
        while page := await self._restoring.suspects(backend, after, PAGE):
            for blob in page:
                self.tally["suspect"] += 1
                message = f"{blob.key!r} cannot be read: its bytes are not there"
                yield Finding("suspect", f"{backend}: {blob.name}", message)
            after = page[-1].id

    def _is_as_it_was(self, row: Blob, seen: ListedObject) -> bool:
        if row.state is not BlobState.LIVE or not row.etag or seen.etag != row.etag or seen.size != row.size:
            return False
        return seen.modified_ms < row.created_ms + self._quiet_period * 500  # half of it, in milliseconds

    async def _missing(self, backend: IBackend, row: Blob) -> Finding | None:
        if row.state is not BlobState.LIVE:
            return None
        try:
            await backend.head(row.name)
        except NoSuchBlob:
            await self._blobs.suspect(row)
            return None
        return await self._look(backend, row, row.name)

    async def _look(self, backend: IBackend, row: Blob | None, name: str) -> Finding | None:
        try:
            found = await backend.head(name)
        except NoSuchBlob:
            return None  # it has gone since it was listed, which is nobody's doing but the operator's
        stamp = read_stamp(found.meta)
        if stamp is None or stamp.ledger != self._ledger_id:
            return await self._not_ours(backend, row, name, found)
        place = self._place_of(name, stamp)
        if place is None:
            self.tally["not understood"] += 1
            return Finding("not-understood", f"{backend.name}: {name}", "its stamp is of another key")
        if place.bucket is None:
            self.tally["without bucket"] += 1
            return Finding(
                "no-bucket",
                f"{backend.name}: {name}",
                f"the ledger has no bucket {place.bucket_name}: make it, and run this again",
            )
        return await self._take_in(backend, row, name, found, stamp, place)

    async def _take_in(
        self, backend: IBackend, row: Blob | None, name: str, found: Found, stamp: Stamp, place: Place
    ) -> Finding | None:
        assert place.bucket is not None
        sighted, doubt = self._sighted(backend, name, found, stamp, place)
        outcome = await self._restoring.take_in(place.bucket, sighted)
        self.tally[outcome.value] += 1
        subject = f"{backend.name}: {name}"
        if outcome is Outcome.TAKEN_IN:
            return Finding(
                "taken-in", subject, f"{found.size} bytes of {place.key!r}{doubt}", repairable=True
            )
        if outcome is Outcome.SET_ASIDE:
            message = f"{found.size} bytes of {place.key!r}, of which there is a newer version"
            return Finding("set-aside", subject, message, repairable=True)
        if outcome is Outcome.OLDER and row is not None and row.state is BlobState.LIVE:
            await self._blobs.suspect(row)
        elif row is not None and row.state is BlobState.LIVE and outcome is Outcome.KNOWN:
            await self._blobs.trust(row)
        return None

    def _sighted(
        self, backend: IBackend, name: str, found: Found, stamp: Stamp, place: Place
    ) -> tuple[Sighted, str]:
        """Return what to record, and what of it is not as it was."""
        known = known_in(found.etag, found.meta, stamp, md5_etags=self._md5_etags)
        doubts = []
        if not stamp.complete:
            doubts.append("not all of its metadata is known")
        if not known.etag:
            doubts.append("its ETag is the backend's")
        version = NewVersion(
            found.size,
            known.etag or found.etag,
            metadata_in(found.content_type, found.meta, stamp),
            known.checksum,
        )
        sighted = Sighted(
            backend.name,
            name,
            place.key,
            place.is_plain,
            stamp.blob_id,
            stamp.created_ms,
            found.modified_ms,
            stamp.multipart,
            Stored(found.etag, found.version_id),
            version,
        )
        return sighted, "".join(f"; {doubt}" for doubt in doubts)

    async def _not_ours(self, backend: IBackend, row: Blob | None, name: str, found: Found) -> Finding | None:
        if row is not None and row.state is BlobState.LIVE:
            if compare(row, Seen(name, found.size, found.etag), backend.name) is None:
                await self._blobs.trust(row)
                return None
            await self._blobs.suspect(row)
            return None
        if name.startswith(PROBE):
            return None  # it bears no stamp, and goes with its row or with none
        self.tally["strangers"] += 1
        if SELF in found.meta and read_stamp(found.meta) is None:
            return Finding(
                "not-understood", f"{backend.name}: {name}", "its stamp is none that we understand"
            )
        return None

    def _place_of(self, name: str, stamp: Stamp) -> Place | None:
        """Tell of which key an object is, from its name and its stamp; None if they do not agree."""
        if name.startswith(HIDDEN):
            return self._hidden_place_of(name, stamp)
        bucket, _, rest = name.partition("/")
        known = self._buckets.get(bucket)
        end = len(rest) - TOKEN_LENGTH
        has_token = end > 0 and rest[end - 1] == "~" and is_token(rest[end:])
        if has_token and stamp.is_for(bucket, rest[: end - 1], name):
            return Place(bucket, known, rest[: end - 1], is_plain=False)
        return (
            Place(bucket, known, rest, is_plain=True) if rest and stamp.is_for(bucket, rest, name) else None
        )

    def _hidden_place_of(self, name: str, stamp: Stamp) -> Place | None:
        if stamp.key is None:
            return None
        for bucket in self._buckets.values():
            if name.startswith(hashed_prefix(bucket.name, stamp.key)):
                return Place(bucket.name, bucket, stamp.key, is_plain=False)
        return Place(f"of {plain_name('...', stamp.key)!r}", None, stamp.key, is_plain=False)


async def _has_md5_etags(backend: IBackend) -> bool:
    """Tell from the marker how the backend makes ETags: nothing has been probed."""
    fetched = await backend.get(MARKER)
    text = await collect(fetched.body, LONGEST)
    return fetched.etag == md5(text, usedforsecurity=False).hexdigest()
