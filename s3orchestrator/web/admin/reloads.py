"""What became of the last time the configuration was read again."""

from __future__ import annotations

from attrs import define

from s3orchestrator.config.live import InForce
from s3orchestrator.web.admin.calls import Answer, Ask
from s3orchestrator.web.admin.instants import instant


@define(eq=False)
class ReloadStatus:
    """`GET reload-status`."""

    _in_force: InForce

    async def show(self, ask: Ask) -> Answer:
        """
        Answer with paths and reasons; no value of a secret is among them.

        `ignored` is what that file says and only a restart gives.
        """
        ask.allow_query()
        last = self._in_force.last
        if last is None:
            status = "never"
        else:
            status = "failed" if last.errors else "success"
        return Answer(
            {
                "generation": self._in_force.generation,
                "status": status,
                "at": instant(last.at) if last is not None else None,
                "error": "; ".join(last.errors) or None if last is not None else None,
                "changed": list(last.changes.reloadable) if last is not None else [],
                "ignored": list(last.changes.needs_restart) if last is not None else [],
            }
        )
