"""How much is logged."""

from __future__ import annotations

from s3orchestrator.telemetry.logging import LEVELS, current_level, set_level
from s3orchestrator.web.admin.calls import Answer, Ask, Refused


class LogLevel:
    """`GET` and `PUT log-level`; what is set is forgotten when the process ends."""

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
        set_level(level)
        return Answer({"level": level}, noted={"level": level})
