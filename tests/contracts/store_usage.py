"""The contract of `IUsageLedger`: what was used, month by month, and what there is."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from s3orchestrator.domain.records import Backlog, Inventory
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces import IUsageLedger
from s3orchestrator.store.usage import UsageLedger
from tests.contracts.store_kit import LedgerCase, built


class MonthlyContract(LedgerCase):
    """Recording usage."""

    async def setUp(self) -> None:
        await super().setUp()
        self.usage = built(self.kit.ledger, UsageLedger, "usage")(self.kit.ledger)

    async def test_interface(self) -> None:
        """
        It keeps to its interface.
        """
        verifyObject(IUsageLedger, self.usage)

    async def test_nothing(self) -> None:
        """
        A month of which nothing is recorded has no totals; recording nothing changes nothing.
        """
        await self.usage.record({})
        self.assertEqual(await self.usage.totals("2026-01"), {})

    async def test_adds(self) -> None:
        """
        What is recorded is added to what was, each backend and month for itself.
        """
        await self.usage.record({("a", "2026-01"): Counters(1, 2, 3), ("b", "2026-01"): Counters(4)})
        await self.usage.record({("a", "2026-01"): Counters(10, 20, 30), ("a", "2026-02"): Counters(5)})
        self.assertEqual(await self.usage.totals("2026-01"), {"a": Counters(11, 22, 33), "b": Counters(4)})
        self.assertEqual(await self.usage.totals("2026-02"), {"a": Counters(5)})

    async def test_large(self) -> None:
        """
        Petabytes are numbers, too.
        """
        much = Counters(10**12, 10**16, 10**16)
        await self.usage.record({("a", "2026-01"): much})
        await self.usage.record({("a", "2026-01"): much})
        self.assertEqual(await self.usage.totals("2026-01"), {"a": much + much})

    async def test_inventory(self) -> None:
        """
        Live objects count, and uploads in progress; not what is reserved, doomed or aborted.
        """
        await self.kit.put(self.bucket, "one")
        await self.kit.put(self.bucket, "one")
        await self.kit.put(self.bucket, "two")
        await self.kit.put(self.bucket, "three", 10, "b")
        await self.kit.reserve(self.bucket, "four")
        await self.kit.upload(self.bucket, "five", "b")
        aborted = await self.kit.upload(self.bucket, "six", "b")
        await self.kit.uploads.abort(self.bucket, "six", aborted.id)
        inventory = await self.usage.inventory()
        self.assertEqual(inventory["a"], Inventory(2, 0))
        self.assertEqual(inventory["b"], Inventory(1, 1))

    async def test_backlog(self) -> None:
        """
        What is being written, doomed and dead is counted, up to a number; parts of uploads are not.
        """
        self.assertEqual(await self.usage.backlog(10), Backlog())
        await self.kit.put(self.bucket, "live")
        await self.kit.upload(self.bucket, "upload", "b")
        for number in range(4):
            blob = await self.kit.reserve(self.bucket, f"{number}")
            if number:
                await self.kit.blobs.abandon(blob, unclear=False)
        await self.kit.execute("UPDATE blobs SET state = 'dead', owner = NULL WHERE id = :id", id=blob.id)
        self.assertEqual(await self.usage.backlog(10), Backlog(1, 2, 1))
        self.assertEqual(await self.usage.backlog(1), Backlog(1, 1, 1))
