"""How busy the database is: looked at when somebody asks for the metrics; no transaction pays for it."""

from __future__ import annotations

from collections.abc import Callable, Sized

from prometheus_client import Gauge

CONNECTIONS = Gauge(
    "s3o_database_connections", "Connections to PostgreSQL, busy or idle; no series with SQLite.", ["state"]
)
WAITING = Gauge(
    "s3o_database_waiting",
    "Transactions that wait for a connection to PostgreSQL, or for SQLite to write those before them.",
)


def show_pool(busy: Sized, idle: Callable[[], Sized], waiting: Callable[[], Sized]) -> None:
    """Show a pool of connections until `show_nothing`."""
    CONNECTIONS.labels("busy").set_function(lambda: len(busy))
    CONNECTIONS.labels("idle").set_function(lambda: len(idle()))
    WAITING.set_function(lambda: len(waiting()))


def show_queue(size: Callable[[], float]) -> None:
    """Show a queue before one writer until `show_nothing`."""
    WAITING.set_function(size)


def show_nothing() -> None:
    """The database is closed."""
    CONNECTIONS.clear()
    WAITING.set_function(lambda: 0)
