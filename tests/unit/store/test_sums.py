"""Tests for counters of a group: written once, and never seen without what was added to them."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.writer import Writer

ADD = """
    INSERT INTO counters (name, amount) VALUES (:name, :amount)
    ON CONFLICT (name) DO UPDATE SET amount = counters.amount + excluded.amount
"""
ALL = "SELECT name, amount FROM counters ORDER BY name"


class Refused(Exception):
    """What a member says when it has changed its mind."""


def adding(name: str, amount: int, failing: bool = False):
    """A transaction that adds to a counter."""

    async def work(tx: ITransaction) -> int:
        await tx.add(ADD, {"name": name}, {"amount": amount})
        if failing:
            raise Refused
        return amount

    return work


async def seen(tx: ITransaction) -> dict[str, int]:
    """What the counters are."""
    return {row["name"]: row["amount"] for row in await tx.all(ALL)}


class SumsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.executed: list[str] = []
        self.path = self.mktemp()
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE ledger (commits integer)")
            connection.execute("INSERT INTO ledger VALUES (0)")
            connection.execute("CREATE TABLE counters (name text PRIMARY KEY, amount integer)")
        connection.close()
        self.writer = Writer(self.connect)
        self.addCleanup(self.writer.close)

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.set_trace_callback(self.executed.append)
        return connection

    def additions(self) -> int:
        """How many statements added to a counter since this was asked last."""
        made = [sql for sql in self.executed if "INSERT INTO counters" in sql]
        self.executed.clear()
        return len(made)

    def counters(self) -> dict[str, int]:
        return self.writer.commit([seen])[0].get()

    def test_written_once(self) -> None:
        """
        However many members add to a row, it is written once.
        """
        outcomes = self.writer.commit([adding("a", 3), adding("b", 5), adding("a", -1), adding("a", 7)])
        self.assertEqual([outcome.get() for outcome in outcomes], [3, 5, -1, 7])
        self.assertEqual(self.additions(), 2)
        self.assertEqual(self.counters(), {"a": 9, "b": 5})

    def test_seen_by_others(self) -> None:
        """
        A member of the group that looks at the counters sees what those before it have added.
        """
        outcomes = self.writer.commit([adding("a", 3), seen, adding("a", 4), seen])
        self.assertEqual(outcomes[1].get(), {"a": 3})
        self.assertEqual(outcomes[3].get(), {"a": 7})
        self.assertEqual(self.counters(), {"a": 7})

    def test_seen_by_itself(self) -> None:
        """
        So does the one that has added it.
        """

        async def both(tx: ITransaction) -> dict[str, int]:
            await tx.add(ADD, {"name": "a"}, {"amount": 2})
            return await seen(tx)

        self.assertEqual(self.writer.commit([both])[0].get(), {"a": 2})

    def test_failed_member(self) -> None:
        """
        What one adds that fails is not counted; what its neighbours add is.
        """
        for place in range(3):
            with self.subTest(place=place):
                before = self.counters().get("a", 0)
                group = [adding("a", 1), adding("a", 10)]
                group.insert(place, adding("a", 100, failing=True))
                outcomes = self.writer.commit(group)
                self.assertEqual([type(outcome.error) for outcome in outcomes].count(Refused), 1)
                self.assertEqual(self.counters(), {"a": before + 11})

    def test_cannot_be_written(self) -> None:
        """
        When the counters cannot be written nothing has happened, and nobody is told that it has.
        """
        self.writer.commit([adding("a", 1)])

        async def spoiling(tx: ITransaction) -> None:
            await tx.add(ADD.replace("counters", "elsewhere"), {"name": "a"}, {"amount": 1})

        outcomes = self.writer.commit([adding("a", 5), spoiling])
        self.assertEqual([type(outcome.error) for outcome in outcomes], [StoreUnavailable] * 2)
        self.assertEqual(self.counters(), {"a": 1})

    def test_cannot_be_written_for_a_neighbour(self) -> None:
        """
        When they cannot be written for somebody who looks at them, nobody else's additions are lost.
        """

        async def spoiling(tx: ITransaction) -> None:
            await tx.add(ADD.replace("counters", "elsewhere"), {"name": "a"}, {"amount": 1})

        outcomes = self.writer.commit([adding("a", 5), spoiling, seen, adding("a", 2)])
        self.assertEqual(
            [type(outcome.error) for outcome in outcomes],
            [type(None), StoreUnavailable, type(None), type(None)],
        )
        self.assertEqual(outcomes[2].get(), {"a": 5})
        self.assertEqual(self.counters(), {"a": 7})
