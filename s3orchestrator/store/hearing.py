"""Whoever wants to hear of something, and is told whenever there is something to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

from s3orchestrator.telemetry.logging import make_logger

T = TypeVar("T")


@define(eq=False)
class Hearers(Generic[T]):
    """They hear in the order in which they came; that one of them fails keeps nobody else from hearing."""

    log = make_logger()
    _all: list[Callable[[T], object]] = field(init=False, factory=list)

    def add(self, hear: Callable[[T], object]) -> None:
        """Call `hear` from now on."""
        self._all.append(hear)

    def tell(self, what: T) -> None:
        """Let all of them know; never raises."""
        for hear in tuple(self._all):
            try:
                hear(what)
            except Exception:
                self.log.failure("what {hear} did about {what!r} failed", hear=hear, what=what)
