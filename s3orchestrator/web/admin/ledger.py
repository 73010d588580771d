"""Checking the ledger and the backends while clients are served; recording what was used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define

from s3orchestrator.domain.jobs import Job, JobState, JobUnderWay
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.instants import instant


@define(eq=False)
class Checks:
    """
    `POST fsck`, `GET fsck` for the last one, `GET jobs/{id}` for a certain one.

    :param begin: starts a check (deep, repair), which raises `JobUnderWay` while one is running.
    """

    _begin: Callable[[bool, bool], Job]
    _latest: Callable[[], Job | None]
    _find: Callable[[str], Job | None]

    async def begin(self, ask: Ask) -> Answer:
        """Begin a check; it goes on when the caller has left."""
        ask.allow_query()
        ask.allow_body("deep", "repair")
        deep, repair = ask.flag("deep"), ask.flag("repair")
        try:
            job = self._begin(deep, repair)
        except JobUnderWay as error:
            raise Refused(409, f"a check is running already: job {error.job}", job=error.job) from None
        return Answer(_shown(job), 202, {"job": job.id, "deep": deep, "repair": repair})

    async def latest(self, ask: Ask) -> Answer:
        """Return the last check of this process, if there was any."""
        ask.allow_query()
        job = self._latest()
        return Answer(_shown(job) if job is not None else {"job": None, "state": JobState.IDLE})

    async def find(self, ask: Ask) -> Answer:
        """Return how far a job is, and what came of it."""
        ask.allow_query()
        job = self._find(ask.path["id"])
        if job is None:
            raise Refused(404, "there is no such job: results are kept in memory, and only the last ones")
        return Answer(_shown(job))


@define(eq=False)
class UsageFlush:
    """`POST usage-flush`."""

    _flush: Callable[[], Awaitable[object]]

    async def flush(self, ask: Ask) -> Answer:
        """Record what has been counted, now."""
        ask.allow_query()
        ask.allow_body()
        await self._flush()
        return Answer({"status": "flushed"})


def _shown(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "state": job.state,
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "progress": job.progress,
        "result": job.result,
        "error": job.error or None,
    }
