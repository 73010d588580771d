"""Work that an operator has started, and that takes longer than anybody waits for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen

from s3orchestrator.errors import OrchestratorError


class JobState(StrEnum):
    """How far it is; `IDLE` is said of a kind of work that nobody has started yet."""

    IDLE = "idle"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@frozen
class Job:
    """
    One run. Times are Unix seconds.

    `progress` is what it has told so far, `result` what came of it once it is done, `error` why it
    failed.
    """

    id: str
    kind: str
    state: JobState
    started_at: float
    finished_at: float | None = None
    progress: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    error: str = ""


class JobUnderWay(OrchestratorError):
    """Work of that kind is being done already; `job` is the id of that run."""

    def __init__(self, job: str) -> None:
        super().__init__(f"job {job} is still running")
        self.job = job
