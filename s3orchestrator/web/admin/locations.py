"""Where an object is."""

from __future__ import annotations

from typing import Any

from attrs import define

from s3orchestrator.domain.browsing import Copy
from s3orchestrator.interfaces import IBrowse
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.instants import instant_ms


@define(eq=False)
class Locations:
    """`GET object-locations?key=BUCKET/KEY`."""

    _browse: IBrowse

    async def show(self, ask: Ask) -> Answer:
        """Answer 404 for what is not there."""
        ask.allow_query("key")
        whole = ask.query.get("key", "")
        bucket, slash, key = whole.partition("/")
        if not (bucket and slash and key):
            raise Refused(400, "key must be BUCKET/KEY")
        copies = await self._browse.copies(bucket, key)
        if not copies:
            raise Refused(404, f"there is no object {whole!r}")
        return Answer({"key": whole, "locations": [_shown(whole, copy) for copy in copies]})


def _shown(key: str, copy: Copy) -> dict[str, Any]:
    """Return a copy without anything that helps to decrypt it."""
    return {
        "object_key": key,
        "backend_name": copy.backend,
        "backend_key": copy.name,
        "size_bytes": copy.size,
        "created_at": instant_ms(copy.created_ms),
        "suspect": copy.suspect,
        "encrypted": copy.key_id is not None,
        "version_id": copy.version_id,
        "is_latest": copy.is_latest,
        "plaintext_size": copy.object_size,
        "etag": copy.etag,
        "last_modified": instant_ms(copy.modified_ms),
        "content_hash": copy.sha256,
    }
