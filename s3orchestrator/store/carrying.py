"""
Carries a whole ledger into an empty one, of the same engine or the other.

Nobody may use either meanwhile. Until the copy has been compared row by row with what it was
made of, the new ledger bears a name that no process accepts: a copy that was broken off cannot
be taken for the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import cache, partial
from hashlib import sha256

from attrs import field, frozen

from s3orchestrator.errors import LedgerNotEmpty, LedgersDiffer
from s3orchestrator.interfaces import IDatabase, ITransaction, Row
from s3orchestrator.store.migrate import INCOMPLETE
from s3orchestrator.store.operations import ILedger

AT_ONCE = 200  # rows in one statement, 30 columns each: SQLite takes 32 766 parameters

_LAST_GIVEN = "$last_id_given"
_GIVE_AFTER = ("$forget_last_id", "$give_ids_after")

IDENTITY = "SELECT id, created_ms FROM ledger"
NAME_IT = "UPDATE ledger SET id = :id, created_ms = :created_ms"


@frozen
class Table:
    """
    A table that is carried: what its rows are ordered by, and which columns are more than they seem.

    `sums` are what an operator sees compared; every column is compared by its value.
    """

    name: str
    key: Sequence[str]
    flags: frozenset[str] = frozenset()
    sums: Sequence[str] = ()
    dropped: frozenset[str] = frozenset()  # what only means something to the processes of the old ledger

    @property
    def counts_ids(self) -> bool:
        """Tell whether the database gives the rows their ids."""
        return self.key == ("id",) and self.name != "uploads"


TABLES = (
    Table("backends", ("name",), frozenset({"is_draining", "is_behind"})),
    Table("backend_guards", ("backend",), sums=("taken", "bytes_limit")),
    Table("bucket_guards", ("bucket_id",), sums=("taken", "bytes_limit")),
    Table(
        "byte_counts",
        ("backend", "bucket_id", "shard"),
        sums=("live", "reserved", "orphan", "objects", "held"),
    ),
    Table("backend_counts", ("backend", "shard"), sums=("live", "reserved", "orphan")),
    Table(
        "backend_usage",
        ("period", "backend_name"),
        sums=("api_requests", "egress_bytes", "ingress_bytes"),
    ),
    Table("buckets", ("id",)),
    Table("versions", ("id",), frozenset({"is_latest", "is_delete_marker", "legal_hold"}), sums=("size",)),
    Table(
        "blobs",
        ("id",),
        frozenset({"is_plain", "was_live", "unclear", "suspect", "multipart"}),
        sums=("size",),
        dropped=frozenset({"owner", "operation"}),
    ),
    Table("uploads", ("id",)),
    Table("parts", ("upload_id", "number", "attempt"), frozenset({"counts"}), sums=("size",)),
    Table("outbox", ("id",), dropped=frozenset({"owner", "operation"})),
)
# Each ledger has its own of these; the one of the ledger's name is written last.
NOT_CARRIED = frozenset({"ledger", "owners", "schema_versions"})


@frozen
class Carried:
    """What became of one table: how many rows, and what their columns add up to."""

    table: str
    rows: int
    sums: dict[str, int] = field(factory=dict)


Progress = Callable[[str, int], None]


async def carry(
    source: ILedger, target: ILedger, progress: Progress = lambda table, rows: None
) -> list[Carried]:
    """
    Copy all of `source` into `target`, compare both, and only then give `target` the ledger's name.

    `progress` is told the table and how many of its rows there are by now.

    :raises LedgerNotEmpty: `target` is somebody's already; nothing was changed.
    :raises LedgersDiffer: what arrived is not what was sent; `target` stays without a name.
    """
    await _check_empty(target)
    await _name(target, INCOMPLETE, 0)
    for table in TABLES:
        await _carry_table(source, target, table, progress)
    carried = [await _compare(source, target, table) for table in TABLES]
    (known,) = await source.query(IDENTITY)
    await _name(target, known["id"], known["created_ms"])
    return carried


async def _check_empty(target: ILedger) -> None:
    for table in TABLES:
        if await target.query(f"SELECT 1 FROM {table.name} LIMIT 1"):
            raise LedgerNotEmpty(
                f"the target has rows in {table.name} already: only an empty ledger is written"
            )


async def _name(target: ILedger, ledger_id: str, created_ms: int) -> None:
    async def work(tx: ITransaction) -> None:
        await tx.run(NAME_IT, id=ledger_id, created_ms=created_ms)

    await target.transact(work)


async def _carry_table(source: IDatabase, target: IDatabase, table: Table, progress: Progress) -> None:
    done = 0
    async for rows in _pages(source, table):
        await target.transact(partial(_insert, table, rows))
        done += len(rows)
        progress(table.name, done)
    if table.counts_ids:
        given = await source.query(_LAST_GIVEN, table=table.name)
        if given and given[0][0] is not None:
            await target.transact(partial(_give_after, table.name, int(given[0][0])))


async def _pages(database: IDatabase, table: Table) -> AsyncIterator[list[Row]]:
    order = ", ".join(table.key)
    first = f"SELECT * FROM {table.name} ORDER BY {order} LIMIT :limit"
    after = ", ".join(f":{column}" for column in table.key)
    further = f"SELECT * FROM {table.name} WHERE ({order}) > ({after}) ORDER BY {order} LIMIT :limit"
    rows = await database.query(first, limit=AT_ONCE)
    while rows:
        yield rows
        last = {column: rows[-1][column] for column in table.key}
        rows = await database.query(further, limit=AT_ONCE, **last) if len(rows) == AT_ONCE else []


async def _insert(table: Table, rows: Sequence[Row], tx: ITransaction) -> None:
    if len(rows) == AT_ONCE:
        await _insert_many(tx, table, rows)
        return
    for row in rows:  # the last page; one statement for each length would be compiled for nothing
        await _insert_many(tx, table, [row])


async def _insert_many(tx: ITransaction, table: Table, rows: Sequence[Row]) -> None:
    columns = tuple(rows[0].keys())
    parameters = {
        f"{column}_{number}": value
        for number, row in enumerate(rows)
        for column, value in zip(columns, _values(table, columns, row), strict=True)
    }
    await tx.run(_insertion(table.name, columns, len(rows)), **parameters)


@cache
def _insertion(table: str, columns: tuple[str, ...], rows: int) -> str:
    values = ", ".join(
        "(" + ", ".join(f":{column}_{number}" for column in columns) + ")" for number in range(rows)
    )
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"


def _values(table: Table, columns: Sequence[str], row: Row) -> list[object]:
    """Return a row's values as either engine takes them, and as both give them back."""
    values: list[object] = []
    for column in columns:
        value = row[column]
        if column in table.dropped or value is None:
            values.append(None)
        elif column in table.flags:
            values.append(bool(value))
        else:
            values.append(bytes(value) if isinstance(value, memoryview) else value)
    return values


async def _give_after(table: str, last: int, tx: ITransaction) -> None:
    """See to it that an id of the old ledger is never given again, also that of a row that has gone."""
    for statement in _GIVE_AFTER:
        await tx.run(statement, table=table, last=last)


async def _compare(source: IDatabase, target: IDatabase, table: Table) -> Carried:
    sent, arrived = await _digest(source, table), await _digest(target, table)
    if sent != arrived:
        raise LedgersDiffer(f"{table.name} is not the same in both ledgers: {sent[0]} and {arrived[0]}")
    return sent[0]


async def _digest(database: IDatabase, table: Table) -> tuple[Carried, str]:
    hasher, rows, sums = sha256(), 0, dict.fromkeys(table.sums, 0)
    async for page in _pages(database, table):
        rows += len(page)
        columns = sorted(page[0].keys())
        for row in page:
            hasher.update(repr(_values(table, columns, row)).encode())
            for column in table.sums:
                sums[column] += int(row[column])
    return Carried(table.name, rows, sums), hasher.hexdigest()
