"""A ledger that can be switched off, below everything, and what happens to it meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.task import Clock

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction, Row
from s3orchestrator.testing.harness import LedgerInMemory

T = TypeVar("T")

# From its being away to the try that finds it back, jitter included: the defaults.
UNTIL_TRIED = 15.0 * 1.25


class SwitchedLedger(LedgerInMemory):
    """Answers unless `is_off`; counts what it was asked for meanwhile."""

    def __init__(self, clock: Clock, image: bytes | None = None) -> None:
        super().__init__(clock, image)
        self.is_off = False
        self.asked = 0

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        self._refuse()
        return await super().transact(work)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        self._refuse()
        return await super().query(statement, **parameters)

    def _refuse(self) -> None:
        if self.is_off:
            self.asked += 1
            raise StoreUnavailable("switched off")


class Opening:
    """Opens such ledgers for a harness; `ledger` is the newest."""

    ledger: SwitchedLedger

    def __call__(self, clock: Clock, image: bytes | None) -> Any:
        self.ledger = SwitchedLedger(clock, image)
        return self.ledger
