"""Whose a backend is: what the ledger knows of it, and who asks before something is changed there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from attrs import frozen
from zope.interface import Interface

from s3orchestrator.domain.owning import Known
from s3orchestrator.domain.records import Blob, Bucket, NewVersion
from s3orchestrator.interfaces.backends import Stored


class Outcome(Enum):
    """What became of an object that was found."""

    KNOWN = "known"  # the ledger has it, or is removing it
    TAKEN_IN = "taken in"  # it is its key's current version now
    SET_ASIDE = "set aside"  # something newer is; nobody deletes it by himself
    OLDER = "older"  # than what the ledger has under that very name


@frozen
class Sighted:
    """An object that bears our stamp; `blob_id` and `created_ms` are what that says."""

    backend: str
    name: str
    key: str
    is_plain: bool
    blob_id: int
    created_ms: int
    modified_ms: int
    multipart: bool
    stored: Stored
    version: NewVersion

    @property
    def age(self) -> tuple[int, int]:
        """What is larger was written later."""
        return self.created_ms, self.blob_id


class IMarks(Interface):
    """What the ledger knows of the markers on its backends (L9)."""

    async def known() -> Mapping[str, Known]:
        """What is known, by backend; nothing of one that the ledger has never heard of."""

    async def find_signs() -> str:
        """
        Look whether the database itself is another one than before, or has gone back in time.

        Returns what says so, "" if nothing does. Then the ledger is behind all its backends, and that
        is remembered, and not told again.
        """

    async def raise_number(backend: str, number: int) -> bool:
        """
        Make the number one more than `number`, before the marker is written; tells whether it was so.

        It is not if somebody else has raised it, or the ledger is behind.
        """

    async def marked(backend: str, number: int, began_ms: int) -> None:
        """Remember that the marker bears `number`, and since when at the latest."""

    async def declare_behind(backends: Collection[str]) -> None:
        """From now on they may hold what the ledger does not know: nothing is forgotten that is there."""

    async def set_number(backend: str, number: int, *, caught_up: bool) -> None:
        """Make the number at least `number`; with `caught_up` the ledger is behind no more."""

    def now_ms() -> int:
        """Ledger time."""


class IOwnership(Interface):
    """Tells whether backends may be changed. Those that nobody asks about may be."""

    def is_shut(name: str) -> bool:
        """Tell whether nothing may be written there until an operator has looked into it."""

    async def before_writing(name: str) -> None:
        """:raises BackendWithheld: nothing may be written there, or nobody can tell now."""

    async def before_removing(name: str) -> None:
        """:raises BackendWithheld: nothing may be deleted there, or nobody can tell now."""


class IRestoring(Interface):
    """A ledger that is told of what it does not know, or knows no more."""

    async def take_in(bucket: Bucket, sighted: Sighted) -> Outcome:
        """
        Let the ledger know an object, in one transaction. Doing it again changes nothing.

        Nobody else may be working on the ledger.

        :raises NoSuchBucket: the bucket has been deleted.
        """

    async def suspects(backend: str, after: int, limit: int) -> Sequence[Blob]:
        """Live blobs of a backend that somebody missed there, by id, after `after`."""
