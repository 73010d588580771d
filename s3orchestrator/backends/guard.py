"""
The gate before a backend: who may call it, and what every call leaves behind.

A call is refused, before anything is sent, by the backend's monthly limits or by its
breaker. What is let through is counted, timed, and told to the breaker at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer

from s3orchestrator.backends.metered import MeteredBody
from s3orchestrator.backends.metering import Held, Meter
from s3orchestrator.backends.outcomes import Outcome, outcome_of, status_of
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.domain.breaker import Breaker, Pass
from s3orchestrator.domain.usage import ONE_REQUEST, Counters
from s3orchestrator.errors import BackendError, BackendUnavailable
from s3orchestrator.telemetry.unlocked import UnlockedCounter, UnlockedHistogram

REQUESTS = UnlockedCounter(
    "s3o_backend_requests_total",
    "Calls of backends that were made; a refusal that has a name, such as a missing object, is a success.",
    ["operation", "backend", "status"],
)
DURATION = UnlockedHistogram(
    "s3o_backend_duration_seconds",
    "How long they took; of GetObject, until its headers were in.",
    ["operation", "backend"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)


LimitedAs = Literal["read", "write"]

# After so many failures in a row a backend counts as having been away: it may be another one when it is back.
AWAY_AFTER = 3


def _nobody() -> None:
    """Hear nothing."""


@define(eq=False)
class Measures:
    """The metrics of one operation on one backend; looking a child up costs more than counting."""

    operation: str
    backend: str
    duration: UnlockedHistogram = field(init=False)
    _requests: dict[str, UnlockedCounter] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.duration = DURATION.labels(self.operation, self.backend)
        # All of them from the start: nobody sees a rate in the first appearance of a series.
        self._requests = {
            status: REQUESTS.labels(self.operation, self.backend, status)
            for status in ("success", "error", "cancelled")
        }

    def ended(self, status: str, seconds: float) -> None:
        """A call has ended, in success, error or cancelled."""
        self._requests[status].inc()
        self.duration.observe(seconds)


@define(eq=False)
class Guard:
    """
    Lets calls through to one backend; without a breaker, whatever its limits allow.

    `away` is called when the backend cannot be reached, as far as its calls tell.
    """

    meter: Meter
    breaker: Breaker | None
    clock: IReactorTime
    away: Callable[[], object] = _nobody
    _failures: int = field(default=0, init=False)
    _measures: dict[str, Measures] = field(factory=dict, init=False)

    def begin(
        self, operation: str, proposed: Counters = ONE_REQUEST, limited_as: LimitedAs | None = None
    ) -> Admitted:
        """
        Let a call through that may use what is `proposed`.

        `limited_as` is for what the monthly limits may forbid. What frees
        space, finishes what was begun or only looks is counted, and never forbidden.

        :raises UsageLimitExceeded: a limit does not allow it.
        :raises BackendUnavailable: the backend is left alone just now; `sent` is False.
        """
        if limited_as is not None:
            self.meter.check(proposed, writing=limited_as == "write")
        made = None
        if self.breaker is not None:
            made = self.breaker.admit(self.clock.seconds())
            if made is None:
                raise BackendUnavailable(f"{self.meter.name}: left alone after failures", sent=False)
        return Admitted(self, self._measures_of(operation), made, self.meter.hold(proposed))

    @property
    def is_failing(self) -> bool:
        """Whether a call would not be let through by the breaker."""
        return self.breaker is not None and not self.breaker.admits(self.clock.seconds())

    def note(self, outcome: Outcome) -> None:
        """A call has ended."""
        if outcome is Outcome.ANSWERED:
            self._failures = 0
        elif outcome is Outcome.FAILED:
            self._failures += 1
            if self._failures >= AWAY_AFTER:
                self.away()

    def _measures_of(self, operation: str) -> Measures:
        measures = self._measures.get(operation)
        if measures is None:
            measures = self._measures[operation] = Measures(operation, self.meter.name)
        return measures


@define(eq=False)
class Admitted:
    """A call under way. Its maker says how it ended: `answered` or `raised`, or `opened` for a body."""

    _guard: Guard
    _measures: Measures
    _made: Pass | None
    held: Held
    _began: float = field(init=False)
    _body: MeteredBody | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._guard.clock.seconds()

    # --- a body that we send

    def sending(self, body: IBodyProducer) -> IBodyProducer:
        """Return the body to give to the backend; one that is in memory is counted at the end, as a whole."""
        if isinstance(body, BytesBody):
            return body
        clock = self._guard.clock
        self._body = MeteredBody(body, clock, lambda size: self.held.used(ingress=size), _ignore)
        return self._body

    def sent(self, body: IBodyProducer) -> None:
        """Count a body in memory, if any of it was sent; call this when the call has ended."""
        if isinstance(body, BytesBody) and body.started:
            self.held.used(ingress=len(body.data))

    # --- the end

    def answered(self) -> None:
        """It was answered."""
        self._over("success", Outcome.ANSWERED, sent=True)
        self.held.let_go()

    def raised(self, error: BaseException) -> None:
        """It ended in `error`."""
        outcome = outcome_of(error)
        if self._body is not None and self._body.was_starved and outcome is Outcome.FAILED:
            # The one who sends us the bytes had been silent, and the backend would not wait.
            outcome = Outcome.ABANDONED
        self._over(status_of(error), outcome, sent=not isinstance(error, BackendError) or error.sent)
        self.held.let_go()

    def opened(self, body: IBodyProducer) -> IBodyProducer:
        """
        The headers are in; return the body to read.

        How it ends is told to the breaker, unless this is a probe: that the backend answers
        again must not have to wait for the end of a long body.
        """
        if isinstance(body, BytesBody):
            self.held.used(egress=len(body.data))
            self.answered()
            return body
        is_probe = self._made is not None and self._made.is_probe
        self._over("success", Outcome.ANSWERED if is_probe else None, sent=True)
        if is_probe and self._guard.breaker is not None:
            self._made = self._guard.breaker.admit(self._guard.clock.seconds())
        clock = self._guard.clock
        return MeteredBody(body, clock, lambda size: self.held.used(egress=size), self._body_ended)

    def _body_ended(self, error: BaseException | None) -> None:
        self.held.let_go()
        self._tell(Outcome.ANSWERED if error is None else outcome_of(error))

    def _over(self, status: str, outcome: Outcome | None, *, sent: bool) -> None:
        self._measures.ended(status, self._guard.clock.seconds() - self._began)
        self.held.called(sent=sent)
        if outcome is not None:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self._guard.note(outcome)
        breaker, made = self._guard.breaker, self._made
        if breaker is None or made is None:
            return
        now = self._guard.clock.seconds()
        if outcome is Outcome.ANSWERED:
            breaker.succeeded(made)
        elif outcome is Outcome.FAILED:
            breaker.failed(made, now)
        else:
            breaker.abandoned(made, now)


def _ignore(_: BaseException | None) -> None:
    """How an upload's body ended is told by the call."""
