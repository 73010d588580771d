"""
One round trip for all who want the same of the ledger in one turn of the reactor.

What a short statement costs is mostly being woken: the server by what we send, we by its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import Row

_occasions = count(1)

AT_MOST = 100  # as in a batch delete: the first should not wait long for the last

Parameters = Mapping[str, object]
Ask = Callable[[Sequence[Parameters]], Coroutine[Any, Any, Sequence[list[Row]]]]
Later = Callable[[Callable[[], None]], object]
_Wanted = tuple[Parameters, "Deferred[list[Row]]"]


@define(eq=False)
class Together:
    """
    Asks, for all who want it before `later` calls back, what each is to be given.

    Who leaves is no concern of the others; who has left before is asked nothing for. Nor is what the
    server refuses: where it fails for many, each is asked for alone, so `_ask` must have changed
    nothing then.
    """

    _ask: Ask
    _later: Later
    _waiting: list[_Wanted] = field(init=False, factory=list)

    def ask(self, parameters: Parameters) -> Deferred[list[Row]]:
        """Return the rows for these parameters, to be read by position."""
        answer: Deferred[list[Row]] = Deferred()
        if not self._waiting:
            self._later(self._send)
        self._waiting.append((parameters, answer))
        return answer

    def _send(self) -> None:
        waiting, self._waiting = _still_there(self._waiting), []
        for first in range(0, len(waiting), AT_MOST):
            start(self._give(waiting[first : first + AT_MOST]))

    async def _give(self, waiting: Sequence[_Wanted]) -> None:
        try:
            answers = await self._ask([parameters for parameters, _ in waiting])
        except StoreUnavailable as error:
            occasion = next(_occasions)
            for _, answer in waiting:
                answer.errback(Failure(_told(error, occasion)))
        except Exception as error:
            # None of them is a cancellation: who asked can only cancel an answer of its own.
            if len(waiting) == 1:
                waiting[0][1].errback(Failure(error))
                return
            for one in _still_there(waiting):
                start(self._give([one]))
        else:
            for (_, answer), rows in zip(waiting, answers, strict=True):
                answer.callback(rows)


def _told(error: StoreUnavailable, occasion: int) -> StoreUnavailable:
    """Return what one of many hears: an exception that several raise collects their tracebacks."""
    told = type(error)(str(error))
    if isinstance(told, TransactionUnclear):
        told.occasion = occasion
    return told


def _still_there(waiting: Sequence[_Wanted]) -> list[_Wanted]:
    return [one for one in waiting if not one[1].called]


def listed(many: Sequence[Parameters]) -> str:
    """Return what `each_of` is read from."""
    return json.dumps(many)


def each_of(source: str, types: Mapping[str, str]) -> str:
    """Return what comes after FROM to have `asked`: for each in a list what `types` names, and its number."""
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    return (
        f"ROWS FROM (json_to_recordset({source}) AS ({columns}))"
        f" WITH ORDINALITY AS asked ({', '.join(types)}, number)"
    )


def by_number(rows: Sequence[Row], count: int) -> list[list[Row]]:
    """Return what each was given: rows begin with the numbers of those whose they are."""
    given: list[list[Row]] = [[] for _ in range(count)]
    for number, *row in rows:
        given[number - 1].append(row)
    return given
