"""What was used of the backends, month by month, and how much they hold."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from zope.interface import implementer

from s3orchestrator.domain.records import Backlog, Inventory
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces import IDatabase, ITransaction, IUsageLedger

RECORD = """
    INSERT INTO backend_usage (backend_name, period, api_requests, egress_bytes, ingress_bytes, updated_ms)
    VALUES (:backend, :period, :api_requests, :egress_bytes, :ingress_bytes, :now_ms)
    ON CONFLICT (period, backend_name) DO UPDATE
       SET api_requests = backend_usage.api_requests + excluded.api_requests,
           egress_bytes = backend_usage.egress_bytes + excluded.egress_bytes,
           ingress_bytes = backend_usage.ingress_bytes + excluded.ingress_bytes,
           updated_ms = excluded.updated_ms
"""

TOTALS = """
    SELECT backend_name, api_requests, egress_bytes, ingress_bytes
      FROM backend_usage WHERE period = :period
"""

# One row per backend and bucket, and one per open upload: never one per object.
OBJECTS = "SELECT backend, sum(objects) FROM byte_counts GROUP BY backend"
# There are fewer open uploads than blobs: they come first (SQLite keeps to the order of a CROSS JOIN).
UPLOADS = """
    SELECT o.backend, count(*)
      FROM uploads u CROSS JOIN blobs o
     WHERE u.state IN ('open', 'completing') AND o.id = u.blob_id
     GROUP BY o.backend
"""

# Each is a part of an index; of millions that wait after a bucket was emptied, not all are read.
BACKLOG = {
    "pending": """
        SELECT count(*) FROM (
            SELECT 1 FROM blobs WHERE state = 'pending' AND upload_id IS NULL LIMIT :most
        ) counted
    """,
    "doomed": "SELECT count(*) FROM (SELECT 1 FROM blobs WHERE state = 'doomed' LIMIT :most) counted",
    "dead": "SELECT count(*) FROM (SELECT 1 FROM blobs WHERE state = 'dead' LIMIT :most) counted",
}


@implementer(IUsageLedger)
@define(eq=False)
class UsageLedger:
    """Monthly usage in a ledger."""

    _database: IDatabase

    async def record(self, used: Mapping[tuple[str, str], Counters]) -> None:
        """See `IUsageLedger`."""

        async def work(tx: ITransaction) -> None:
            # In the order of names: two instances recording at once must not wait for each other.
            for (backend, period), counters in sorted(used.items(), key=lambda entry: entry[0]):
                await tx.run(
                    RECORD,
                    backend=backend,
                    period=period,
                    api_requests=counters.api_requests,
                    egress_bytes=counters.egress_bytes,
                    ingress_bytes=counters.ingress_bytes,
                    now_ms=self._database.now_ms(),
                )

        await self._database.transact(work)

    async def totals(self, period: str) -> Mapping[str, Counters]:
        """See `IUsageLedger`."""
        rows = await self._database.query(TOTALS, period=period)
        return {backend: Counters(*map(int, counted)) for backend, *counted in rows}

    async def inventory(self) -> Mapping[str, Inventory]:
        """See `IUsageLedger`."""
        objects = {backend: int(number) for backend, number in await self._database.query(OBJECTS)}
        uploads = {backend: int(number) for backend, number in await self._database.query(UPLOADS)}
        return {
            backend: Inventory(objects.get(backend, 0), uploads.get(backend, 0))
            for backend in objects.keys() | uploads.keys()
        }

    async def backlog(self, most: int) -> Backlog:
        """See `IUsageLedger`."""
        counted = {}
        for state, statement in BACKLOG.items():
            ((number,),) = await self._database.query(statement, most=most)
            counted[state] = int(number)
        return Backlog(**counted)
