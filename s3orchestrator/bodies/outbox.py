"""
Small messages that leave together, at the end of a turn of the reactor.

Each message is a system call, and whoever is woken by it runs meanwhile: between the work for two requests it
costs more than after all of them. A message waits for no more than the work that came in with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from s3orchestrator.telemetry.logging import make_logger


class Sender(Protocol):
    """A connection that keeps something back."""

    def release(self) -> None:
        """Send it now."""


Later = Callable[[Callable[[], None]], object]


@define(eq=False)
class Outbox:
    """
    Knows who keeps something back, between `open` and `close`; otherwise nobody does.

    What is said by `before`, which `open` is given, has been said before anything leaves.
    """

    log = make_logger()
    is_open: bool = field(default=False, init=False)
    _later: Later | None = field(default=None, init=False)
    _before: Callable[[], object] | None = field(default=None, init=False)
    _senders: list[Sender] = field(factory=list, init=False)

    def open(self, later: Later, before: Callable[[], object]) -> None:
        """Have messages wait until `later` calls back, which it does at the end of a turn."""
        self._later, self._before = later, before
        self.is_open = True

    def close(self) -> None:
        """Send what there is; from now on nothing waits, for the reactor may not go on."""
        self.is_open = False
        self._send()

    def add(self, sender: Sender) -> None:
        """Have `sender` release what it keeps at the end of this turn."""
        assert self._later is not None
        if not self._senders:
            self._later(self._send)
        self._senders.append(sender)

    def say(self) -> None:
        """Do what is done before anything leaves."""
        if self._before is not None:
            try:
                self._before()
            except Exception:
                # Clients are answered, whatever it is.
                self.log.failure("what comes before answers has failed")

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            try:
                sender.release()
            except Exception:
                # What is wrong with one connection must not keep the others' answers back.
                self.log.failure("what a connection has kept back cannot be sent")


OUTBOX = Outbox()  # the reactor's; there is one of each
