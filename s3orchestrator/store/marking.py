"""What the ledger knows of the markers on its backends (L9); see `domain.owning`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.domain.owning import Known
from s3orchestrator.interfaces import IMarks, ITransaction
from s3orchestrator.store.operations import ILedger

# What the ledger does not know of may be under a name that it takes for free, or for one to be deleted.
NOT_BEHIND = "backend NOT IN (SELECT name FROM backends WHERE is_behind)"

KNOWN = "SELECT name, marker, marked_ms, is_behind FROM backends"
KNOW = "INSERT INTO backends (name) VALUES (:backend) ON CONFLICT (name) DO NOTHING"
# Compare-and-set: whoever read the marker before somebody else raised it has to read it again.
RAISE = """
    UPDATE backends SET marker = marker + 1
     WHERE name = :backend AND marker = :number AND is_behind = FALSE
"""
MARKED = """
    UPDATE backends SET marked_ms = :began_ms
     WHERE name = :backend AND marker >= :number AND marked_ms < :began_ms
"""
BEHIND = "UPDATE backends SET is_behind = TRUE WHERE name = :backend AND is_behind = FALSE"
SET = """
    UPDATE backends SET marker = :number WHERE name = :backend AND marker < :number
"""
ORIGIN = "$origin"
FORMER_ORIGIN = "SELECT origin FROM ledger"
NOTE_ORIGIN = "UPDATE ledger SET origin = :origin"
ALL_BEHIND = "UPDATE backends SET is_behind = TRUE WHERE is_behind = FALSE"
CAUGHT_UP = "UPDATE backends SET is_behind = FALSE WHERE name = :backend"


@implementer(IMarks)
@define(eq=False)
class Marks:
    """Markers in a ledger."""

    _ledger: ILedger
    _reached: int = field(init=False, default=0)

    async def find_signs(self) -> str:
        if not self._ledger.operations.is_shared:
            return ""

        async def work(tx: ITransaction) -> tuple[str, int]:
            now, former = await tx.one(ORIGIN), await tx.one(FORMER_ORIGIN)
            assert now is not None and former is not None
            origin, reached = now["origin"], now["reached"]
            signs = ""
            if origin is not None and origin != former["origin"]:
                await tx.run(NOTE_ORIGIN, origin=origin)
                if former["origin"] is not None:
                    signs = (
                        f"its server, or that one's history, is another: {former['origin']} became {origin}"
                    )
            elif reached < self._reached:
                signs = f"its server has gone back from position {self._reached} to {reached}"
            if signs:
                await tx.run(ALL_BEHIND)
            return signs, reached

        signs, self._reached = await self._ledger.transact(work)
        return signs

    async def known(self) -> Mapping[str, Known]:
        return {
            name: Known(number, marked_ms, bool(is_behind))
            for name, number, marked_ms, is_behind in await self._ledger.query(KNOWN)
        }

    async def raise_number(self, backend: str, number: int) -> bool:
        async def work(tx: ITransaction) -> bool:
            await tx.run(KNOW, backend=backend)
            return bool(await tx.run(RAISE, backend=backend, number=number))

        return await self._ledger.transact(work)

    async def marked(self, backend: str, number: int, began_ms: int) -> None:
        await self._run(MARKED, backend=backend, number=number, began_ms=began_ms)

    async def declare_behind(self, backends: Collection[str]) -> None:
        async def work(tx: ITransaction) -> None:
            for backend in sorted(backends):
                await tx.run(KNOW, backend=backend)
                await tx.run(BEHIND, backend=backend)

        await self._ledger.transact(work)

    async def set_number(self, backend: str, number: int, *, caught_up: bool) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(KNOW, backend=backend)
            await tx.run(SET, backend=backend, number=number)
            if caught_up:
                await tx.run(CAUGHT_UP, backend=backend)

        await self._ledger.transact(work)

    def now_ms(self) -> int:
        return self._ledger.now_ms()

    async def _run(self, statement: str, **parameters: object) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(statement, **parameters)

        await self._ledger.transact(work)
