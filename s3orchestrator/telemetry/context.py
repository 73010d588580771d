"""On whose behalf something is done, for the lines that are written about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Coroutines keep it from where they were started. Plain callbacks, timers and threads do not have
# it: what they say of a request they say under `on_behalf_of`.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


@contextmanager
def on_behalf_of(request_id: str) -> Iterator[None]:
    """Let what is logged in the block belong to a request, or with an empty id to none."""
    before = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(before)
