"""A real ledger that can be switched off while a server runs on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define
from zope.interface import implementer

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ILocks, ITransaction, Row
from s3orchestrator.store.operations import ILedger, Operations

T = TypeVar("T")


@define
class Switch:
    """Off, nothing gets through; `around` is for `Wrapping`."""

    is_off: bool = False

    def around(self, ledger: ILedger) -> ILedger:
        """Put the switch in front of a ledger."""
        return SwitchedLedger(ledger, self)


@implementer(ILedger)
@define(eq=False)
class SwitchedLedger:
    """A ledger behind a switch."""

    _inner: ILedger
    _switch: Switch

    @property
    def ledger_id(self) -> str:
        return self._inner.ledger_id

    @property
    def operations(self) -> Operations:
        return self._inner.operations

    @property
    def locks(self) -> ILocks:
        return self._inner.locks

    def now_ms(self) -> int:
        return self._inner.now_ms()

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        self._check()
        return await self._inner.transact(work)

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        self._check()
        return await self._inner.query(statement, **parameters)

    async def close(self) -> None:
        await self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # whatever else a ledger can do is not switched

    def _check(self) -> None:
        if self._switch.is_off:
            raise StoreUnavailable("switched off")
