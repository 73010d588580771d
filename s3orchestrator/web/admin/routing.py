"""Which path and method of the admin API means what."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from attrs import frozen

from s3orchestrator.web.admin.calls import Operate, Refused

BASE = b"/admin/api/"


@frozen
class Route:
    """
    An entry of the table; `pattern` is below `BASE`, and `{name}` in it stands for one part of a path.

    `verb` names it in the audit trail.
    """

    verb: str
    method: str
    pattern: str
    operate: Operate

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        """Return what the names stand for, None if the path is another."""
        wanted = self.pattern.split("/")
        if len(wanted) != len(parts):
            return None
        found = {}
        for want, part in zip(wanted, parts, strict=True):
            if want.startswith("{"):
                found[want[1:-1]] = part
            elif want != part:
                return None
        return found


def find(routes: Sequence[Route], method: str, path: bytes) -> tuple[Route, dict[str, str]]:
    """
    Return whom a path below `BASE` is for, and what the names in its pattern stand for.

    An encoded slash is part of a name: `%2F` never takes a path apart.

    :raises Refused: 400, 404 or 405.
    """
    parts = [_decoded(part) for part in path[len(BASE) :].split(b"/")]
    matching = [(route, found) for route in routes if (found := route.match(parts)) is not None]
    for route, found in matching:
        if route.method == method:
            return route, found
    if not matching:
        raise Refused(404, "there is nothing of that name in the admin API")
    allowed = ", ".join(sorted({route.method for route, _ in matching}))
    raise Refused(405, f"this takes {allowed} only", {"Allow": allowed})


def _decoded(part: bytes) -> str:
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "the path is not UTF-8") from None
