"""
Which file holds the object of a name: pure, injective and reversible.

The segments of a name are directories and its last one a file, spelt as they are. What a
file system cannot spell is escaped; `%` begins every escape, so it is escaped itself:

========== =============================================================================
`%0A`      a byte that is `%`, a control character, a dot of `.` or `..`, or the first of a
           name at the top that belongs to us or to the file system
`%e`       an empty segment (`a//b` is `a/%e/b`, and `a/` is `a/%e`)
`…%more`   a directory in which a segment that is too long goes on
`…%file`   the file of an object whose plain file name is a directory: `a` beside `a/b`
========== =============================================================================

Only the last depends on what else is there, and only files have that choice: directories
never do, so that the way to an object can be computed, and at most two files can be it.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

OURS = ".s3o"  # at the top: temporary files, uploads, attributes
MAX_NAME = 1024  # bytes, as S3 has it

# A directory entry has at most 255 bytes. A segment is cut at the first character that makes
# it this long, which leaves room for a character and a mark; being the first, it makes
# pieces of which none begins another, and that keeps a listing in order.
CUT = 240

_RESERVED = (OURS, "lost+found")
_UNSAFE = re.compile(r"[%\x00-\x1f\x7f]")
_UNIT = re.compile(r"%[0-9A-F]{2}|[^%]", re.DOTALL)
_ESCAPE = re.compile(r"%([0-9A-F]{2})")
_EMPTY = "%e"
_MORE = "%more"
_FILE = "%file"


@frozen
class Place:
    """
    Where the object of a name is: the file `plain`, or `shadow` if that is a directory.

    Paths are relative to the root. `directories` are the ones on the way, outermost first.
    """

    directories: tuple[bytes, ...]
    plain: bytes
    shadow: bytes

    @property
    def parent(self) -> bytes:
        """The directory that has both."""
        return self.directories[-1] if self.directories else b"."


class Kind(Enum):
    """What an entry of a directory stands for."""

    OBJECT = "an object"
    SHADOW = "an object beside a directory"
    SEGMENT = "objects whose names go on with a slash"
    PIECE = "objects whose names go on"


@frozen
class Entry:
    """An entry of a directory. `covers` is what it adds to the directory's prefix, in bytes of the name."""

    covers: bytes
    kind: Kind
    raw: bytes


def place_of(name: str) -> Place:
    """
    Return where the object `name` is.

    :raises ValueError: no backend can have an object of that name.
    """
    encoded = name.encode()  # lone surrogates are a ValueError, too
    if not 0 < len(encoded) <= MAX_NAME:
        raise ValueError(f"a name has 1 to {MAX_NAME} bytes, not {len(encoded)}")
    *directories, leaf = _spelt(name)
    paths = []
    path = ""
    for directory in directories:
        path += directory
        paths.append(path.encode())
        path += "/"
    return Place(tuple(paths), (path + leaf).encode(), (path + leaf + _FILE).encode())


def directory_of(prefix: str) -> tuple[bytes, bytes]:
    """
    Return the innermost directory that has all names starting with `prefix`, and its own prefix.

    What `prefix` has beyond that may be the beginning of several entries.
    """
    head, slash, _ = prefix.rpartition("/")
    if not slash:
        return b".", b""
    *directories, _ = _spelt(f"{head}/x")
    return "/".join(directories).encode(), f"{head}/".encode()


def read_entry(raw: bytes, *, is_directory: bool, at_top: bool) -> Entry | None:
    """Return what an entry of a directory stands for; None for what we would not have put there."""
    try:
        spelling = raw.decode()
    except UnicodeDecodeError:
        return None
    kind, stem = _mark(spelling, is_directory)
    piece = _unescape(stem)
    if piece is None or _spell(piece, at_top) != stem:
        return None
    if not _is_cut(stem) if kind is Kind.PIECE else len(stem.encode()) >= CUT:
        return None
    return Entry((piece + "/" if kind is Kind.SEGMENT else piece).encode(), kind, raw)


def name_of(path: bytes) -> str | None:
    """Return the name of the object whose file is `path`; None for a file that is not an object's."""
    *directories, leaf = path.split(b"/")
    name = b""
    for index, raw in enumerate(directories):
        entry = read_entry(raw, is_directory=True, at_top=index == 0)
        if entry is None:
            return None
        name += entry.covers
    entry = read_entry(leaf, is_directory=False, at_top=not directories)
    return (name + entry.covers).decode() if entry is not None else None


def _spelt(name: str) -> list[str]:
    pieces: list[str] = []
    for segment in name.split("/"):
        spelling = _spell(segment, at_top=not pieces)
        if len(spelling) * 4 >= CUT and len(spelling.encode()) >= CUT:
            pieces.extend(_cut(spelling))
        else:
            pieces.append(spelling)
    return pieces


def _spell(piece: str, at_top: bool) -> str:
    if not piece:
        return _EMPTY
    if piece in (".", ".."):
        return piece.replace(".", "%2E")
    if at_top and piece in _RESERVED:
        return f"%{ord(piece[0]):02X}{piece[1:]}"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", piece)


def _cut(spelling: str) -> list[str]:
    """Return the directories that a long segment becomes, and what is left of it: less than `CUT` bytes."""
    pieces = []
    begin = length = 0
    for unit in _UNIT.finditer(spelling):
        length += len(unit[0].encode())
        if length >= CUT:
            pieces.append(spelling[begin : unit.end()] + _MORE)
            begin, length = unit.end(), 0
    rest = spelling[begin:]
    return [*pieces, _spell(rest, at_top=False) if rest in ("", ".", "..") else rest]


def _is_cut(stem: str) -> bool:
    """Tell whether a stem is exactly as long as `_cut` makes them."""
    if len(stem.encode()) < CUT:
        return False
    *_, last = _UNIT.finditer(stem)
    return len(stem.encode()) - len(last[0].encode()) < CUT


def _mark(spelling: str, is_directory: bool) -> tuple[Kind, str]:
    if is_directory:
        if spelling.endswith(_MORE):
            return Kind.PIECE, spelling.removesuffix(_MORE)
        return Kind.SEGMENT, spelling
    if spelling.endswith(_FILE):
        return Kind.SHADOW, spelling.removesuffix(_FILE)
    return Kind.OBJECT, spelling


def _unescape(stem: str) -> str | None:
    if stem == _EMPTY:
        return ""
    try:
        return _ESCAPE.sub(lambda found: bytes.fromhex(found[1]).decode(), stem)
    except UnicodeDecodeError:
        return None
