"""The latest lines of the log, kept in memory for whoever asks the daemon itself."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import RLock
from typing import Any

from attrs import frozen

MOST_LINES = 5000
MOST_BYTES = 8 << 20
MOST_BYTES_EACH = 8192
_MOST_TEXT = 1000  # characters of one value of a line that is longer

SEVERITY = {"debug": 0, "info": 1, "warn": 2, "error": 3, "critical": 4}


Line = tuple[float, str, str, str]  # time, level, component, JSON

# Number, time, severity, component, size, line: a plain tuple, since each request makes two.
_Kept = tuple[int, float, int, str, int, str]


@frozen
class Wanted:
    """Which lines; all of it must hold. `since` is Unix time, `after` and `before` are numbers of lines."""

    level: str = "debug"
    component: str = ""
    text: str = ""
    since: float = 0.0
    after: int | None = None
    before: int | None = None
    limit: int = 100


@frozen
class Found:
    """
    Lines in the order they were written, each with its number as `id`.

    `newest` is the number of the latest line there is, `has_more` whether the limit left out some.
    """

    entries: tuple[dict[str, Any], ...]
    newest: int
    has_more: bool


class Ring:
    """
    Holds so many lines and bytes; the oldest go first.

    Numbers begin with 1 in each process. Lines are what was written, without secrets; of long
    ones the long values are cut.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES) -> None:
        self._kept: deque[_Kept] = deque()
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._size = 0
        self._newest = 0
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of the lines."""
        return self._size

    def add(self, lines: Iterable[Line]) -> None:
        """Keep lines; from any thread."""
        with self._lock:
            for time, level, component, text in lines:
                size = _size_of(text)
                if size > MOST_BYTES_EACH:
                    text = _shortened(text)
                    size = _size_of(text)
                self._newest += 1
                self._kept.append((self._newest, time, SEVERITY[level], component, size, text))
                self._size += size
            while len(self._kept) > self._most_lines or self._size > self._most_bytes:
                self._size -= self._kept.popleft()[-2]

    def find(self, wanted: Wanted) -> Found:
        """
        Return the latest lines that are wanted, or with `after` the first ones behind that.

        A number that was not given yet is another process's: what is wanted is everything.
        """
        with self._lock:
            kept, newest = list(self._kept), self._newest
        after = wanted.after
        if after is not None and after > newest:
            after = 0
        forward = after is not None
        matching = _matching(kept if forward else reversed(kept), wanted, after or 0)
        chosen = list(islice(matching, wanted.limit + 1))
        has_more = len(chosen) > wanted.limit
        chosen = chosen[: wanted.limit]
        if not forward:
            chosen.reverse()
        entries = tuple({"id": number, **json.loads(line)} for number, _, _, _, _, line in chosen)
        return Found(entries, newest, has_more)


def _matching(kept: Iterable[_Kept], wanted: Wanted, after: int) -> Iterator[_Kept]:
    least = SEVERITY[wanted.level]
    # As the line has it: with quotation marks escaped.
    text = json.dumps(wanted.text, ensure_ascii=False)[1:-1]
    for one in kept:
        number, time, severity, component, _, line = one
        if (
            severity >= least
            and number > after
            and (wanted.before is None or number < wanted.before)
            and time >= wanted.since
            and (not wanted.component or component == wanted.component)
            and text in line
        ):
            yield one


def _size_of(line: str) -> int:
    """Return bytes of memory, at most."""
    return len(line) if line.isascii() else 4 * len(line)


def _shortened(line: str) -> str:
    members = {name: _cut(value) for name, value in json.loads(line).items()}
    shorter = json.dumps(members)
    if len(shorter) > MOST_BYTES_EACH:
        known = ("time", "level", "component", "msg", "request_id", "event")
        shorter = json.dumps({name: members[name] for name in known if name in members})
    return shorter


def _cut(value: object) -> object:
    if not isinstance(value, str):
        text = json.dumps(value)
        return value if len(text) <= _MOST_TEXT else _cut(text)
    return value if len(value) <= _MOST_TEXT else f"{value[:_MOST_TEXT]}... ({len(value)} characters)"
