"""One run on demand, its result kept for whoever comes back for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from secrets import token_hex
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.concurrency import start
from s3orchestrator.domain.jobs import Job, JobState, JobUnderWay
from s3orchestrator.errors import OrchestratorError, StoreUnavailable
from s3orchestrator.telemetry.logging import make_logger

KEPT = 20  # results in memory; each may be a list of a thousand findings

Tell = Callable[[Mapping[str, Any]], None]
Work = Callable[[Tell], Coroutine[Any, Any, Mapping[str, Any]]]


@define(eq=False)
class Jobs:
    """
    Runs work in the background, of each kind one at a time, and remembers the last results.

    The results are gone with the process.
    """

    log = make_logger()
    _clock: IReactorTime
    _jobs: OrderedDict[str, Job] = field(factory=OrderedDict, init=False)
    _running: dict[str, Deferred[None]] = field(factory=dict, init=False)
    _is_stopping: bool = field(default=False, init=False)

    def begin(self, kind: str, work: Work) -> Job:
        """
        Start `work`, which may tell how far it is; what it returns is the result.

        :raises JobUnderWay: some of that kind is running.
        :raises StoreUnavailable: we have been stopped, and so will the ledger be.
        """
        if self._is_stopping:
            raise StoreUnavailable("this process is being stopped")
        for job in self._jobs.values():
            if job.kind == kind and job.state is JobState.RUNNING:
                raise JobUnderWay(job.id)
        job = Job(f"{kind}-{token_hex(4)}", kind, JobState.RUNNING, self._clock.seconds())
        self._jobs[job.id] = job
        if len(self._jobs) > KEPT:
            self._forget_one()
        running = start(self._run(job.id, work))
        if not running.called:
            self._running[job.id] = running
        return self._jobs[job.id]

    def find(self, job_id: str) -> Job | None:
        """Return a run, None if there was none or it has been forgotten."""
        return self._jobs.get(job_id)

    def latest(self, kind: str) -> Job | None:
        """Return the last run of a kind."""
        return next((job for job in reversed(self._jobs.values()) if job.kind == kind), None)

    async def stop(self) -> None:
        """Cancel what is running, and wait until it has let go."""
        self._is_stopping = True
        for running in list(self._running.values()):
            running.cancel()
            await running

    async def _run(self, job_id: str, work: Work) -> None:
        try:
            result = await work(lambda progress: self._change(job_id, progress=dict(progress)))
        except CancelledError:
            self._end(job_id, JobState.FAILED, error="it was stopped before it had ended")
        except OrchestratorError as error:
            self._end(job_id, JobState.FAILED, error=str(error))
        except Exception as error:
            self.log.failure("{job} failed", job=job_id)
            self._end(job_id, JobState.FAILED, error=f"{type(error).__name__}; the log has more")
        else:
            self._end(job_id, JobState.DONE, result=dict(result))

    def _end(self, job_id: str, state: JobState, **outcome: Any) -> None:
        self._running.pop(job_id, None)
        self._change(job_id, state=state, finished_at=self._clock.seconds(), **outcome)

    def _change(self, job_id: str, **changes: Any) -> None:
        self._jobs[job_id] = evolve(self._jobs[job_id], **changes)

    def _forget_one(self) -> None:
        ended = (job.id for job in self._jobs.values() if job.state is not JobState.RUNNING)
        if oldest := next(ended, ""):
            del self._jobs[oldest]
