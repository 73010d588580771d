"""The breaker around the ledger: what opens it, and how it closes without anybody's help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import REGISTRY
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.breaker import STALE_AFTER
from s3orchestrator.errors import (
    LedgerTooNew,
    NoSuchKey,
    OrchestratorError,
    StoreUnavailable,
    TransactionUnclear,
)
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.guarded import GuardedLedger
from tests.unit.objects.away import SwitchedLedger

T = TypeVar("T")
Work = Callable[[ITransaction], Awaitable[None]]

THRESHOLD = 3
OPEN_TIMEOUT = 10.0


class SilentLedger(SwitchedLedger):
    """One whose answers may be held back, for ever if need be."""

    waiting: Deferred[None] | None = None

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        if self.waiting is not None:
            self.asked += 1
            await self.waiting
        return await super().transact(work)


async def nothing(tx: ITransaction) -> None:
    await tx.one("SELECT 1 AS one")


async def missing(tx: ITransaction) -> None:
    raise NoSuchKey("k")


async def unclear(tx: ITransaction) -> None:
    raise TransactionUnclear("no answer")


async def mistaken(tx: ITransaction) -> None:
    raise ZeroDivisionError


class GuardedLedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = SilentLedger(self.clock)
        self.inner.open()
        self.chance = 0.0
        self.ledger = GuardedLedger(self.inner, self.clock, THRESHOLD, OPEN_TIMEOUT, lambda: self.chance)
        self.heard: list[str] = []
        self.ledger.on_away(lambda: self.heard.append("away"))
        self.ledger.on_back(lambda: self.heard.append("back"))

    def fails(self, kind: type[Exception] = StoreUnavailable, work: Work = nothing) -> None:
        self.failureResultOf(start(self.ledger.transact(work)), kind)

    def go_away(self) -> None:
        self.inner.is_off = True
        for _ in range(THRESHOLD):
            self.fails()

    def state(self) -> float | None:
        return REGISTRY.get_sample_value("s3o_circuit_breaker_state", {"name": "database"})

    def test_stands_for_the_ledger(self) -> None:
        """It is the ledger, as long as that is there."""
        self.successResultOf(start(self.ledger.transact(nothing)))
        rows = self.successResultOf(start(self.ledger.query("SELECT :n AS n", n=3)))
        self.assertEqual(rows[0]["n"], 3)
        self.assertEqual(self.ledger.ledger_id, self.inner.ledger_id)
        self.assertIs(self.ledger.operations, self.inner.operations)
        self.assertEqual(self.ledger.now_ms(), self.inner.now_ms())
        self.assertFalse(self.ledger.is_away)

    def test_refused_changes(self) -> None:
        """When a newer release has changed the ledger it is read, and not written; that is said once."""
        critical: list[LogEvent] = []

        def hear(event: LogEvent) -> None:
            if event["log_level"] is LogLevel.critical:
                critical.append(event)

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        for _ in range(2):
            self.ledger.refuse_changes(LedgerTooNew("level 9 needs a release of level 9"))
        self.assertFalse(self.ledger.takes_changes)
        self.fails()
        self.assertEqual(len(self.successResultOf(start(self.ledger.query("SELECT 1 AS n")))), 1)
        self.assertFalse(self.ledger.is_away)
        self.assertEqual(len(critical), 1)

    def test_one_occasion(self) -> None:
        """A COMMIT that many share has failed once."""
        for number in range(THRESHOLD):
            self.assertFalse(self.ledger.is_away, number)

            async def shared(tx: ITransaction, occasion: int = number + 1) -> None:
                error = TransactionUnclear("one answer for many")
                error.occasion = occasion
                raise error

            for _ in range(2 * THRESHOLD):
                if not self.ledger.is_away:
                    self.fails(TransactionUnclear, shared)
        self.assertTrue(self.ledger.is_away)

    def test_away_after_failures_in_a_row(self) -> None:
        """A success in between starts the count anew; queries count as well as transactions."""
        self.inner.is_off = True
        self.fails()
        self.failureResultOf(start(self.ledger.query("SELECT 1")), StoreUnavailable)
        self.inner.is_off = False
        self.successResultOf(start(self.ledger.query("SELECT 1")))
        self.assertFalse(self.ledger.is_away)
        self.go_away()
        self.assertTrue(self.ledger.is_away)
        self.assertEqual((self.heard, self.state()), (["away"], 1))

    def test_left_alone(self) -> None:
        """While it is away nobody's request reaches it, not even when it is time to try."""
        self.go_away()
        asked = self.inner.asked
        self.fails()
        self.failureResultOf(start(self.ledger.query("SELECT 1")), StoreUnavailable)
        self.assertEqual(self.inner.asked, asked)

    def test_answers_that_say_no(self) -> None:
        """A refusal is an answer; a mistake of ours, or a client that left, is none but no failure either."""
        for work, kind in ((missing, NoSuchKey), (mistaken, ZeroDivisionError)):
            for _ in range(THRESHOLD + 1):
                self.fails(kind, work)
        self.inner.waiting = Deferred()
        for _ in range(THRESHOLD + 1):
            leaving = start(self.ledger.transact(nothing))
            leaving.cancel()
            self.failureResultOf(leaving, CancelledError)
            self.inner.waiting = Deferred()
        self.assertFalse(self.ledger.is_away)

    def test_unclear_commits_count(self) -> None:
        """A COMMIT without an answer is a failure, and stays one that can be told from others."""
        for _ in range(THRESHOLD):
            self.fails(TransactionUnclear, unclear)
        self.assertTrue(self.ledger.is_away)
        error = self.failureResultOf(start(self.ledger.transact(nothing)), OrchestratorError).value
        self.assertIs(type(error), StoreUnavailable)

    def test_back_by_itself(self) -> None:
        """It is tried again, with nobody asking, until it answers; jitter puts the tries off."""
        self.chance = 1.0
        self.go_away()
        asked = self.inner.asked
        self.clock.advance(OPEN_TIMEOUT)
        self.assertEqual(self.inner.asked, asked)
        self.clock.advance(OPEN_TIMEOUT / 4)
        self.assertEqual(self.inner.asked, asked + 1)
        self.assertTrue(self.ledger.is_away)
        self.assertAlmostEqual(self.ledger.away_for, OPEN_TIMEOUT * 1.25)
        self.inner.is_off = False
        self.clock.advance(OPEN_TIMEOUT * 1.25)
        self.assertFalse(self.ledger.is_away)
        self.assertEqual((self.heard, self.state(), self.ledger.away_for), (["away", "back"], 0, 0))
        self.successResultOf(start(self.ledger.transact(nothing)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_try_that_never_ends(self) -> None:
        """A try that is not answered keeps nobody waiting, and is followed by another in the end."""
        self.go_away()
        silence: Deferred[None] = Deferred()
        self.inner.waiting = silence
        self.clock.advance(OPEN_TIMEOUT)
        self.fails()
        self.inner.waiting, self.inner.is_off = None, False
        self.clock.advance(STALE_AFTER)
        self.assertFalse(self.ledger.is_away)
        silence.callback(None)  # too late to mean anything
        self.assertEqual(self.heard, ["away", "back"])

    def test_late_failures_do_not_count(self) -> None:
        """What began before it went away says nothing about a database that is back."""
        self.inner.waiting = waiting = Deferred()
        late = [start(self.ledger.transact(nothing)) for _ in range(THRESHOLD)]
        self.inner.waiting = None
        self.go_away()
        self.inner.is_off = False
        self.clock.advance(OPEN_TIMEOUT)
        self.inner.is_off = True
        waiting.callback(None)
        for one in late:
            self.failureResultOf(one, StoreUnavailable)
        self.assertFalse(self.ledger.is_away)

    def test_listeners_fail_alone(self) -> None:
        """One that fails is logged; the others hear all the same."""
        broken = GuardedLedger(self.inner, self.clock, 1, OPEN_TIMEOUT, lambda: 0.0)
        broken.on_away(lambda: 1 / 0)
        broken.on_away(lambda: self.heard.append("heard"))
        self.inner.is_off = True
        self.failureResultOf(start(broken.transact(nothing)), StoreUnavailable)
        self.assertEqual(self.heard, ["heard"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close(self) -> None:
        """Closing ends the tries."""
        self.go_away()
        self.successResultOf(start(self.ledger.close()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
