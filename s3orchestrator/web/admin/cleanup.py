"""What waits to be deleted from the backends, and what to do about that which will not go."""

from __future__ import annotations

from typing import Any

from attrs import define

from s3orchestrator.domain.browsing import Unwanted
from s3orchestrator.interfaces import IBlobs, IBrowse
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.instants import instant_ms

SHOWN = 50  # as the predecessor's tools expect
MOST_SHOWN = 1000
AT_ONCE = 500  # revived in one transaction, so that requests of clients come in between

STATES = ("doomed", "dead")


@define(eq=False)
class CleanupQueue:
    """`GET cleanup-queue`, and `POST …/retry` and `…/write-off` for what is dead."""

    _browse: IBrowse
    _blobs: IBlobs

    async def show(self, ask: Ask) -> Answer:
        """Return how much there is, and a page of it; `next` continues."""
        ask.allow_query("limit", "after", "state")
        state = ask.query.get("state", "")
        if state not in ("", *STATES):
            raise Refused(400, f"state must be one of {', '.join(STATES)}")
        limit = ask.number("limit", SHOWN, 1, MOST_SHOWN)
        try:
            items, after = await self._browse.unwanted(state, ask.query.get("after", ""), limit)
        except ValueError:
            raise Refused(400, "after must be what a page before gave as next, of the same state") from None
        depth, dead = await self._browse.unwanted_count()
        return Answer(
            {"depth": depth, "dead": dead, "items": [_shown(item) for item in items], "next": after or None}
        )

    async def retry(self, ask: Ask) -> Answer:
        """Have a dead one deleted again."""
        blob_id = _id_of(ask)
        if not await self._blobs.revive(blob_id):
            raise _not_dead(blob_id)
        return Answer({"id": blob_id, "state": "doomed"}, noted={"blob": blob_id})

    async def write_off(self, ask: Ask) -> Answer:
        """Count a dead one no more, wherever its bytes are."""
        blob_id = _id_of(ask)
        if not await self._blobs.write_off(blob_id):
            raise _not_dead(blob_id)
        return Answer({"id": blob_id, "state": "resting"}, noted={"blob": blob_id})

    async def retry_all(self, ask: Ask) -> Answer:
        """Have all dead ones of a backend deleted again."""
        ask.allow_query("backend")
        ask.allow_body()
        backend = ask.query.get("backend", "")
        if not backend:
            raise Refused(400, "backend must be the name of a backend")
        retried = 0
        while True:
            number = await self._blobs.revive_some(backend, AT_ONCE)
            retried += number
            if number < AT_ONCE:
                return Answer({"backend": backend, "retried": retried}, noted={"backend": backend})


def _id_of(ask: Ask) -> int:
    ask.allow_query()
    ask.allow_body()
    text = ask.path["id"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Refused(400, "the id must be a number, as the queue shows it")
    return int(text)


def _not_dead(blob_id: int) -> Refused:
    return Refused(404, f"there is no dead entry {blob_id}: it has gone, or is tried again anyway")


def _shown(item: Unwanted) -> dict[str, Any]:
    return {
        "id": item.id,
        "state": item.state,
        "backend": item.backend,
        "key": item.name,
        "reason": item.reason,
        "attempts": item.attempts,
        "size": item.size,
        "doomed_at": instant_ms(item.doomed_ms),
        "next_retry": instant_ms(item.due_ms),
        "claimed": item.claimed,
        "last_error": item.last_error or None,
    }
