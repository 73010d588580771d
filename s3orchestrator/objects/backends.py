"""The configured backends, by name, with who is to be preferred just now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.domain.fleet import Fleet
from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendError, BackendUnavailable
from s3orchestrator.interfaces import IBackend, IBlobs, Traits
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.telemetry.logging import make_logger

# How long a backend that failed is asked last: long enough that a burst of requests does
# not wait for each of its timeouts, short enough to notice its recovery without being told.
FAILING_FOR = 10.0


@define(eq=False)
class Backends:
    """
    Finds backends for the engine.

    A backend the ledger knows but the configuration does not is unavailable, never
    missing: its blobs stay until the operator brings it back or removes it.
    """

    log = make_logger()
    _fleet: Fleet
    _by_name: Mapping[str, IBackend]
    _blobs: IBlobs
    _clock: IReactorTime
    _failed_at: dict[str, float] = Factory(dict)

    def __getitem__(self, name: str) -> IBackend:
        try:
            return self._by_name[name]
        except KeyError:
            raise BackendUnavailable(f"{name}: not in the configuration", sent=False) from None

    def traits_of(self, name: str) -> Traits:
        """What is known of a backend; nothing is relied on before it has been probed."""
        backend = self._by_name.get(name)
        return (backend.traits if backend else None) or Traits(exact_names=False, md5_etags=False)

    def all(self) -> Sequence[IBackend]:
        """Every configured backend, in the configuration's order."""
        return list(self._by_name.values())

    async def writable(self, size: int) -> list[str]:
        """Return who may take `size` bytes, best first; whether there is room is the ledger's to say."""
        usage = {}
        if self._fleet.needs_usage:
            usage = {known.backend: known for known in await self._blobs.usage()}
        return self._fleet.writable(size, usage=usage, failing=self._failing())

    async def writable_for_parts(self) -> list[str]:
        """
        Return who may take an upload of unknown size, best first.

        Backends that limit the size of an object come last: nobody knows yet how large it will be.
        """
        limits = {member.name: member.max_object_size for member in self._fleet.members}
        return sorted(await self.writable(0), key=lambda name: limits[name] > 0)

    def check_size(self, name: str, size: int) -> None:
        """
        Refuse an object, or a part of one, that is larger than its backend takes.

        :raises S3Error: `EntityTooLarge`; an upload cannot go to another backend any more.
        """
        for member in self._fleet.members:
            if member.name == name and 0 < member.max_object_size < size:
                raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=member.max_object_size)

    def readable(self, blobs: Sequence[Blob]) -> list[Blob]:
        """Return the copies worth trying, best first."""
        return list(blobs) if len(blobs) == 1 else self._fleet.readable(blobs, failing=self._failing())

    def note(self, error: BackendError, name: str) -> None:
        """Remember a failure, unless it was an answer: whoever says no is there."""
        if not error.answered:
            if name not in self._failing():
                self.log.warn("{backend} is asked last for a while: {error}", backend=name, error=str(error))
            self.failed(name)

    def failed(self, name: str) -> None:
        """Ask this backend last for a while."""
        self._failed_at[name] = self._clock.seconds()

    def _failing(self) -> set[str]:
        if not self._failed_at:
            return set()
        horizon = self._clock.seconds() - FAILING_FOR
        self._failed_at = {name: at for name, at in self._failed_at.items() if at > horizon}
        return set(self._failed_at)
