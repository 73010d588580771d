"""A call of the admin API as values: what is asked, what is answered, what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import Factory, frozen


class Refused(Exception):
    """The call is not done; `text` says why, and reads well alone."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})
        self.more = more


@frozen
class Ask:
    """
    What is asked: parts of the path by name, the query (of a name given twice, the last), the body.

    Everything in it is the caller's text, decoded and not looked at.
    """

    path: Mapping[str, str] = Factory(dict)
    query: Mapping[str, str] = Factory(dict)
    body: Mapping[str, Any] = Factory(dict)

    def allow_query(self, *names: str) -> None:
        """:raises Refused: the query has others: they are misspelt, and would have meant something."""
        _allow(self.query, names, "parameter")

    def allow_body(self, *names: str) -> None:
        """:raises Refused: the body has other members."""
        _allow(self.body, names, "member")

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """
        Return a whole number of the query.

        :raises Refused: it is none, or out of bounds.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and lowest <= int(text) <= highest):
            raise Refused(400, f"{name} must be a number from {lowest} to {highest}")
        return int(text)

    def flag(self, name: str) -> bool:
        """
        Return a truth of the body, false if it is not there.

        :raises Refused: it is something else.
        """
        value = self.body.get(name, False)
        if not isinstance(value, bool):
            raise Refused(400, f"{name} must be true or false")
        return value


def _allow(given: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in given:
        if name not in names:
            known = f"the ones here are {', '.join(names)}" if names else "there is none here"
            raise Refused(400, f"there is no {what} {name[:40]!r}: {known}")


@frozen
class Answer:
    """What is answered. `noted` is for the audit trail: what was changed, not by whom."""

    document: Mapping[str, Any]
    status: int = 200
    noted: Mapping[str, object] = Factory(dict)


Operate = Callable[[Ask], Awaitable[Answer]]
