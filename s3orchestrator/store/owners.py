"""
Owners: each process is one, for as long as it keeps its lease.

Pending blobs and claims name their owner. While the lease runs nobody else touches them;
once it has lapsed others may, so a process that was asleep or cut off for so long goes on
under another name. How long it may act it tells by a clock that also counts while the
machine is suspended, from before it asked: whatever the database's clock says, it stops first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.errors import LedgerInUse, LedgerTooNew
from s3orchestrator.interfaces import ILease, ITransaction
from s3orchestrator.store.migrate import check_level, level
from s3orchestrator.store.operations import NOBODY, ILedger
from s3orchestrator.store.reaping import TOLERANCE_MS, let_go
from s3orchestrator.telemetry.logging import make_logger

RENEW_EVERY = 60.0  # seconds, or a fifth of a short lease
MARGIN = 30.0  # seconds before its end in which nothing more is sent, or a fifth

REGISTER = """
    INSERT INTO owners (started_ms, lease_until_ms, schema_level)
    VALUES (:now_ms, :until_ms, :schema_level) RETURNING id
"""
RENEW = """
    UPDATE owners SET lease_until_ms = :until_ms, schema_level = :schema_level
     WHERE id = :owner AND (lease_until_ms IS NULL OR lease_until_ms > :now_ms)
"""
END = "DELETE FROM owners WHERE id = :owner"
OTHERS = """
    SELECT count(*), max(lease_until_ms) FROM owners WHERE id <> :owner AND lease_until_ms > :lapsed_ms
"""
LOWEST_LEVEL = """
    SELECT min(schema_level) FROM owners WHERE lease_until_ms IS NULL OR lease_until_ms > :lapsed_ms
"""


async def register(tx: ITransaction, now_ms: int, length: float | None) -> int:
    """Return a new owner, with a lease of `length` seconds; None where there can be no other process."""
    row = await tx.one(REGISTER, now_ms=now_ms, until_ms=_end(now_ms, length), schema_level=level())
    assert row is not None
    return int(row[0])


async def have_alone(ledger: ILedger) -> None:
    """
    See to it that nobody else works on the ledger, for commands that need it to stand still.

    :raises LedgerInUse: another instance has a lease, or died a moment ago.
    """
    now_ms, owner = ledger.now_ms(), ledger.operations.owner
    ((number, until_ms),) = await ledger.query(OTHERS, owner=owner, lapsed_ms=now_ms - TOLERANCE_MS)
    if number:
        seconds = (until_ms + TOLERANCE_MS - now_ms) // 1000 + 1
        raise LedgerInUse(
            f"ledger {ledger.ledger_id} is in use by {number} process(es): stop them;"
            f" where they were killed, wait {seconds} seconds"
        )


@define(eq=False)
class Registration:
    """An owner in the ledger: `operations` of `ledger` are under its name, for `length` seconds at a time."""

    _ledger: ILedger
    length: float | None

    async def renew(self) -> int:
        """
        Keep the name for longer, or take another where others may have what is under it.

        :raises LedgerTooNew: this release may not write any more.
        """
        return await self._ledger.transact(self._renew)

    async def _renew(self, tx: ITransaction) -> int:
        await check_level(tx)
        owner, now_ms = self._ledger.operations.owner, self._ledger.now_ms()
        renewed = await tx.run(
            RENEW, owner=owner, now_ms=now_ms, until_ms=_end(now_ms, self.length), schema_level=level()
        )
        return owner if renewed else await register(tx, now_ms, self.length)

    async def end(self) -> None:
        """Make everything under its names nobody's."""
        await leave(self._ledger)


async def leave(ledger: ILedger) -> None:
    """Make everything that this process holds nobody's, and end its leases."""
    await end(ledger, ledger.operations.owners)


async def end(ledger: ILedger, owners: Sequence[int]) -> None:
    """
    Do the same for another process, by all its names.

    It must be gone: nothing that it has begun goes on, and no connection of its to a backend is open.
    """

    async def work(tx: ITransaction) -> None:
        for owner in owners:
            await let_go(tx, owner)
            await tx.run(END, owner=owner)

    await ledger.transact(work)


def _end(now_ms: int, length: float | None) -> int | None:
    return None if length is None else now_ms + int(length * 1000)


@implementer(ILease)
@define(eq=False)
class Lease:
    """
    The lease of this process; see `ILease`.

    `length` is in seconds, None where there can be no other process. `awake` gives seconds that
    also count while the machine is suspended (CLOCK_BOOTTIME). `lapsed` is called when others may
    have taken over what we held, and `too_new` when a newer release has changed the ledger.
    `registration` is for those who have the ledger changed by another process.
    """

    log = make_logger()
    _ledger: ILedger
    _length: float | None
    _awake: Callable[[], float]
    _lapsed: Callable[[], object] = field(default=lambda: None, kw_only=True)
    _too_new: Callable[[LedgerTooNew], object] = field(default=lambda error: None, kw_only=True)
    _registration: Registration = field(kw_only=True)
    _until: float | None = field(init=False, default=None)

    @_registration.default
    def _by_ourselves(self) -> Registration:
        return Registration(self._ledger, self._length)

    @property
    def interval(self) -> float:
        """Seconds between renewals."""
        return RENEW_EVERY if self._length is None else min(RENEW_EVERY, self._length / 5)

    @property
    def clock_is_trusted(self) -> bool:
        """Tell whether our clock is near enough to the database's to judge the leases of others."""
        return abs(self._ledger.clock_skew_ms) <= TOLERANCE_MS

    @property
    def clock_skew_ms(self) -> int:
        """How far the database's clock is ahead of ours."""
        return self._ledger.clock_skew_ms

    def is_held(self) -> bool:
        """Tell whether what we hold is still ours for sure."""
        return self._until is not None and self._awake() < self._until

    def may_send(self) -> bool:
        """Tell whether a change may be sent to a backend now: there is time left to hear its answer."""
        if self._until is None:
            return False
        margin = 0.0 if self._length is None else min(MARGIN, self._length / 5)
        return self._awake() < self._until - margin

    async def renew(self) -> None:
        """
        Take the lease, or take it for longer.

        :raises LedgerTooNew: this release may not write any more; `too_new` has been told.
        """
        await self._ledger.measure_time()
        asked = self._awake()
        try:
            owner = await self._registration.renew()
        except LedgerTooNew as error:
            self._until = None
            self._too_new(error)
            raise
        self._until = float("inf") if self._length is None else asked + self._length
        former = self._ledger.operations.owner
        if owner != former:
            self._ledger.operations.become(owner, self._ledger.now_ms())
            if former != NOBODY:
                self.log.warn(
                    "the lease had lapsed: owner {former} goes on as {owner}", former=former, owner=owner
                )
                self._lapsed()

    async def give_back(self) -> None:
        """Make everything we hold nobody's, and end: the last that is done before the ledger is closed."""
        self._until = None
        await self._registration.end()

    async def lowest_level(self) -> int:
        """Return the schema level that all live instances know; see `ILease`."""
        rows = await self._ledger.query(LOWEST_LEVEL, lapsed_ms=self._ledger.now_ms() - TOLERANCE_MS)
        return level() if rows[0][0] is None else int(rows[0][0])
