"""How many requests are served at a time, and what happens to the others."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.web.admission import (
    LEFT,
    MOST_WAITING,
    REJECTIONS,
    SHED,
    Admission,
    AdmissionRejected,
    LoadShed,
    Pool,
)


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dice = 0.0
        self._before = [counter._value.get() for counter in (REJECTIONS, SHED, LEFT)]

    def pool(self, capacity: int, wait: float = 0, shed: float = 0) -> Pool:
        return Pool(capacity, wait, shed, lambda: self.dice, self.clock)

    def assertCounted(self, *, rejected: int = 0, shed: int = 0, left: int = 0) -> None:
        now = [counter._value.get() for counter in (REJECTIONS, SHED, LEFT)]
        counted = [after - before for before, after in zip(self._before, now, strict=True)]
        self.assertEqual(counted, [rejected, shed, left])

    def test_full(self) -> None:
        """Without a waiting time the next one is sent away, and may come again."""
        pool = self.pool(1)
        self.successResultOf(start(pool.take()))
        error = self.failureResultOf(start(pool.take()), AdmissionRejected).value
        self.assertCounted(rejected=1)
        self.assertEqual((error.code, error.status, error.headers["Retry-After"]), ("SlowDown", 503, "1"))
        pool.give_back()
        self.successResultOf(start(pool.take()))

    def test_first_come_first_served(self) -> None:
        """A slot goes to whoever has waited longest."""
        pool = self.pool(1, wait=5)
        self.successResultOf(start(pool.take()))
        first, second = start(pool.take()), start(pool.take())
        pool.give_back()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.clock.advance(5)
        self.failureResultOf(second, AdmissionRejected)
        self.assertCounted(rejected=1)
        pool.give_back()
        self.assertEqual(pool.taken, 0)

    def test_leaving_the_queue(self) -> None:
        """A client that gives up leaves its place, and no slot is lost."""
        pool = self.pool(1, wait=5)
        self.successResultOf(start(pool.take()))
        gone, patient = start(pool.take()), start(pool.take())
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.assertCounted(left=1)
        pool.give_back()
        self.successResultOf(patient)
        pool.give_back()
        self.assertEqual((pool.taken, self.clock.getDelayedCalls()), (0, []))

    def test_shedding(self) -> None:
        """Above the threshold the chance to be refused grows with the load."""
        pool = self.pool(10, shed=0.5)
        for _ in range(5):
            self.successResultOf(start(pool.take()))
        self.dice = 0.19
        self.successResultOf(start(pool.take()))
        error = self.failureResultOf(start(pool.take()), LoadShed).value
        self.assertEqual((error.code, error.status, error.headers), ("SlowDown", 503, {"Retry-After": "1"}))
        self.assertCounted(shed=1)
        self.dice = 0.21
        self.successResultOf(start(pool.take()))

    def test_shedding_does_not_replace_waiting(self) -> None:
        """A full pool is a matter of waiting, also where requests are shed."""
        pool = self.pool(1, wait=5, shed=0.5)
        self.successResultOf(start(pool.take()))
        waiting = start(pool.take())
        pool.give_back()
        self.successResultOf(waiting)

    def test_queue_is_bounded(self) -> None:
        """Of a multitude only so many wait; the others are told at once."""
        pool = self.pool(1, wait=5)
        self.successResultOf(start(pool.take()))
        waiting = [start(pool.take()) for _ in range(MOST_WAITING)]
        self.failureResultOf(start(pool.take()), AdmissionRejected)
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        patient = start(pool.take())
        self.assertNoResult(patient)
        for each in [*waiting[1:], patient]:
            each.cancel()
            self.failureResultOf(each, CancelledError)


class AdmissionTests(SynchronousTestCase):
    def test_reads_and_writes_apart(self) -> None:
        """Writers that fill their pool do not keep readers out."""
        reads, writes = (Pool(1, 0, 0, lambda: 1.0, Clock()) for _ in range(2))
        admission = Admission(reads, writes)
        self.assertIs(self.successResultOf(start(admission.enter(is_write=True))), writes)
        self.failureResultOf(start(admission.enter(is_write=True)), S3Error)
        self.assertIs(self.successResultOf(start(admission.enter(is_write=False))), reads)
