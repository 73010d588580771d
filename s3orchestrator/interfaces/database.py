"""The database under the ledger: transactions, locks, and the lease of a process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from zope.interface import Attribute, Interface

T = TypeVar("T")


Row = Any  # a row of the driver: read by column name, row["size"]


class ITransaction(Interface):
    """One transaction in progress; statements use `:name` parameters."""

    async def run(statement: str, **parameters: object) -> int:
        """Execute; returns the number of rows changed."""

    async def soon(statement: str, **parameters: object) -> None:
        """Execute before what comes next, which may be COMMIT: nobody waits to hear what it changed."""

    async def add(statement: str, row: dict[str, object], amounts: Mapping[str, int]) -> None:
        """
        Execute as `soon` what adds `amounts` to the row that `row` names, or inserts it.

        Amounts for one row may be added up first, also with those of other transactions.
        """

    async def insert(statement: str, **parameters: object) -> int:
        """Execute an INSERT of one row; returns the `id` it was given."""

    async def one(statement: str, **parameters: object) -> Row | None:
        """Execute; returns the first row, or None."""

    async def all(statement: str, **parameters: object) -> list[Row]:
        """Execute; returns all rows."""


class IDatabase(Interface):
    """
    Where the ledger lives.

    `transact` runs a coroutine function inside one transaction: all or nothing, durable when
    it returns. What the coroutine raises rolls back and is raised here. It must await
    nothing but its transaction, and may be run more than once, each time from the start.
    """

    async def transact(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        :raises StoreUnavailable: the database cannot be asked.
        :raises TransactionUnclear: COMMIT got no answer.
        """

    async def query(statement: str, **parameters: object) -> list[Row]:
        """One read, without a transaction."""

    async def at_length(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """As `transact`, however long it takes: for an operator's command, and not for a service."""

    async def snapshot(work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """
        Run a coroutine function that only reads, all of it as of one moment, however long it takes.

        Nobody waits for it. As in `transact` it must await nothing but its transaction, and it may
        run in another thread.

        :raises StoreUnavailable: the database cannot be asked, or has broken it off.
        """

    def now_ms() -> int:
        """Ledger time."""

    async def close() -> None:
        """Finish what is queued, then let go."""


class ILocks(Interface):
    """
    Locks by name, among all processes that share the ledger.

    They keep work from being done twice; what must not go wrong is guarded by compare-and-set,
    since a lock is lost with the connection that holds it.
    """

    def hold(name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a lock while the context lasts, without waiting for it; gives False if somebody else does."""


class ILease(Interface):
    """
    The right of this process to act on what it holds in the ledger, renewed again and again.

    Where there can be only one process it never ends.
    """

    interval: float = Attribute("seconds between renewals")
    clock_is_trusted: bool = Attribute("whether we may judge by our clock what is due, or lapsed")
    clock_skew_ms: int = Attribute("how far the database's clock is ahead of ours")

    def is_held() -> bool:
        """Tell whether what we hold is still ours for sure."""

    def may_send() -> bool:
        """Tell whether a change may be sent to a backend now: there is time left to hear its answer."""

    async def renew() -> None:
        """
        Take the lease, or take it for longer; one that had lapsed is taken under another name.

        :raises LedgerTooNew: this release may not write any more.
        """

    async def give_back() -> None:
        """Make everything we hold nobody's, and end: the last that is done before the ledger is closed."""

    async def lowest_level() -> int:
        """The schema level that all live instances know. States newer than that are not to be written."""
