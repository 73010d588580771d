"""
One round trip for all who look something up in the same turn of the reactor.

What a look-up costs is mostly being woken: the server by the statement, we by its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import Row
from s3orchestrator.store.versions import DESCRIBE_LATEST, DESCRIBE_VERSION, FIND_LATEST, FIND_VERSION

AT_MOST = 100  # in one statement; the first should not wait long for the last

_TYPES = {"bucket_id": "bigint", "key": "text", "version_id": "text"}

Query = Callable[[str, Mapping[str, object]], Coroutine[Any, Any, list[Row]]]


def _of_many(statement: str, names: Sequence[str]) -> str:
    """
    Return a statement that gives the rows of another for each set of parameters in `:asked`.

    Their number, from 1, comes before. OFFSET keeps the planner from turning it over: each is looked up.
    """
    for name in names:
        statement = statement.replace(f":{name}", f"asked.{name}")
    columns = ", ".join(f"{name} {_TYPES[name]}" for name in names)
    return f"""
        SELECT asked.number, found.*
          FROM ROWS FROM (json_to_recordset(:asked) AS ({columns}))
               WITH ORDINALITY AS asked ({", ".join(names)}, number)
         CROSS JOIN LATERAL ({statement} OFFSET 0) AS found
    """


OF_MANY = {
    **{each: _of_many(each, ["bucket_id", "key"]) for each in (FIND_LATEST, DESCRIBE_LATEST)},
    **{each: _of_many(each, ["bucket_id", "key", "version_id"]) for each in (FIND_VERSION, DESCRIBE_VERSION)},
}


@define(eq=False)
class Together:
    """
    Asks one of the statements in `OF_MANY` for all who want it before `later` calls back.

    Who leaves is no concern of the others. Nor is a parameter that the server does not take.
    """

    _statement: str
    _query: Query
    _later: Callable[[Callable[[], None]], object]
    _waiting: dict[tuple[object, ...], _Wanted] = field(init=False, factory=dict)

    def ask(self, parameters: dict[str, object]) -> Deferred[list[Row]]:
        """Return the rows for these parameters, to be read by position; the same ones may be others', too."""
        if not self._waiting:
            self._later(self._send)
        key = tuple(parameters.values())
        wanted = self._waiting.get(key)
        if wanted is None:
            wanted = self._waiting[key] = _Wanted(parameters)
        answer: Deferred[list[Row]] = Deferred()
        wanted.answers.append(answer)
        return answer

    def _send(self) -> None:
        waiting, self._waiting = list(self._waiting.values()), {}
        for first in range(0, len(waiting), AT_MOST):
            start(self._find(waiting[first : first + AT_MOST]))

    async def _find(self, waiting: Sequence[_Wanted]) -> None:
        if len(waiting) == 1:
            await self._find_alone(waiting[0])
            return
        asked = json.dumps([wanted.parameters for wanted in waiting])
        try:
            rows = await self._query(OF_MANY[self._statement], {"asked": asked})
        except StoreUnavailable as error:
            for wanted in waiting:
                wanted.fail(StoreUnavailable(str(error)))
        except Exception:
            for wanted in waiting:
                start(self._find_alone(wanted))
        else:
            found: list[list[Row]] = [[] for _ in waiting]
            for number, *row in rows:
                found[number - 1].append(row)
            for wanted, its in zip(waiting, found, strict=True):
                wanted.give(its)

    async def _find_alone(self, wanted: _Wanted) -> None:
        try:
            rows = await self._query(self._statement, wanted.parameters)
        except Exception as error:
            wanted.fail(error)
        else:
            wanted.give(rows)


@define(eq=False)
class _Wanted:
    """One set of parameters, and who waits for what it gives."""

    parameters: dict[str, object]
    answers: list[Deferred[list[Row]]] = field(init=False, factory=list)

    def give(self, rows: list[Row]) -> None:
        for answer in self.answers:
            answer.callback(rows)

    def fail(self, error: Exception) -> None:
        for answer in self.answers:
            answer.errback(Failure(error))
