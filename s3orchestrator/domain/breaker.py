"""
When to leave something alone that keeps failing, and when to try it again.

Three states: closed (everything passes), open (nothing does), half-open (one probe does, and its
outcome decides). Pure: time is an argument, in seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from attrs import define, field

from s3orchestrator.values import value

STALE_AFTER = 120.0  # a probe that has not come back by then is given up, so that another may go


class State(IntEnum):
    """The numbers are what the metric `s3o_circuit_breaker_state` shows."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


@value
class Pass:
    """Leave to make one call; whoever holds it says how the call ended. `turn` tells old passes from new."""

    turn: int
    is_probe: bool = False


@define(eq=False)
class Breaker:
    """
    Opens after `threshold` failures in a row, and lets a probe through `open_timeout` seconds later.

    `chance` gives numbers from 0 to 1: up to a quarter of the time-out is added by it each time the
    breaker opens, so that several instances do not all knock at once. `told` hears of each change of
    state, after it has happened.

    The outcome of a call that began before the last change of state says nothing about now, and is
    ignored; a success in the closed state always counts.
    """

    threshold: int
    open_timeout: float
    chance: Callable[[], float]
    told: Callable[[State, State], None] | None = None
    state: State = field(default=State.CLOSED, init=False)
    failures: int = field(default=0, init=False)
    opened_at: float | None = field(default=None, init=False)  # the first time, also across failed probes
    leave: Pass | None = field(factory=lambda: Pass(0), init=False)  # everybody's while it is closed
    _turn: int = field(default=0, init=False)
    _probe_from: float = field(default=0.0, init=False)
    _probing_since: float | None = field(default=None, init=False)

    def admits(self, now: float) -> bool:
        """Tell whether `admit` would let a call through; nothing is changed."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            return now >= self._probe_from
        return self._is_stale(now)

    def admit(self, now: float) -> Pass | None:
        """Return leave to call, None if the call must not be made. A pass must be handed in again."""
        if self.leave is not None:
            return self.leave
        self.give_up_stale(now)
        if self.state is not State.OPEN or now < self._probe_from:
            return None
        self._change(State.HALF_OPEN)
        self._probing_since = now
        return Pass(self._turn, is_probe=True)

    def succeeded(self, made: Pass) -> None:
        """The call was answered."""
        if made.turn != self._turn:
            return
        self.failures = 0
        if made.is_probe:
            self.opened_at = None
            self._change(State.CLOSED)

    def failed(self, made: Pass, now: float) -> None:
        """The call was not answered, or with a failure that is no answer."""
        if made.turn != self._turn:
            return
        self.failures += 1
        if made.is_probe or self.failures >= self.threshold:
            self._open(now, now + self._patience())

    def abandoned(self, made: Pass, now: float) -> None:
        """The call was given up before anything was known; after a probe the next caller may try at once."""
        if made.is_probe and made.turn == self._turn:
            self._open(now, now)

    def give_up_stale(self, now: float) -> bool:
        """Let another probe go if the last one never came back; tells whether that was so."""
        if self.state is not State.HALF_OPEN or not self._is_stale(now):
            return False
        self._open(now, now)
        return True

    def open_for(self, now: float) -> float:
        """Seconds since it first opened, 0 while it is closed."""
        return 0.0 if self.opened_at is None else now - self.opened_at

    def _is_stale(self, now: float) -> bool:
        return self._probing_since is not None and now - self._probing_since >= STALE_AFTER

    def _patience(self) -> float:
        return self.open_timeout * (1 + self.chance() / 4)

    def _open(self, now: float, probe_from: float) -> None:
        if self.opened_at is None:
            self.opened_at = now
        self._probe_from = probe_from
        self._change(State.OPEN)

    def _change(self, state: State) -> None:
        before, self.state = self.state, state
        self._turn += 1
        self.leave = Pass(self._turn) if state is State.CLOSED else None
        self._probing_since = None
        if self.told is not None:
            self.told(before, state)
