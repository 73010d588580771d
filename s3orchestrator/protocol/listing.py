"""
One page of a listing, from an ascending stream of keys that can be entered anywhere.

The `Pager` never reads; it says where to look next and is fed what was found there. Below
a common prefix it reads a few rows at most and then asks for what comes after all of them,
so a page costs about as many rows as it has entries, however many keys they stand for.

Keys are compared as text. Code points order like the bytes of UTF-8, so this is the
bytewise order of S3 and of the ledger.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from s3orchestrator.protocol.errors import S3Error

MAX_KEYS = 1000  # S3's own limit for one page

# With a delimiter nobody knows how many keys share the next prefix. The first look is small,
# looks right after a prefix are smaller still, and each one that was not in vain is followed
# by one four times as large: a flat page of 1000 costs five, ten large prefixes eleven.
_FIRST_LOOK = 32
_SMALL_LOOK = 4
_GROWTH = 4

_TOKEN_VERSION = b"\x01"
_AFTER_KEY = b"k"
_AFTER_PREFIX = b"p"


class Keyed(Protocol):
    """Anything that is listed under a key."""

    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Keyed)


def prefix_end(prefix: str) -> str | None:
    """
    Return the first text after all that begin with `prefix`; None if there is no end to them.
    """
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            # No UTF-8 for surrogates: the character after U+D7FF is U+E000.
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        prefix = prefix[:-1]
    return None


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """Return what `key` is rolled up into, None if it is listed itself."""
    if not delimiter:
        return None
    found = key.find(delimiter, len(prefix))
    return None if found < 0 else key[: found + len(delimiter)]


@frozen
class Position:
    """
    Where a listing goes on: after the key `name`, or after everything below it.

    `below` is for a common prefix that has been given already. `id` continues among
    several rows of one key, after the version or upload of that id.
    """

    name: str = ""
    below: bool = False
    id: str | None = None

    @classmethod
    def of_marker(cls, marker: str, prefix: str, delimiter: str, id: str | None = None) -> Position:
        """
        Return what a client's marker means.

        A marker that is a common prefix of this very listing was handed out as one, and
        stands for all below it.
        """
        if marker.startswith(prefix) and common_prefix(marker, prefix, delimiter) == marker:
            return cls(marker, below=True)
        return cls(marker, id=id)

    @classmethod
    def of_token(cls, token: str) -> Position:
        """
        Return the position that a continuation token stands for; an empty one is the start.

        :raises S3Error: `InvalidArgument` for a token that is none of ours.
        """
        if not token:
            return START
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            raw = b64decode(padded, b"-_", validate=True)
            name = raw[2:].decode("utf-8")
        except (NotBase64, ValueError):
            raise _bad_token() from None
        if raw[:2] not in (_TOKEN_VERSION + _AFTER_KEY, _TOKEN_VERSION + _AFTER_PREFIX) or "\0" in name:
            raise _bad_token()
        return cls(name, below=raw[1:2] == _AFTER_PREFIX)

    def token(self) -> str:
        """Return this position as a continuation token; any instance can read it."""
        kind = _AFTER_PREFIX if self.below else _AFTER_KEY
        return urlsafe_b64encode(_TOKEN_VERSION + kind + self.name.encode()).rstrip(b"=").decode()


START = Position()


def _bad_token() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "The continuation token provided is incorrect",
        ArgumentName="continuation-token",
    )


@frozen
class Seek:
    """
    The next rows a pager wants: at most `limit`, ascending, `lower` <(=) key < `upper`.

    `after` is None or the id of a row of the key `lower`: then the rows of that key which
    come after it are wanted first.
    """

    lower: str
    inclusive: bool
    upper: str | None
    limit: int
    after: str | None = None


@frozen
class Page(Generic[R]):
    """A finished page: what is listed, and where the next one begins if there is one."""

    rows: Sequence[R] = ()
    prefixes: Sequence[str] = ()
    truncated: bool = False
    last: Position = START


class Pager(Generic[R]):
    """
    Assembles one page of at most `limit` entries, common prefixes counted.

    While `seek` is not None, fetch what it says and `feed` it, an empty result included;
    then take the `page`. `row_id` is given where one key may have several rows.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        limit: int = MAX_KEYS,
        position: Position = START,
        row_id: Callable[[R], str] | None = None,
    ) -> None:
        self._prefix = prefix
        self._delimiter = delimiter
        self._limit = limit
        self._row_id = row_id
        self._upper = prefix_end(prefix)
        self._entries: list[R | str] = []
        self._rolled: str | None = None  # the common prefix that was given last
        self._truncated = False
        self._look = _FIRST_LOOK
        self.seek: Seek | None = self._start(position) if limit > 0 else None

    def feed(self, rows: Sequence[R]) -> None:
        """Take the rows that `seek` asked for; fewer than its limit mean there are no more."""
        assert self.seek is not None
        asked, before = self.seek.limit, len(self._entries)
        if self._delimiter:
            self._roll_up(rows)
        else:
            room = self._limit - before
            self._entries += rows[:room]
            self._truncated = len(rows) > room
        if self._truncated or len(rows) < asked:
            self.seek = None
        else:
            wasted = len(rows) - (len(self._entries) - before)
            self._look = _SMALL_LOOK if 2 * wasted > len(rows) else asked * _GROWTH
            self.seek = self._after(rows[-1])

    @property
    def page(self) -> Page[R]:
        """What has been found."""
        rows = [entry for entry in self._entries if not isinstance(entry, str)]
        prefixes = [entry for entry in self._entries if isinstance(entry, str)]
        return Page(rows, prefixes, self._truncated, self._last())

    @property
    def entries(self) -> list[str]:
        """Keys and common prefixes in the order of the listing."""
        return [entry if isinstance(entry, str) else entry.key for entry in self._entries]

    def _start(self, position: Position) -> Seek | None:
        name = position.name
        if position.below:
            return self._past(name)
        if not name or name < self._prefix:
            return self._seek(self._prefix, inclusive=True)
        return self._seek(name, inclusive=False, after=position.id)

    def _roll_up(self, rows: Sequence[R]) -> None:
        for row in rows:
            key = row.key
            if self._rolled is not None and key.startswith(self._rolled):
                continue
            if len(self._entries) == self._limit:
                self._truncated = True
                return
            self._rolled = common_prefix(key, self._prefix, self._delimiter)
            self._entries.append(row if self._rolled is None else self._rolled)

    def _after(self, row: R) -> Seek | None:
        """Return where to look after a full batch that ended with `row`."""
        if self._rolled is not None:
            return self._past(self._rolled)
        return self._seek(row.key, inclusive=False, after=self._row_id(row) if self._row_id else None)

    def _past(self, prefix: str) -> Seek | None:
        """Return where to look after everything that begins with `prefix`."""
        end = prefix_end(prefix)
        return None if end is None else self._seek(max(end, self._prefix), inclusive=True)

    def _seek(self, lower: str, *, inclusive: bool, after: str | None = None) -> Seek | None:
        if self._upper is not None and lower >= self._upper:
            return None
        wanted = self._limit - len(self._entries) + 1  # one more tells whether there is more
        return Seek(
            lower, inclusive, self._upper, min(wanted, self._look) if self._delimiter else wanted, after
        )

    def _last(self) -> Position:
        if not self._entries:
            return START
        entry = self._entries[-1]
        if isinstance(entry, str):
            return Position(entry, below=True)
        return Position(entry.key, id=self._row_id(entry) if self._row_id else None)
