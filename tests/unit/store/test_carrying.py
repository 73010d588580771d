"""A ledger carried into another one: the same rows, the same ids to come, and nothing by halves."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.usage import Counters
from s3orchestrator.errors import LedgerIncomplete, LedgerNotEmpty, LedgersDiffer
from s3orchestrator.store import carrying
from s3orchestrator.store.carrying import AT_ONCE, NOT_CARRIED, TABLES, carry
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.store.usage import UsageLedger
from tests.contracts.store_kit import Kit


def quietly(table: str, rows: int) -> None:
    """Nobody watches."""


class CarryingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.source, self.target = self.kit(), self.kit()

    def kit(self, path: str = IN_MEMORY) -> Kit:
        ledger = SqliteDatabase(path, self.clock, threaded=False).open()
        self.addCleanup(lambda: self.now(ledger.close()))
        return Kit(ledger, self.clock)

    def now(self, work: Any) -> Any:
        return self.successResultOf(start(work))

    def fill(self) -> None:
        """Something in every table, and more rows than one statement takes."""
        kit = self.source
        bucket = self.now(kit.buckets.adopt("photos"))
        self.now(kit.blobs.set_limits({"a": 1 << 40, "u": None}))
        self.now(kit.limit_bucket(bucket, 1 << 40))
        for number in range(AT_ONCE + 5):
            self.now(kit.put(bucket, f"k{number}"))
        self.now(kit.versions.remove(bucket, "k3"))
        self.now(kit.reserve(bucket, "unfinished"))
        upload = self.now(kit.upload(bucket, "upload"))
        self.now(kit.part(upload, 1))
        self.now(
            kit.execute(
                "INSERT INTO outbox (event, endpoint, payload, created_ms, due_ms)"
                " VALUES ('e', 'p', 'l', 1, 2)"
            )
        )
        self.now(UsageLedger(kit.ledger).record({("a", "2026-01"): Counters(1, 2, 3)}))

    def test_everything_arrives(self) -> None:
        """Row by row the same; what was counted adds up, and fsck is content."""
        self.fill()
        told: list[tuple[str, int]] = []
        carried = self.now(carry(self.source.ledger, self.target.ledger, lambda *what: told.append(what)))
        rows = {table.table: table.rows for table in carried}
        self.assertTrue(all(rows.values()), rows)
        for table in TABLES:
            dropped = ", ".join(f"NULL AS {column}" for column in sorted(table.dropped)) or "1"
            kept = f"SELECT *, {dropped} FROM {table.name} ORDER BY {', '.join(table.key)}"
            sent, arrived = (self.now(kit.ledger.query(kept)) for kit in (self.source, self.target))
            for one, other in zip(sent, arrived, strict=True):
                for column in set(one.keys()) - table.dropped:
                    self.assertEqual(one[column], other[column], f"{table.name}.{column}")
        self.assertEqual(self.now(self.target.findings()), [])
        self.assertEqual(told[-1], ("outbox", 1))

    def test_no_id_is_given_again(self) -> None:
        """Also not that of a blob whose row has gone: stamps on backends name it."""
        bucket = self.now(self.source.buckets.adopt("photos"))
        blob = self.now(self.source.reserve(bucket))
        self.now(self.source.execute("DELETE FROM blobs WHERE id = :id", id=blob.id))
        self.now(self.source.execute("DELETE FROM byte_counts"))
        self.now(self.source.execute("DELETE FROM backend_counts"))
        self.now(carry(self.source.ledger, self.target.ledger, quietly))
        self.assertGreater(self.now(self.target.reserve(bucket, "other")).id, blob.id)

    def test_same_name(self) -> None:
        """It is the same ledger: stamps on the backends stay ours."""
        self.now(carry(self.source.ledger, self.target.ledger, quietly))
        named = [
            self.now(kit.rows("SELECT id, created_ms FROM ledger")) for kit in (self.source, self.target)
        ]
        self.assertEqual(named[0], named[1])

    def test_every_table_is_thought_of(self) -> None:
        """A table that a migration adds is carried, or there is a reason why not."""
        rows = self.now(
            self.source.rows(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        )
        known = {table.name for table in TABLES} | NOT_CARRIED
        self.assertEqual({name for (name,) in rows}, known)

    def test_every_flag_is_known(self) -> None:
        """SQLite keeps them as numbers, PostgreSQL does not take numbers for them."""
        for table in TABLES:
            rows = self.now(
                self.source.rows("SELECT name, type FROM pragma_table_info(:name)", name=table.name)
            )
            self.assertEqual({name for name, kind in rows if kind == "boolean"}, table.flags, table.name)

    def test_only_into_an_empty_one(self) -> None:
        """Somebody's ledger is not written over."""
        self.now(self.target.buckets.adopt("theirs"))
        self.failureResultOf(start(carry(self.source.ledger, self.target.ledger, quietly)), LedgerNotEmpty)
        self.assertEqual(self.now(self.target.rows("SELECT name FROM buckets")), [("theirs",)])

    def test_broken_off(self) -> None:
        """Half a copy is not served from, and says what to do."""
        path = self.mktemp()
        target = self.kit(path)
        self.fill()

        def stop(table: str, rows: int) -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            carry(self.source.ledger, target.ledger, stop).send(None)
        self.now(target.ledger.close())
        with self.assertRaisesRegex(LedgerIncomplete, "copy it again"):
            SqliteDatabase(path, self.clock, threaded=False).open()

    def test_compared(self) -> None:
        """What does not arrive as it was sent is noticed."""
        self.fill()
        true_values = carrying._values

        def lying(table: Any, columns: Any, row: Any) -> list[object]:
            values = true_values(table, columns, row)
            return [
                value + 1 if column == "modified_ms" else value
                for column, value in zip(columns, values, strict=True)
            ]

        original = carrying._insert_many

        async def insert(*arguments: Any) -> None:
            self.patch(carrying, "_values", lying)
            try:
                await original(*arguments)
            finally:
                self.patch(carrying, "_values", true_values)

        self.patch(carrying, "_insert_many", insert)
        self.failureResultOf(start(carry(self.source.ledger, self.target.ledger, quietly)), LedgersDiffer)
