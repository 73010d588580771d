"""
Which methods of the ledger's roles a process that serves carries out itself, and which it has carried out.

Whoever only reads does so here, on a connection of its own. Whatever writes is asked of the process that
has the writer, as a method's name and arguments: a transaction could not be sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen

R = TypeVar("R")

Elsewhere = Callable[[str, str, tuple[Any, ...], dict[str, Any]], Awaitable[Any]]


@frozen
class Duties:
    """The methods of one role."""

    here: frozenset[str]
    elsewhere: frozenset[str]


def _split(here: str, elsewhere: str) -> Duties:
    return Duties(frozenset(here.split()), frozenset(elsewhere.split()))


DUTIES: Mapping[str, Duties] = {
    "buckets": _split("all", "adopt create delete"),
    "blobs": _split(
        "usage names by_name is_of_former_lease is_held",
        """
        set_limits reserve reserve_scratch abandon refused forget forget_many retry_later retry_later_many
        claim_doomed revive revive_some write_off end_rests claim_unclear_rests rested rest_again recover
        reap tie_up suspect trust
        """,
    ),
    "versions": _split("find describe page page_versions", "commit remove remove_many"),
    "uploads": _split(
        "find parts page of_blob",
        "create opened begin_part end_part fail_part begin_complete reopen abort expire",
    ),
    "usage": _split("totals inventory backlog", "record"),
    "marks": _split("known now_ms", "find_signs raise_number marked declare_behind set_number"),
    "registration": _split("", "renew end"),
}


def sharing(kind: type[R], role: str, elsewhere: Elsewhere) -> type[R]:
    """Return the class of a role that reads as `kind` does, and has `elsewhere` do what writes."""
    asking = {name: _asking(role, name, elsewhere) for name in DUTIES[role].elsewhere}
    return type(kind.__name__, (kind,), {"__slots__": (), "__doc__": kind.__doc__, **asking})


def _asking(role: str, name: str, elsewhere: Elsewhere) -> Callable[..., Any]:
    async def ask(self: object, *args: Any, **kwargs: Any) -> Any:
        return await elsewhere(role, name, args, kwargs)

    return ask
