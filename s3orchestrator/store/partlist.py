"""The parts a version was made of, kept small and only read by those who ask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from s3orchestrator.domain.records import PartInfo
from s3orchestrator.protocol.checksums import Checksum


def write_parts(parts: Iterable[PartInfo]) -> str | None:
    """
    Return parts as text, None for none.

    Most uploads cut their object into pieces of one size: without checksums, a run of such
    parts is one entry of first number, count and size.
    """
    runs: list[list[Any]] = []
    for part in parts:
        if part.checksum is not None:
            checksum = part.checksum
            runs.append([part.number, 1, part.size, checksum.algorithm, checksum.value, checksum.kind])
        elif runs and _continues(runs[-1], part):
            runs[-1][1] += 1
        else:
            runs.append([part.number, 1, part.size])
    return json.dumps(runs, separators=(",", ":")) if runs else None


def _continues(run: list[Any], part: PartInfo) -> bool:
    return len(run) == 3 and run[0] + run[1] == part.number and run[2] == part.size


class StoredParts(Sequence[PartInfo]):
    """
    What `write_parts` was given, parsed when somebody looks.

    Ten thousand parts would cost every HEAD of the object milliseconds.
    """

    __slots__ = ("_known", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: tuple[PartInfo, ...] | None = None

    def _parts(self) -> tuple[PartInfo, ...]:
        if self._known is None:
            self._known = tuple(_read(self._text))
        return self._known

    @overload
    def __getitem__(self, index: int) -> PartInfo: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PartInfo]: ...

    def __getitem__(self, index: int | slice) -> PartInfo | Sequence[PartInfo]:
        return self._parts()[index]

    def __len__(self) -> int:
        return len(self._parts())

    def __bool__(self) -> bool:
        return True  # none are stored as NULL

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._parts() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"StoredParts({self._text!r})"


def read_parts(text: str | None) -> Sequence[PartInfo]:
    """Return what `write_parts` was given."""
    return StoredParts(text) if text else ()


def _read(text: str) -> Iterator[PartInfo]:
    for first, count, size, *checksum in json.loads(text):
        told = Checksum(*checksum) if checksum else None
        for number in range(first, first + count):
            yield PartInfo(number, size, told)
