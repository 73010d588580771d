"""
A breaker around the ledger: the switch to degraded mode, and back.

A database that has stopped answering is left alone, so that nobody waits for it: while the
breaker is open everything that needs the ledger fails at once. One small transaction after
another, sent by nobody's request, finds out when it is back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from s3orchestrator.concurrency import start
from s3orchestrator.domain.breaker import STALE_AFTER, Breaker, Pass, State
from s3orchestrator.errors import OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import ILocks, ITransaction, Row
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.store.operations import ILedger, Operations
from s3orchestrator.telemetry.breakers import DATABASE, moved, show
from s3orchestrator.telemetry.logging import make_logger

T = TypeVar("T")

ANYTHING = "SELECT 1 AS one"

Told = Callable[[], object]


@implementer(ILedger)
@define(eq=False)
class GuardedLedger:
    """
    An open ledger behind a breaker.

    What counts against the database is that it did not answer, a COMMIT included: one that several
    shared counts once. Refusals are answers, and a caller that leaves says nothing. `chance` gives
    numbers from 0 to 1: up to a quarter of `open_timeout` is added by it to each wait.

    `on_away` and `on_back` hear of each change, in the order in which they were given; they
    must not block, and whatever they begin may already use the ledger.
    """

    log = make_logger()
    _inner: ILedger
    _clock: IReactorTime
    _threshold: int
    _open_timeout: float
    _chance: Callable[[], float]
    _breaker: Breaker = field(init=False)
    _away_since: float = field(init=False, default=0.0)
    _knocking: IDelayedCall | None = field(init=False, default=None)
    _on_away: list[Told] = field(init=False, factory=list)
    _on_back: list[Told] = field(init=False, factory=list)
    _is_closed: bool = field(init=False, default=False)
    _refusal: OrchestratorError | None = field(init=False, default=None)
    _counted: int = field(init=False, default=0)  # the last occasion on which several heard nothing

    def __attrs_post_init__(self) -> None:
        # The jitter is in our own timer: nobody else lets a probe through.
        self._breaker = Breaker(self._threshold, self._open_timeout, lambda: 0.0, self._changed)
        show(DATABASE)

    @property
    def is_away(self) -> bool:
        """Tell whether the database is being left alone, or is just being tried again."""
        return self._breaker.state is not State.CLOSED

    @property
    def away_for(self) -> float:
        """Seconds since it went away, 0 while it is there."""
        return self._breaker.open_for(self._clock.seconds())

    @property
    def ledger_id(self) -> str:
        """See `ILedger`."""
        return self._inner.ledger_id

    @property
    def operations(self) -> Operations:
        """See `ILedger`."""
        return self._inner.operations

    @property
    def locks(self) -> ILocks:
        """See `ILedger`; they know by themselves when they cannot be had."""
        return self._inner.locks

    def on_away(self, told: Told) -> None:
        """Let `told` be called whenever the database goes away."""
        self._on_away.append(told)

    def on_back(self, told: Told) -> None:
        """Let `told` be called whenever the database is back: to tell it what it has missed, say."""
        self._on_back.append(told)

    @property
    def clock_skew_ms(self) -> int:
        """See `ILedger`."""
        return self._inner.clock_skew_ms

    def on_notice(self, hear: Callable[[str], None]) -> None:
        """See `ILedger`."""
        self._inner.on_notice(hear)

    @property
    def takes_changes(self) -> bool:
        """Tell whether this process may change the ledger; see `refuse_changes`."""
        return self._refusal is None

    def refuse_changes(self, reason: OrchestratorError) -> None:
        """Change nothing any more: a newer release has changed what this one would damage. Reads go on."""
        if self._refusal is None:
            self.log.critical("nothing is written any more, upgrade this one: {reason}", reason=str(reason))
        self._refusal = reason

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        See `IDatabase`.

        :raises StoreUnavailable: also when changes are being refused.
        """
        self._check_refusal()
        return await self._through(partial(self._inner.transact, work))

    async def change(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Have somebody else change the ledger for us; refused like `transact`."""
        self._check_refusal()
        return await self._through(ask)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        """See `IDatabase`; as the others, without the layers between: every request does it."""
        made = self._admit()
        try:
            rows = await self._inner.query(statement, **parameters)
        except BaseException as error:
            self._note(made, error)
            raise
        self._breaker.succeeded(made)
        return rows

    async def at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """See `IDatabase`; refused like `transact`."""
        self._check_refusal()
        return await self._through(partial(self._inner.at_length, work))

    def _check_refusal(self) -> None:
        if self._refusal is not None:
            raise StoreUnavailable(f"the ledger must not be changed: {self._refusal}")

    async def snapshot(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """See `IDatabase`."""
        return await self._through(partial(self._inner.snapshot, work))

    async def measure_time(self) -> None:
        """See `ILedger`."""
        await self._through(self._inner.measure_time)

    async def _through(self, ask: Callable[[], Awaitable[T]]) -> T:
        made = self._admit()
        try:
            answer = await ask()
        except BaseException as error:
            self._note(made, error)
            raise
        self._breaker.succeeded(made)
        return answer

    def now_ms(self) -> int:
        """See `IDatabase`; time goes on without a database."""
        return self._inner.now_ms()

    async def close(self) -> None:
        """See `IDatabase`."""
        self._is_closed = True
        self._stop_knocking()
        await self._inner.close()

    def _admit(self) -> Pass:
        # Requests are never probes: no client is to wait for a database that may not answer.
        made = self._breaker.leave
        if made is None:
            raise StoreUnavailable("the database is away")
        return made

    def _note(self, made: Pass, error: BaseException) -> None:
        if isinstance(error, StoreUnavailable):
            if not self._was_counted(error):
                self._breaker.failed(made, self._clock.seconds())
        elif isinstance(error, OrchestratorError | S3Error):
            self._breaker.succeeded(made)
        else:  # the caller left, or it is a mistake of ours: neither tells of the database
            self._breaker.abandoned(made, self._clock.seconds())

    def _was_counted(self, error: StoreUnavailable) -> bool:
        """Tell whether it is about a COMMIT that another one was about: one connection may have ended."""
        if not isinstance(error, TransactionUnclear) or not error.occasion:
            return False
        before, self._counted = self._counted, error.occasion
        return before == error.occasion

    # --- away and back

    def _changed(self, before: State, after: State) -> None:
        moved(DATABASE, before, after)
        if before is State.CLOSED:
            self._away_since = self._clock.seconds()
            self.log.warn(
                "the database is away, after {failures} failures in a row: objects are read without it,"
                " nothing is written",
                failures=self._breaker.failures,
            )
            self._tell(self._on_away)
        if after is State.OPEN:
            self._knock_later(self._open_timeout * (1 + self._chance() / 4))
        elif after is State.CLOSED:
            self._stop_knocking()
            seconds = round(self._clock.seconds() - self._away_since, 3)
            self.log.info("the database is back, after {seconds} s", seconds=seconds)
            self._tell(self._on_back)

    def _tell(self, listeners: list[Told]) -> None:
        for told in listeners:
            try:
                told()
            except Exception:
                self.log.failure("a listener failed when the database went or came")

    def _knock_later(self, seconds: float) -> None:
        self._stop_knocking()
        if not self._is_closed:
            self._knocking = self._clock.callLater(seconds, self._knock)

    def _stop_knocking(self) -> None:
        if self._knocking is not None and self._knocking.active():
            self._knocking.cancel()
        self._knocking = None

    def _knock(self) -> None:
        made = self._breaker.admit(self._clock.seconds())
        # Nobody may cancel a transaction: one that never ends is forgotten, and another sent.
        self._knock_later(STALE_AFTER if made is not None else self._open_timeout)
        if made is not None:
            start(self._probe(made)).addErrback(self._complain)

    async def _probe(self, made: Pass) -> None:
        """A transaction rather than a query: with the next one a writer that gave up tries again."""
        try:
            await self._inner.transact(nothing)
        except (OrchestratorError, CancelledError) as error:
            self._note(made, error)
        except Exception:
            self._breaker.failed(made, self._clock.seconds())
            raise
        else:
            self._breaker.succeeded(made)

    def _complain(self, failure: Failure) -> None:
        self.log.failure("trying the database failed in an unforeseen way", failure=failure)


async def nothing(tx: ITransaction) -> None:
    """Find out whether the database answers, with the smallest transaction."""
    await tx.one(ANYTHING)
