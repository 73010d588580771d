"""
The words in which the databases differ; everything else about our SQL is the same.

Statements and migrations name parameters `:name` and words `$word`. A word may be a whole
statement, and where a database has no use for one it is empty: then nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from string import Template

from attrs import Factory, define, field


@define(eq=False)
class Dialect:
    """How one database says it. Statements are rendered once and remembered."""

    name: str
    words: Mapping[str, str]
    _rendered: dict[str, str] = field(init=False, default=Factory(dict))

    def render(self, statement: str) -> str:
        """
        Return `statement` in this database's words.

        :raises KeyError: it uses a word this database has no translation for.
        """
        try:
            return self._rendered[statement]
        except KeyError:
            rendered = self._rendered[statement] = Template(statement).substitute(self.words).strip()
            return rendered


SQLITE = Dialect(
    "sqlite",
    {
        # In the schema.
        # AUTOINCREMENT, for without it the id of a row that has gone may be given out again.
        "identity": "integer PRIMARY KEY AUTOINCREMENT",
        "bytewise": "COLLATE BINARY",
        "bytes": "blob",
        "by_key": "WITHOUT ROWID",
        "instant_of": "strftime('%Y-%m-%d %H:%M:%f', ",
        "as_instant": " / 1000.0, 'unixepoch')",
        # In statements.
        "greatest": "max",
        "skip_locked": "",
        # The ids that were given out, also those of rows that have gone.
        "last_id_given": "SELECT seq FROM sqlite_sequence WHERE name = :table",
        "forget_last_id": "DELETE FROM sqlite_sequence WHERE name = :table",
        "give_ids_after": "INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)",
        # Locks: there is one writer, and it is us.
        "hold_bucket": "",
        "hold_bucket_alone": "",
        "hold_backend": "",
        "hold_backend_alone": "",
        "lock_key": "",
    },
)


_PARAMETER = re.compile(r":([a-z_][a-z0-9_]*)")

Pick = Callable[[Mapping[str, object]], Sequence[object]]


@cache
def positional(statement: str) -> tuple[str, Pick]:
    """
    Return a statement as SQLite takes it fastest, and what puts its parameters in order.

    Binding by name costs the driver a string per parameter and execution.
    """
    sql = SQLITE.render(statement)
    names = _PARAMETER.findall(sql)
    sql = _PARAMETER.sub("?", sql)
    if not names:
        return sql, lambda parameters: ()
    if len(names) == 1:
        (name,) = names
        return sql, lambda parameters: (parameters[name],)
    return sql, itemgetter(*names)
