"""
What this process is doing in the ledger, and what it no longer knows it was doing.

Pending blobs and claims name their owner and the operation. When a caller has left, or a
COMMIT got no answer, nobody holds the result of an operation that may have happened; such
operations are noted here and handed back as soon as the database answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from contextvars import ContextVar
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import Factory, define, field, frozen
from twisted.internet.defer import CancelledError
from zope.interface import Attribute, Interface

from s3orchestrator.errors import TransactionUnclear
from s3orchestrator.interfaces import IDatabase, ILocks, ITransaction
from s3orchestrator.store.turns import Turns

if TYPE_CHECKING:
    from s3orchestrator.domain.records import Blob, Bucket, Committed, Removed
    from s3orchestrator.store.committing import Commit
    from s3orchestrator.store.dooming import Claim
    from s3orchestrator.store.reserving import Offer, Wanted

T = TypeVar("T")


NOBODY = 0  # no owner has this id


class Left(Enum):
    """What an operation may have left behind without anybody knowing."""

    RESERVATION = "pending blobs that no byte was sent for"
    CLAIM = "blobs claimed by nobody who knows"
    COMMIT = "a pending blob whose bytes are on its backend"


@frozen
class LooseEnd:
    """Something to tie up; `number` is the operation's, or of a lost commit the blob's id."""

    left: Left
    number: int


# Where somebody does this for another process, which may be gone before it hears: what each operation
# that succeeded would have left behind then.
UNHEARD: ContextVar[list[LooseEnd] | None] = ContextVar("unheard", default=None)


@define(eq=False)
class UnderWay:
    """What this process has asked of the database and not heard the end of, whoever has left meanwhile."""

    latest: int = field(init=False, default=0)
    _open: dict[int, None] = field(init=False, factory=dict)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def earliest(self) -> int:
        """The number of what has been under way for longest, or what would be the next."""
        return next(iter(self._open), self.latest + 1)

    def begin(self) -> int:
        """Return the number of something that begins now."""
        self.latest += 1
        self._open[self.latest] = None
        return self.latest

    def end(self, number: int) -> None:
        """Note that it has ended."""
        del self._open[number]


@define(eq=False)
class Looks:
    """
    Which loose ends were looked at when. There may be several looks at a time.

    What a caller asked for that has left may not have begun yet. And a COMMIT that got no answer may still
    be under way, and nobody sees what it does before its end.
    """

    _noticed: dict[LooseEnd, int] = field(init=False, factory=dict)
    _first: dict[LooseEnd, int] = field(init=False, factory=dict)

    def over(self, ends: Iterable[LooseEnd], under_way: UnderWay) -> list[LooseEnd]:
        """Return those of which this process has nothing under way any more, before a look."""
        latest, earliest = under_way.latest, under_way.earliest
        return [end for end in ends if self._noticed.setdefault(end, latest) < earliest]

    def settled(self, ends: Iterable[LooseEnd], latest: int, earliest: int) -> set[LooseEnd]:
        """
        Return those that need not be looked at again, after a look; times are numbers of transactions.

        :param latest: the number of the look's own transaction.
        :param earliest: that of the earliest one that had not ended when the look began.
        """
        # Another look may have settled some meanwhile.
        left = [end for end in ends if end in self._noticed]
        settled = {end for end in left if self._first.setdefault(end, latest) <= earliest}
        for end in settled:
            del self._first[end], self._noticed[end]
        return settled


class IShortcuts(Interface):
    """
    Transactions that a database does in fewer steps, where things are as they are nearly always.

    Each returns None, having changed nothing, where they are not: then it is done as on any database. A
    caller that leaves changes nothing. `tx` is the transaction it is all of, or None before there is one: a
    database knows one of the two ways, and returns None to the other.
    """

    async def reserve(tx: ITransaction | None, wanted: Wanted, offer: Offer, operation: int) -> Blob | None:
        """Insert a pending blob where it is offered."""

    async def commit(tx: ITransaction | None, what: Commit, claim: Claim) -> Committed | None:
        """See `committing.commit`."""

    async def remove(tx: ITransaction | None, bucket: Bucket, key: str, claim: Claim) -> Removed | None:
        """Remove the latest version; see `removing.remove`."""


Short = Callable[[ITransaction | None], Coroutine[Any, Any, T | None]]


@frozen
class Shortened(Generic[T]):
    """What is to be done in a transaction, and the shortcut to be tried first, in it or before."""

    work: Callable[[ITransaction], Awaitable[T]]
    short: Short[T]

    async def __call__(self, tx: ITransaction) -> T:
        """Do it in a transaction."""
        done = await self.short(tx)
        return await self.work(tx) if done is None else done


@define(eq=False)
class Operations:
    """
    Numbers the operations of this process, and remembers the loose ends.

    `owner` is what it is called just now, NOBODY before it has been registered. It gets
    another name when its lease has lapsed, for what is in the old one may be somebody else's
    by then; the numbers go on. `is_shared`: other processes may be working on the same ledger, now or
    later; `is_alone`: none is yet, and what others have left there is left behind. `shortcuts` are there
    where they pay.
    """

    owner: int
    turns: Turns | None = None  # where a transaction that waits for a key's lock is dear
    loose_ends: list[LooseEnd] = Factory(list)
    is_shared: bool = field(default=False, kw_only=True)
    is_alone: bool = field(default=False, kw_only=True)
    shortcuts: IShortcuts | None = field(default=None, kw_only=True)
    since_ms: int = field(init=False, default=0)  # when it took its name, if it had another before
    under_way: UnderWay = field(factory=UnderWay, kw_only=True)  # where it goes on without its caller
    looks: Looks = field(init=False, factory=Looks)
    _former: list[int] = field(init=False, factory=list)
    _numbers: Iterator[int] = field(init=False, factory=lambda: count(1))

    @property
    def owners(self) -> tuple[int, ...]:
        """Every name that what this process began may be under, the latest first."""
        return tuple([owner for owner in (self.owner, *reversed(self._former)) if owner != NOBODY])

    def become(self, owner: int, now_ms: int) -> None:
        """Go on under another name."""
        self._former.append(self.owner)
        self.owner, self.since_ms = owner, now_ms

    def begin(self) -> int:
        """Return the number of a new operation."""
        return next(self._numbers)


class ILedger(IDatabase):
    """A database that holds a ledger."""

    ledger_id: str = Attribute("what tells this ledger from all others")
    operations: Operations = Attribute("those of this process")
    locks: ILocks = Attribute("those of its services")
    clock_skew_ms: int = Attribute("how far the database's clock is ahead of this machine's")

    async def measure_time() -> None:
        """Compare this machine's clock with the database's; `now_ms` and `clock_skew_ms` follow."""

    def on_notice(hear: Callable[[str], None]) -> None:
        """Call `hear` with what any instance says; with "" after something may have been missed."""


async def attempt(
    ledger: ILedger,
    work: Callable[[ITransaction], Awaitable[T]],
    *left: tuple[Left, int],
    key: Hashable = None,
    short: Short[T] | None = None,
) -> T:
    """
    Run `work` in a transaction; if its result does not reach the caller, note what may be left:
    its kind, and the number as in `LooseEnd`. `key` is what others may want to lock, too; `short` is a
    shortcut to be tried first.

    A caller that leaves changes nothing: what it asked for may already be happening.
    """
    turns = ledger.operations.turns
    if short is not None:
        work = Shortened(work, short)
    try:
        if turns is None or key is None:
            result = await ledger.transact(work)
        else:
            async with turns.of(key):
                result = await ledger.transact(work)
    except (CancelledError, TransactionUnclear):
        ledger.operations.loose_ends.extend(LooseEnd(kind, number) for kind, number in left)
        raise
    unheard = UNHEARD.get()
    if unheard is not None:
        unheard.extend(LooseEnd(kind, number) for kind, number in left)
    return result
