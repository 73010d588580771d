"""What operators look at: where an object is, and what waits to be deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from zope.interface import implementer

from s3orchestrator.domain.browsing import Copy, Unwanted
from s3orchestrator.interfaces import IBrowse, IDatabase, ITransaction

MOST_COPIES = 1000

COPIES = """
    SELECT o.backend, o.name, o.size, o.created_ms, o.suspect, v.version_id, v.is_latest, v.size, v.etag,
           v.modified_ms, v.sha256, o.key_id
      FROM buckets k
      JOIN versions v ON v.bucket_id = k.id AND v.key = :key
      JOIN blobs o ON o.version = v.id
     WHERE k.name = :bucket AND k.deleted_ms IS NULL AND o.state = 'live'
     ORDER BY v.modified_ms DESC, o.id LIMIT :limit
"""

_UNWANTED = """
    SELECT id, backend, name, state, size, reason, attempts, doomed_ms, due_ms, owner, last_error
      FROM blobs
"""
# The dead, then those that nobody is at, then the claimed: each is a range of an index of its own.
DEAD = f"""
    {_UNWANTED} WHERE state = 'dead' AND (backend, id) > (:backend, :id)
     ORDER BY backend, id LIMIT :limit
"""
WAITING = f"""
    {_UNWANTED} WHERE state = 'doomed' AND owner IS NULL AND (due_ms, id) > (:due_ms, :id)
     ORDER BY owner, due_ms, id LIMIT :limit
"""
CLAIMED = f"""
    {_UNWANTED} WHERE state = 'doomed' AND (owner, due_ms, id) > (:owner, :due_ms, :id)
     ORDER BY owner, due_ms, id LIMIT :limit
"""
_PAGES = {"dead": DEAD, "waiting": WAITING, "claimed": CLAIMED}
_PARTS = {"": ("dead", "waiting", "claimed"), "dead": ("dead",), "doomed": ("waiting", "claimed")}

DOOMED_COUNT = "SELECT count(*) FROM blobs WHERE state = 'doomed'"
DEAD_COUNT = "SELECT count(*) FROM blobs WHERE state = 'dead'"


@implementer(IBrowse)
@define(eq=False)
class Browse:
    """Looks into a ledger."""

    _database: IDatabase

    async def copies(self, bucket: str, key: str) -> Sequence[Copy]:
        rows = await self._database.query(COPIES, bucket=bucket, key=key, limit=MOST_COPIES)
        return [_copy_of(*row) for row in rows]

    async def unwanted(
        self, state: str = "", after: str = "", limit: int = 50
    ) -> tuple[Sequence[Unwanted], str]:
        parts = _PARTS[state]
        begin = _Place.read(after) if after else _Place.before(parts[0])
        if begin.part not in parts:
            raise ValueError(after)
        rows: list[Any] = []
        for part in parts[parts.index(begin.part) :]:
            place = begin if part == begin.part else _Place.before(part)
            # One more than asked for tells whether there is a next page.
            left = limit + 1 - len(rows)
            rows += await self._database.query(_PAGES[part], limit=left, **place.parameters())
            if len(rows) > limit:
                break
        page = rows[:limit]
        return [_unwanted_of(*row) for row in page], _Place.of(page[-1]).text() if len(rows) > limit else ""

    async def unwanted_count(self) -> tuple[int, int]:
        async def work(tx: ITransaction) -> tuple[int, int]:
            doomed, dead = await tx.all(DOOMED_COUNT), await tx.all(DEAD_COUNT)
            return doomed[0][0], dead[0][0]

        # There may be millions after a bucket was emptied.
        return await self._database.snapshot(work)


def _copy_of(
    backend: str,
    name: str,
    size: int,
    created_ms: int,
    suspect: object,
    version_id: str,
    is_latest: object,
    *of: Any,
) -> Copy:
    return Copy(backend, name, size, created_ms, bool(suspect), version_id, bool(is_latest), *of)


def _unwanted_of(
    blob_id: int,
    backend: str,
    name: str,
    state: str,
    size: int,
    reason: str | None,
    attempts: int,
    doomed_ms: int | None,
    due_ms: int,
    owner: int | None,
    last_error: str | None,
) -> Unwanted:
    is_dead = state == "dead"
    return Unwanted(
        blob_id,
        backend,
        name,
        state,
        size,
        reason or "",
        attempts,
        doomed_ms or 0,
        None if is_dead else due_ms,
        not is_dead and owner is not None,
        last_error or "",
    )


@define
class _Place:
    """Where a page ends: in which part, after which entry."""

    part: str
    owner: int = -1
    due_ms: int = -1
    id: int = -1
    backend: str = ""

    @classmethod
    def before(cls, part: str) -> _Place:
        """Before all of a part."""
        return cls(part)

    @classmethod
    def of(cls, row: Any) -> _Place:
        """After an entry."""
        if row["state"] == "dead":
            return cls("dead", id=row["id"], backend=row["backend"])
        if row["owner"] is None:
            return cls("waiting", due_ms=row["due_ms"], id=row["id"])
        return cls("claimed", row["owner"], row["due_ms"], row["id"])

    @classmethod
    def read(cls, text: str) -> _Place:
        """:raises ValueError: `text` says no place."""
        part, owner, due_ms, blob_id, backend = text.split(".", 4)
        if part not in _PAGES:
            raise ValueError(text)
        place = cls(part, int(owner), int(due_ms), int(blob_id), backend)
        if max(abs(place.owner), abs(place.due_ms), abs(place.id)) >= 1 << 63:
            raise ValueError(text)
        return place

    def text(self) -> str:
        """What `read` reads."""
        return f"{self.part}.{self.owner}.{self.due_ms}.{self.id}.{self.backend}"

    def parameters(self) -> dict[str, object]:
        """Those of the statement of its part."""
        if self.part == "dead":
            return {"backend": self.backend, "id": self.id}
        if self.part == "waiting":
            return {"due_ms": self.due_ms, "id": self.id}
        return {"owner": self.owner, "due_ms": self.due_ms, "id": self.id}
