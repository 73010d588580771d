"""Named locks among the services of one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.interfaces import ILocks


@implementer(ILocks)
@define(eq=False)
class LocalLocks:
    """Locks for a ledger that only this process has."""

    _held: set[str] = field(factory=set, init=False)

    def hold(self, name: str) -> AbstractAsyncContextManager[bool]:
        """See `ILocks`."""
        return self._hold(name)

    @asynccontextmanager
    async def _hold(self, name: str) -> AsyncIterator[bool]:
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)
