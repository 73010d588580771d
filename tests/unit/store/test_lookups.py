"""Tests for what the requests of one turn look up: done together, and nobody's failure is another's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.store.lookups import LookUps

ONE = "SELECT amount FROM amounts WHERE name = :name"


class LookUpsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.executed: list[str] = []
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE amounts (name text, amount integer)")
        self.connection.execute("INSERT INTO amounts VALUES ('a', 1), ('b', 2)")
        self.connection.set_trace_callback(self.executed.append)
        self.turns: list[Callable[[], None]] = []
        self.reader: Callable[[], sqlite3.Cursor] = self.connection.cursor
        self.look_ups = LookUps(lambda: self.reader(), self.turns.append)

    def ask(self, name: Any, statement: str = ONE) -> Deferred[Any]:
        return self.look_ups.ask(statement, {"name": name})

    def end_turn(self) -> None:
        (turn,) = self.turns
        self.turns.clear()
        turn()

    def test_together(self) -> None:
        """
        One transaction is for all that were asked in a turn, and nobody goes on before it is over.
        """
        at: list[int] = []
        asked = [self.ask(name) for name in ("a", "b", "c")]
        for answer in asked:
            answer.addCallback(lambda rows: at.append(len(self.executed)) or rows)
        self.assertEqual(self.executed, [])
        self.end_turn()
        self.assertEqual([self.successResultOf(answer) for answer in asked], [[(1,)], [(2,)], []])
        self.assertEqual((self.executed[0], self.executed[-1]), ("BEGIN", "COMMIT"))
        self.assertEqual(at, [5, 5, 5])

    def test_alone(self) -> None:
        """
        A single one needs no transaction; whoever asks as it goes on has a turn of its own.
        """
        more: list[Deferred[Any]] = []
        self.ask("a").addCallback(lambda rows: more.append(self.ask("b")))
        self.end_turn()
        self.assertNoResult(more[0])
        self.end_turn()
        self.assertEqual(self.successResultOf(more[0]), [(2,)])
        self.assertEqual(len(self.executed), 2)

    def test_own_failure(self) -> None:
        """
        What SQLite does not take or does not know fails whoever asked for it, and nobody else.
        """
        before, half, unknown, after = (
            self.ask("a"),
            self.ask("\ud800"),
            self.ask("a", "SELECT nothing FROM amounts WHERE name = :name"),
            self.ask("b"),
        )
        self.end_turn()
        self.assertEqual([self.successResultOf(each) for each in (before, after)], [[(1,)], [(2,)]])
        self.failureResultOf(half, UnicodeEncodeError)
        self.failureResultOf(unknown, StoreUnavailable)
        self.assertFalse(self.connection.in_transaction)

    def test_leaving(self) -> None:
        """
        Whoever leaves hears so at once, and the others hear what they asked for.
        """
        leaves, stays = self.ask("a"), self.ask("b")
        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        self.end_turn()
        self.assertEqual(self.successResultOf(stays), [(2,)])

    def test_closed_meanwhile(self) -> None:
        """
        Where there is no ledger any more each is told, by an exception of its own.
        """

        def closed() -> sqlite3.Cursor:
            raise StoreUnavailable("the ledger is closed or away")

        asked = [self.ask("a"), self.ask("b")]
        self.reader = closed
        self.end_turn()
        told = [self.failureResultOf(answer, StoreUnavailable).value for answer in asked]
        self.assertEqual([str(each) for each in told], ["the ledger is closed or away"] * 2)
        self.assertIsNot(told[0], told[1])
