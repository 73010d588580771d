"""How much is logged, and what was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from attrs import define

from s3orchestrator.telemetry.logging import LEVELS, current_level, set_level
from s3orchestrator.telemetry.ring import Ring, Wanted
from s3orchestrator.web.admin.calls import Answer, Ask, Refused

MOST_ENTRIES = 1000
_MOST_NUMBER = 2**63 - 1


@define(eq=False)
class LogLevel:
    """`GET` and `PUT log-level`; what is set, by calling `set`, is forgotten when the daemon ends."""

    _set: Callable[[str], object] = set_level

    async def show(self, ask: Ask) -> Answer:
        """Return the level."""
        ask.allow_query()
        return Answer({"level": current_level()})

    async def change(self, ask: Ask) -> Answer:
        """Set it; one that is unknown changes nothing."""
        ask.allow_query()
        ask.allow_body("level")
        level = ask.body.get("level")
        if level not in LEVELS:
            raise Refused(400, f"level must be one of {', '.join(LEVELS)}")
        self._set(level)
        return Answer({"level": level}, noted={"level": level})


async def _nobody_else() -> None:
    """All lines are in the ring as they are written."""


@define(eq=False)
class Logs:
    """`GET logs`: the latest lines. `bring` has those in the ring that other processes have written."""

    _ring: Ring
    _bring: Callable[[], Awaitable[None]] = _nobody_else

    async def show(self, ask: Ask) -> Answer:
        """Return the latest lines that are wanted, the oldest of them first."""
        ask.allow_query("level", "component", "text", "since", "after", "before", "limit")
        level = ask.query.get("level", "debug")
        if level not in LEVELS:
            raise Refused(400, f"level must be one of {', '.join(LEVELS)}")
        wanted = Wanted(
            level,
            ask.query.get("component", ""),
            ask.query.get("text", ""),
            _moment(ask.query.get("since")),
            _number(ask, "after"),
            _number(ask, "before"),
            ask.number("limit", 100, 1, MOST_ENTRIES),
        )
        await self._bring()
        found = self._ring.find(wanted)
        return Answer({"entries": found.entries, "newest": found.newest, "has_more": found.has_more})


def _number(ask: Ask, name: str) -> int | None:
    return ask.number(name, 0, 0, _MOST_NUMBER) if name in ask.query else None


def _moment(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("without an offset it could be any of 24 hours")
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise Refused(400, "since must be a moment such as 2026-07-01T12:00:00Z") from None
