"""Ledgers in databases of a PostgreSQL server that all tests share."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from s3orchestrator.store.dialing import Patience, Server
from s3orchestrator.store.pool import Limits
from s3orchestrator.store.postgres import PostgresDatabase
from tests.servers import postgres

FEW = Limits(at_least=1, at_most=8)


def server_of(database: str) -> Server:
    """Where a database of the tests' server is."""
    server = postgres()
    return Server(server.host, server.port, database, server.user, "", "disable")


def ledger(
    clock: IReactorTime | None = None,
    locale: str = "c",
    *,
    database: str | None = None,
    limits: Limits = FEW,
    patience: Patience | None = None,
    reactor: Any = None,
) -> PostgresDatabase:
    """Return a ledger to be opened: in a fresh database, unless one is named."""
    if reactor is None:
        from twisted.internet import reactor

    return PostgresDatabase(
        server_of(database or postgres().database(locale)),
        reactor,
        limits=limits,
        patience=patience or Patience(),
        clock=clock,
    )
