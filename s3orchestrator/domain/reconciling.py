"""Comparing what the ledger says of a backend with what the backend says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from attrs import frozen

from s3orchestrator.domain.records import Blob, BlobState, Finding


class Named(Protocol):
    """Something with a name, in a stream that ascends by name."""

    @property
    def name(self) -> str: ...


A = TypeVar("A", bound=Named)
B = TypeVar("B", bound=Named)


async def side_by_side(
    left: AsyncIterator[A], right: AsyncIterator[B]
) -> AsyncIterator[tuple[A | None, B | None]]:
    """
    Merge two streams that ascend by name: pairs of what bears one name, None where one side has nothing.

    Code points and UTF-8 bytes order alike, so `str` comparison is right.
    """
    a, b = await anext(left, None), await anext(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.name < b.name):
            yield a, None
            a = await anext(left, None)
        elif a is None or b.name < a.name:
            yield None, b
            b = await anext(right, None)
        else:
            yield a, b
            a, b = await anext(left, None), await anext(right, None)


@frozen
class Seen:
    """An object as a backend lists it."""

    name: str
    size: int
    etag: str


def compare(row: Blob | None, seen: Seen | None, backend: str) -> Finding | None:
    """
    Return what is wrong with one name, None if nothing is.

    Rows that are not live own whatever their name holds; it is going to be cleaned up.
    """
    if row is None:
        assert seen is not None
        return Finding("stray", f"{backend}: {seen.name}", f"{seen.size} bytes that the ledger does not know")
    if row.state is not BlobState.LIVE:
        return None
    where = f"{backend}: {row.name}"
    if seen is None:
        return Finding("L3", where, f"the bytes of {row.key!r} are not there")
    if seen.size != row.size:
        return Finding("L3", where, f"{seen.size} bytes instead of {row.size}")
    if row.etag and seen.etag and seen.etag != row.etag:
        return Finding("L3", where, f"ETag {seen.etag} instead of {row.etag}")
    return None
