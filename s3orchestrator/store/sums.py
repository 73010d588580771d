"""Counters of a whole group of transactions: what each of them adds is added up, and written once."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import define, field

_TARGET = re.compile(r"INSERT INTO (\w+)")


@define(eq=False)
class Sums:
    """
    What is still to be added to rows of counters.

    A statement given to `add` inserts a row or adds to the one that is there, so that executing it
    once with the sums does what executing it for each of them would have done.
    """

    _rows: dict[tuple[object, ...], tuple[str, dict[str, object], dict[str, int]]] = field(
        init=False, factory=dict
    )
    _tables: set[str] = field(init=False, factory=set)
    _concerned: dict[str, bool] = field(init=False, factory=dict)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, statement: str, row: dict[str, object], amounts: Mapping[str, int]) -> None:
        """Note that `amounts` are to be added to the row that `row` names."""
        place = (statement, *row.values())
        known = self._rows.get(place)
        if known is None:
            self._rows[place] = (statement, row, dict(amounts))
            self._note_table(statement)
            return
        sums = known[2]
        for name, amount in amounts.items():
            sums[name] += amount

    def _note_table(self, statement: str) -> None:
        found = _TARGET.search(statement)
        assert found is not None, "counters are kept by INSERT … ON CONFLICT"
        if found[1] not in self._tables:
            self._tables.add(found[1])
            self._concerned.clear()

    def concern(self, sql: str) -> bool:
        """Tell whether a statement may look at what is to be added."""
        try:
            return self._concerned[sql]
        except KeyError:
            concerned = self._concerned[sql] = any(table in sql for table in self._tables)
            return concerned

    def take(self) -> list[tuple[str, dict[str, object]]]:
        """Return what is to be executed, and forget it."""
        rows, self._rows = self._rows, {}
        return [(statement, {**row, **amounts}) for statement, row, amounts in rows.values()]
