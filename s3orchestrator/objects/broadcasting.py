"""
Asking the backends themselves for a key: what the ledger would have told in one query.

Each is asked for the plain name, then for the hashed and the unique ones. What counts is
what a blob says of itself; of those that name this ledger and this key the newest wins, on
all backends together. Nothing but headers and listings is read, so there is nothing of a
loser to be closed.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from s3orchestrator.concurrency import concurrently
from s3orchestrator.domain.naming import (
    has_unique_names,
    hashed_prefix,
    is_odd,
    is_token,
    unique_prefix,
    usable_plain_name,
)
from s3orchestrator.domain.stamping import SELF, Stamp, read_stamp
from s3orchestrator.errors import BackendError, BackendUnavailable, NoSuchBlob
from s3orchestrator.interfaces import Found, IBackend
from s3orchestrator.objects.backends import Backends

PAGE = 1000
# Names like a key's unique ones may be a client's other keys, in any number. Who has made so
# many has to wait for the ledger.
MAX_PAGES = 20
MAX_LOOKS = 100


@frozen
class Sighting:
    """A blob of the key, as its backend tells of it."""

    backend: str
    name: str
    found: Found
    stamp: Stamp

    @property
    def age(self) -> tuple[int, int]:
        """What is larger was written later."""
        return self.stamp.created_ms, self.stamp.blob_id


@frozen
class Wanted:
    """A key of a ledger's, as a backend is asked for it."""

    ledger: str
    bucket: str
    key: str

    async def on(self, backend: IBackend) -> Sighting | None:
        """
        Return the newest blob of the key on a backend, None if it has none.

        :raises BackendError: it cannot tell.
        """
        plain = usable_plain_name(self.bucket, self.key)
        # Where odd names are known to be held as others, no blob was ever given one.
        inexact = backend.traits is not None and not backend.traits.exact_names
        sightings = []
        if plain is not None and not (inexact and is_odd(plain)):
            sightings.append(await self.at(backend, plain))
        sightings.append(await self._newest(backend, hashed_prefix(self.bucket, self.key)))
        if has_unique_names(self.bucket, self.key):
            sightings.append(await self._newest(backend, unique_prefix(self.bucket, self.key)))
        return newest(sightings)

    async def at(self, backend: IBackend, name: str) -> Sighting | None:
        """
        Look at one name, None if there is nothing of ours for this key.

        :raises BackendError: the backend cannot tell, or what it has there is not understood.
        """
        try:
            found = await backend.head(name)
        except NoSuchBlob:
            return None
        stamp = read_stamp(found.meta)
        if stamp is None:
            if SELF in found.meta:  # perhaps a later release's
                raise BackendUnavailable(f"{backend.name}: {name} describes itself in an unknown way")
            return None
        if stamp.ledger != self.ledger or not stamp.is_for(self.bucket, self.key, name):
            return None
        return Sighting(backend.name, name, found, stamp)

    async def _newest(self, backend: IBackend, prefix: str) -> Sighting | None:
        names = await self._names(backend, prefix)
        for name in names[: -MAX_LOOKS - 1 : -1]:  # tokens sort by time: the newest come first
            sighting = await self.at(backend, name)
            if sighting is not None:
                return sighting
        if len(names) > MAX_LOOKS:
            raise BackendUnavailable(f"{backend.name}: too many names look like {prefix}'s")
        return None

    async def _names(self, backend: IBackend, prefix: str) -> list[str]:
        names: list[str] = []
        after = ""
        for _ in range(MAX_PAGES):
            page = await backend.list_objects(prefix, after, PAGE)
            if not page:
                return names
            names += [listed.name for listed in page if is_token(listed.name[len(prefix) :])]
            after = page[-1].name
        raise BackendUnavailable(f"{backend.name}: too many names begin with {prefix}")


@define(eq=False)
class Broadcast:
    """
    One question to all backends, `at_once` of them at a time.

    With `until_failure` no more are asked once one could not tell. `unanswered` says which
    could not, and why.
    """

    _backends: Backends
    _wanted: Wanted
    _at_once: int
    _until_failure: bool
    unanswered: list[str] = field(init=False, factory=list)
    _sightings: list[Sighting | None] = field(init=False, factory=list)

    async def newest(self) -> Sighting | None:
        """Ask, and return the newest of what was found."""
        backends = self._backends.all()
        await concurrently(min(self._at_once, len(backends)), self._ask, backends)
        return newest(self._sightings)

    async def _ask(self, backend: IBackend) -> None:
        if self.unanswered and self._until_failure:
            return
        try:
            self._sightings.append(await self._wanted.on(backend))
        except BackendError as error:
            self._backends.note(error, backend.name)
            self.unanswered.append(str(error))


def newest(sightings: Sequence[Sighting | None]) -> Sighting | None:
    """Return the one that was written last."""
    return max((seen for seen in sightings if seen is not None), key=lambda seen: seen.age, default=None)
