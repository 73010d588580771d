"""
Pages of the objects below a root, in the byte order of their names.

File names sort differently (`a.b` comes before `a/b`, but a directory `a` before `a.b`), so every
directory on the way is read whole and sorted by what its entries stand for. Directories
that cannot have anything for the page are not read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from attrs import frozen

from s3orchestrator.backends.attributes import validator
from s3orchestrator.backends.filenames import Kind, directory_of, read_entry
from s3orchestrator.backends.roots import LinkInTheWay, Opened
from s3orchestrator.interfaces import ListedObject

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@frozen
class _Wanted:
    """Names that start with `prefix` and come after `after`."""

    prefix: bytes
    after: bytes

    def has(self, name: bytes) -> bool:
        return name > self.after and name.startswith(self.prefix)

    def may_be_below(self, start: bytes) -> bool:
        """Tell whether a name beginning with `start` may be wanted."""
        if not (start.startswith(self.prefix) or self.prefix.startswith(start)):
            return False
        return start > self.after or self.after.startswith(start)


class _Found(NamedTuple):
    """An entry, to be sorted: a tuple, for there may be very many. Whether it is ours is seen in its turn."""

    name: bytes
    raw: bytes
    is_directory: bool


def page(root: Opened, prefix: str, after: str, limit: int) -> list[ListedObject]:
    """Return up to `limit` objects; blocks."""
    wanted = _Wanted(prefix.encode(), after.encode())
    listed: list[ListedObject] = []
    for name, path in _walk(root, prefix, wanted):
        if len(listed) >= limit:
            break
        with suppress(FileNotFoundError, NotADirectoryError, LinkInTheWay):  # changed since
            with root.at(path) as (fd, leaf):
                found = os.stat(leaf, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and not (listed and listed[-1].name == name):
                modified_ms = found.st_mtime_ns // 1_000_000
                listed.append(ListedObject(name, found.st_size, validator(found), modified_ms))
    return listed


def _walk(root: Opened, prefix: str, wanted: _Wanted) -> Iterator[tuple[str, bytes]]:
    """Give names and files in order. A stack, because names nest deeper than Python's calls may."""
    directory, start = directory_of(prefix)
    stack = [_sorted_entries(root, directory, start, wanted)]
    while stack:
        found, directory, start = next(stack[-1], _END)
        if found is None:
            stack.pop()
            continue
        entry = read_entry(found.raw, is_directory=found.is_directory, at_top=directory == b".")
        if entry is None:
            continue
        path = found.raw if directory == b"." else b"%s/%s" % (directory, found.raw)
        if entry.kind in (Kind.OBJECT, Kind.SHADOW):
            yield found.name.decode(), path
        else:
            stack.append(_sorted_entries(root, path, found.name, wanted))


_END: tuple[None, bytes, bytes] = (None, b"", b"")


def _sorted_entries(
    root: Opened, directory: bytes, start: bytes, wanted: _Wanted
) -> Iterator[tuple[_Found | None, bytes, bytes]]:
    found: list[_Found] = []
    with suppress(FileNotFoundError, NotADirectoryError, LinkInTheWay):
        fd = root.open(directory, _FLAGS)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    one = _read(
                        start, os.fsencode(entry.name), entry.is_dir(follow_symlinks=False), directory
                    )
                    if one is not None and _is_relevant(one, wanted):
                        found.append(one)
        finally:
            os.close(fd)
    found.sort()
    return ((one, directory, start) for one in found)


def _read(start: bytes, raw: bytes, is_directory: bool, directory: bytes) -> _Found | None:
    """Read an entry, closely only if something in it is escaped: there may be very many."""
    if b"%" not in raw:
        return _Found(start + raw + b"/" if is_directory else start + raw, raw, is_directory)
    entry = read_entry(raw, is_directory=is_directory, at_top=directory == b".")
    return _Found(start + entry.covers, raw, is_directory) if entry is not None else None


def _is_relevant(found: _Found, wanted: _Wanted) -> bool:
    return wanted.may_be_below(found.name) if found.is_directory else wanted.has(found.name)
