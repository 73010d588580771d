"""A ledger carried from SQLite to PostgreSQL and back is the same ledger."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.usage import Counters
from s3orchestrator.store.carrying import AT_ONCE, TABLES, carry
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.store.usage import UsageLedger
from tests.contracts.store_kit import Kit
from tests.contracts.store_postgres import ledger


class ThereAndBackTests(TestCase):
    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.first = self.kit(SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open())
        self.second = self.kit(await ledger(self.clock, "icu").open())
        self.third = self.kit(SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open())

    def kit(self, opened: ILedger) -> Kit:
        self.addCleanup(lambda: start(opened.close()))
        return Kit(opened, self.clock)

    async def fill(self) -> None:
        """Something in every table, in more rows than one statement takes; some names sort strangely."""
        kit = self.first
        bucket = await kit.buckets.adopt("photos")
        await kit.blobs.set_limits({"a": 1 << 40, "u": None})
        await kit.limit_bucket(bucket, 1 << 40)
        for number in range(AT_ONCE):
            await kit.put(bucket, f"k{number}")
        for name in ("Ä", "a b", "A", "a-b", "ß%s:x", "a/b", "\U0001f600"):
            await kit.put(bucket, name)
        await kit.versions.remove(bucket, "k3")
        await kit.reserve(bucket, "unfinished")
        upload = await kit.upload(bucket, "upload")
        await kit.part(upload, 1)
        await kit.execute(
            "INSERT INTO outbox (event, endpoint, payload, created_ms, due_ms) VALUES ('e', 'p', '%', 1, 2)"
        )
        used = {(name, f"20{year}-12"): Counters(1, 2, 3) for name in ("a", "A b", "ß") for year in (25, 26)}
        await UsageLedger(kit.ledger).record(used)
        await kit.execute("UPDATE blobs SET wrapped_key = :key WHERE id = 1", key=b"\x00\xff%")

    async def test_there_and_back(self) -> None:
        """Every row and every value; ids go on where they were; fsck is content on the way."""
        await self.fill()
        for source, target in ((self.first, self.second), (self.second, self.third)):
            await carry(source.ledger, target.ledger, lambda table, rows: None)
            self.assertEqual(await target.findings(), [])
        for table in TABLES:
            statement = f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}"
            sent, arrived = [await kit.ledger.query(statement) for kit in (self.first, self.third)]
            for one, other in zip(sent, arrived, strict=True):
                for column in set(one.keys()) - table.dropped:
                    self.assertEqual(one[column], other[column], f"{table.name}.{column}")
        bucket = await self.second.buckets.adopt("photos")
        blobs: list[Any] = [
            await kit.reserve(bucket, "new", 1) for kit in (self.first, self.second, self.third)
        ]
        self.assertEqual(len({blob.id for blob in blobs}), 1)
