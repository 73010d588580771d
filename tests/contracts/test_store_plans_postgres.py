"""No statement of a service or a request reads a whole table, on PostgreSQL either."""

from __future__ import annotations

import re
from typing import Any

from s3orchestrator.store.sql import POSTGRES, pyformat
from tests.contracts.store_postgres import PostgresCase
from tests.contracts.test_store_plans import BIG, MAY_SORT, ROLES, statements

# Each only where there is no other way.
UNWANTED = ("enable_seqscan", "enable_bitmapscan", "enable_sort")


class PlansTests(PostgresCase):
    async def setUp(self) -> None:
        await super().setUp()
        await (await self.open()).close()
        connection = self.server.connect(self.database)
        self.addCleanup(connection.close)
        self.cursor = connection.cursor()
        for setting in UNWANTED:
            self.cursor.execute(f"SET {setting} = off")
        self.cursor.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        self.partial = {name for (name,) in self.cursor.fetchall()}

    def plan(self, statement: str) -> list[dict[str, Any]]:
        """The steps of a plan, the outermost first."""
        statement = pyformat(statement)
        parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement), "1")
        self.cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        steps = [self.cursor.fetchone()[0][0]["Plan"]]
        for step in steps:
            steps += step.get("Plans", [])
        return steps

    def scanned(self, plan: list[dict[str, Any]]) -> list[str]:
        """What reads all of a big table; all of a partial index is what it was made for."""
        return [
            f"{step['Node Type']} of {step['Relation Name']}"
            for step in plan
            if step.get("Relation Name") in BIG
            and step["Node Type"] != "ModifyTable"
            and "Index Cond" not in step
            and step.get("Index Name") not in self.partial
        ]

    def test_no_scan(self) -> None:
        """
        Every statement finds its rows by an index, and takes them in the order it gives them.
        """
        seen = 0
        for module in ROLES:
            for name, statement in statements(module, POSTGRES):
                seen += 1
                plan = self.plan(statement)
                sorts = any(step["Node Type"] == "Sort" for step in plan)
                self.assertEqual(self.scanned(plan), [], f"{name}: {plan}")
                self.assertFalse(sorts and name not in MAY_SORT, f"{name}: {plan}")
        self.assertGreater(seen, 70)

    def test_would_notice(self) -> None:
        """
        The test sees a scan where there is one.
        """
        for statement in ("SELECT 1 FROM blobs WHERE size = :size", "SELECT backend FROM blobs"):
            self.assertEqual(len(self.scanned(self.plan(statement))), 1)
