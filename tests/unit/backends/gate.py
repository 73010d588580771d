"""A memory backend behind a gate, on a clock, with every part at hand."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from prometheus_client import REGISTRY
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from s3orchestrator.backends.guard import Guard
from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.backends.metering import Meter
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.breaker import Breaker, State
from s3orchestrator.domain.usage import NO_LIMITS, Counters, Limits
from s3orchestrator.interfaces import Description

PLAIN = Description("text/plain")
THRESHOLD = 3
OPEN_FOR = 60.0


@define(eq=False)
class Gate:
    """`backend` is what a test calls, `memory` what is behind."""

    name: str = "gated"
    limits: Limits = NO_LIMITS
    clock: Clock = field(factory=Clock, init=False)
    memory: MemoryBackend = field(init=False)
    counters: LocalCounters = field(init=False)
    breaker: Breaker = field(init=False)
    backend: GuardedBackend = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_750_000_000)
        self.memory = MemoryBackend(self.name, self.clock)
        self.counters = LocalCounters(self.clock)
        self.breaker = Breaker(THRESHOLD, OPEN_FOR, lambda: 0.0)
        meter = Meter(self.name, self.counters, lambda: self.limits)
        self.backend = GuardedBackend(self.memory, Guard(meter, self.breaker, self.clock))

    @property
    def used(self) -> Counters:
        """What was counted."""
        return self.counters.used(self.name)

    @property
    def state(self) -> State:
        """The breaker's."""
        return self.breaker.state

    def begin(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Begin a call; the test says how it goes on."""
        return start(work)

    def outcome(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a call that needs no time returns, or the exception that it raises."""
        found: list[Any] = []
        start(work).addBoth(found.append)
        return found[0].value if isinstance(found[0], Failure) else found[0]

    def put(self, data: bytes = b"data", name: str = "k") -> Any:
        """Put an object."""
        return self.outcome(self.backend.put(name, BytesBody(data), PLAIN, exclusive=False))

    def fail(self, times: int) -> None:
        """Let so many calls fail."""
        self.memory.down()
        for _ in range(times):
            self.outcome(self.backend.head("k"))
        self.memory.faults.clear()


def sample(metric: str, **labels: str) -> float:
    """The value of a metric, 0 if there is none."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0
