"""Work on demand, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.jobs import Job, JobState, JobUnderWay
from s3orchestrator.errors import Conflict, StoreUnavailable
from s3orchestrator.services.jobs import KEPT, Jobs, Tell


class JobsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.jobs = Jobs(self.clock)
        self.going: Deferred[Mapping[str, Any]] = Deferred()

    async def work(self, tell: Tell) -> Mapping[str, Any]:
        tell({"half": True})
        return await self.going

    async def at_once(self, tell: Tell) -> Mapping[str, Any]:
        return {}

    def now(self, job: Job) -> Job:
        found = self.jobs.find(job.id)
        assert found is not None
        return found

    def test_done(self) -> None:
        """It runs, tells how far it is, and its result is kept."""
        job = self.jobs.begin("fsck", self.work)
        self.assertEqual((job.state, job.progress, job.started_at), (JobState.RUNNING, {"half": True}, 0.0))
        self.clock.advance(7)
        self.going.callback({"answer": 42})
        job = self.now(job)
        self.assertEqual((job.state, job.result, job.finished_at), (JobState.DONE, {"answer": 42}, 7.0))
        self.assertEqual(self.jobs.latest("fsck"), job)

    def test_twice(self) -> None:
        """Of a kind one runs at a time; of another kind one may run beside it."""
        job = self.jobs.begin("fsck", self.work)
        refused = self.assertRaises(JobUnderWay, self.jobs.begin, "fsck", self.work)
        self.assertEqual(refused.job, job.id)
        self.jobs.begin("other", self.at_once)
        self.going.callback({})
        self.assertNotEqual(self.jobs.begin("fsck", self.at_once).id, job.id)

    def test_failed(self) -> None:
        """A failure that is foreseen is told as it is."""
        job = self.jobs.begin("fsck", self.work)
        self.going.errback(Conflict("somebody else is at it"))
        job = self.now(job)
        self.assertEqual((job.state, job.error), (JobState.FAILED, "somebody else is at it"))

    def test_mistake(self) -> None:
        """One that is not is logged."""
        job = self.jobs.begin("fsck", self.work)
        self.going.errback(KeyError("x"))
        self.assertEqual(self.now(job).error, "KeyError; the log has more")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_stopped(self) -> None:
        """Stopping cancels what runs, waits for it, and lets nothing begin."""
        job = self.jobs.begin("fsck", self.work)
        self.successResultOf(start(self.jobs.stop()))
        self.assertEqual(self.now(job).state, JobState.FAILED)
        self.assertRaises(StoreUnavailable, self.jobs.begin, "fsck", self.work)

    def test_forgotten(self) -> None:
        """Only the last results are kept, and what runs."""
        running = self.jobs.begin("long", self.work)
        jobs = [self.jobs.begin("short", self.at_once) for _ in range(KEPT + 3)]
        self.assertIsNone(self.jobs.find(jobs[0].id))
        self.assertEqual(self.now(running).state, JobState.RUNNING)
        self.assertEqual(sum(self.jobs.find(job.id) is not None for job in jobs), KEPT - 1)
        self.assertIsNone(self.jobs.latest("other"))
