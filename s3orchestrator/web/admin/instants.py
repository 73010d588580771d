"""Moments as the admin API writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(seconds: float | None) -> str | None:
    """Return a moment (Unix time) as in `2026-07-01T12:00:00Z`; None stays None."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def instant_ms(milliseconds: int | None) -> str | None:
    """The same for milliseconds, as the ledger has them."""
    return None if milliseconds is None else instant(milliseconds / 1000)
