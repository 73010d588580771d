"""Looking up at once what many requests want to read, where the ledger is on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from s3orchestrator.interfaces import Row
from s3orchestrator.store.together import Later, Parameters, Together, by_number, each_of, listed
from s3orchestrator.store.versions import DESCRIBE_LATEST, DESCRIBE_VERSION, FIND_LATEST, FIND_VERSION

_LATEST = {"bucket_id": "bigint", "key": "text"}
_VERSION = _LATEST | {"version_id": "text"}

Query = Callable[[str, Parameters], Coroutine[Any, Any, list[Row]]]


def _of_many(statement: str, types: Mapping[str, str]) -> str:
    """Return a statement that gives the rows of another for each of `:asked`, after its number."""
    for name in types:
        statement = statement.replace(f":{name}", f"asked.{name}")
    # OFFSET keeps the planner from turning it over: each is looked up.
    return f"""
        SELECT asked.number, found.* FROM {each_of(":asked", types)}
         CROSS JOIN LATERAL ({statement} OFFSET 0) AS found
    """


OF_MANY = {
    **{each: _of_many(each, _LATEST) for each in (FIND_LATEST, DESCRIBE_LATEST)},
    **{each: _of_many(each, _VERSION) for each in (FIND_VERSION, DESCRIBE_VERSION)},
}


def together(query: Query, later: Later) -> dict[str, Together]:
    """Return what asks each of the statements in `OF_MANY`."""
    return {statement: _asking(query, statement, later) for statement in OF_MANY}


def _asking(query: Query, statement: str, later: Later) -> Together:
    async def ask(many: Sequence[Parameters]) -> Sequence[list[Row]]:
        if len(many) == 1:
            return [await query(statement, many[0])]
        return by_number(await query(OF_MANY[statement], {"asked": listed(many)}), len(many))

    return Together(ask, later)
