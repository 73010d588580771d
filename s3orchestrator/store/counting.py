"""
Counters that always equal the sums over the rows (L4), and the guards of limits.

Only reserving and growing raise a guard, and only if there is room; whatever releases
bytes lowers it. Moving bytes from one kind to another leaves it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from attrs import Factory, define

from s3orchestrator.errors import InsufficientStorage
from s3orchestrator.interfaces import ITransaction

NO_BUCKET = 0  # what scratch objects are counted under

HOLD_BUCKET = "$hold_bucket"
HOLD_BACKEND = "$hold_backend"

TAKE_OF_BACKEND = """
    UPDATE backend_guards SET taken = taken + :size
     WHERE backend = :backend AND taken + :room <= bytes_limit
"""
TAKE_OF_BUCKET = """
    UPDATE bucket_guards SET taken = taken + :size
     WHERE bucket_id = :bucket_id AND taken + :room <= bytes_limit
"""
GIVE_TO_BACKEND = "UPDATE backend_guards SET taken = taken - :size WHERE backend = :backend"
GIVE_TO_BUCKET = "UPDATE bucket_guards SET taken = taken - :size WHERE bucket_id = :bucket_id"

COUNT = """
    INSERT INTO byte_counts (backend, bucket_id, shard, live, reserved, orphan, objects, held)
    VALUES (:backend, :bucket_id, $shard, :live, :reserved, :orphan, :objects, :held)
    ON CONFLICT (backend, bucket_id, shard) DO UPDATE
       SET live = byte_counts.live + excluded.live,
           reserved = byte_counts.reserved + excluded.reserved,
           orphan = byte_counts.orphan + excluded.orphan,
           objects = byte_counts.objects + excluded.objects,
           held = byte_counts.held + excluded.held
"""

COUNT_ALL = """
    INSERT INTO backend_counts (backend, shard, live, reserved, orphan)
    VALUES (:backend, $shard, :live, :reserved, :orphan)
    ON CONFLICT (backend, shard) DO UPDATE
       SET live = backend_counts.live + excluded.live,
           reserved = backend_counts.reserved + excluded.reserved,
           orphan = backend_counts.orphan + excluded.orphan
"""


class Kind(IntEnum):
    """What the bytes of a blob count as."""

    LIVE = 0
    RESERVED = 1
    ORPHAN = 2
    NOTHING = 3  # there is a row, and nothing on the backend
    ABSENT = 4  # there is no row


@define(eq=False)
class Tally:
    """Changes to the counters, gathered while a transaction works and written at its end."""

    _changes: dict[tuple[str, int], list[int]] = Factory(dict)

    def move(
        self,
        backend: str,
        bucket_id: int | None,
        before: Kind,
        size_before: int,
        after: Kind,
        size_after: int,
    ) -> None:
        """Note that a blob of one kind and size has become one of another."""
        change = self._changes.setdefault((backend, bucket_id or NO_BUCKET), [0, 0, 0, 0, 0])
        if before < Kind.NOTHING:
            change[before] -= size_before
        if after < Kind.NOTHING:
            change[after] += size_after
        change[3] += (after is Kind.LIVE) - (before is Kind.LIVE)
        change[4] += (after is not Kind.ABSENT) - (before is not Kind.ABSENT)

    async def write(self, tx: ITransaction) -> None:
        """
        Write the changes, as late as the transaction can: guards first, all in the order of names.

        So everybody takes the rows' locks in the same order, and reserving begins with guards, too.
        """
        changes = sorted(self._changes.items())
        await _give_back(tx, changes)
        of_backends: dict[str, list[int]] = {}
        for (backend, bucket_id), change in changes:
            of_backend = of_backends.setdefault(backend, [0, 0, 0])
            for kind in (Kind.LIVE, Kind.RESERVED, Kind.ORPHAN):
                of_backend[kind] += change[kind]
            await _count_in_bucket(tx, backend, bucket_id, *change)
        for backend, (live, reserved, orphan) in of_backends.items():
            await _count_in_all(tx, backend, live, reserved, orphan)


async def count(
    tx: ITransaction,
    backend: str,
    bucket_id: int | None,
    *,
    live: int = 0,
    reserved: int = 0,
    orphan: int = 0,
    objects: int = 0,
    held: int = 0,
) -> None:
    """Count what becomes of one blob, where nobody else can be waiting for the rows; releases nothing."""
    await _count_in_bucket(tx, backend, bucket_id or NO_BUCKET, live, reserved, orphan, objects, held)
    await _count_in_all(tx, backend, live, reserved, orphan)


async def _count_in_bucket(
    tx: ITransaction,
    backend: str,
    bucket_id: int,
    live: int,
    reserved: int,
    orphan: int,
    objects: int,
    held: int,
) -> None:
    amounts = {"live": live, "reserved": reserved, "orphan": orphan, "objects": objects, "held": held}
    await tx.add(COUNT, {"backend": backend, "bucket_id": bucket_id}, amounts)


async def _count_in_all(tx: ITransaction, backend: str, live: int, reserved: int, orphan: int) -> None:
    await tx.add(COUNT_ALL, {"backend": backend}, {"live": live, "reserved": reserved, "orphan": orphan})


async def _give_back(tx: ITransaction, changes: Sequence[tuple[tuple[str, int], Sequence[int]]]) -> None:
    """Lower the guards by what was released; who makes or drops a guard waits until that is committed."""
    of_backends: dict[str, int] = {}
    of_buckets: dict[int, int] = {}
    for (backend, bucket_id), change in changes:
        released = -(change[Kind.LIVE] + change[Kind.RESERVED] + change[Kind.ORPHAN])
        if released > 0:
            of_backends[backend] = of_backends.get(backend, 0) + released
            of_buckets[bucket_id] = of_buckets.get(bucket_id, 0) + released
    for bucket_id in sorted(of_buckets):
        await tx.soon(HOLD_BUCKET, bucket_id=bucket_id)
    for backend in of_backends:
        await tx.soon(HOLD_BACKEND, backend=backend)
    for backend, released in of_backends.items():
        await tx.soon(GIVE_TO_BACKEND, backend=backend, size=released)
    for bucket_id, released in sorted(of_buckets.items()):
        await tx.soon(GIVE_TO_BUCKET, bucket_id=bucket_id, size=released)


async def take(
    tx: ITransaction,
    backend: str,
    bucket_id: int,
    size: int,
    *,
    limited: bool,
    bucket_limited: bool,
    room: int,
) -> bool:
    """
    Raise the guards of a backend and its bucket by `size` if both have `room`; tell whether.

    The flags say which of the two has a guard.

    :raises InsufficientStorage: the bucket is full, so that other backends are of no use.
    """
    if limited and not await tx.run(TAKE_OF_BACKEND, backend=backend, size=size, room=room):
        return False
    if bucket_limited and not await tx.run(TAKE_OF_BUCKET, bucket_id=bucket_id, size=size, room=room):
        raise InsufficientStorage(f"the bucket has no room for {room} bytes")
    return True
