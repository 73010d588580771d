"""The configured backends, by name, with who is to be preferred just now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import Factory, define, field
from prometheus_client import Counter
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from s3orchestrator.domain.fleet import Fleet
from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendError, BackendUnavailable, BackendWithheld, UsageLimitExceeded
from s3orchestrator.interfaces import IBackend, IBlobs, IOwnership, IStanding, Traits
from s3orchestrator.objects.owners import Unowned
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.telemetry.logging import make_logger

# How long a backend that failed is asked last: long enough that a burst of requests does
# not wait for each of its timeouts, short enough to notice its recovery without being told.
FAILING_FOR = 10.0

REJECTIONS = Counter(
    "s3o_usage_limit_rejections_total",
    "Requests refused because monthly limits leave no backend for them.",
    ["operation", "limit_type"],
)
for _limited in (
    ("PutObject", "write"),
    ("CreateMultipartUpload", "write"),
    ("UploadPart", "write"),
    ("GetObject", "read"),
):
    REJECTIONS.labels(*_limited)
FAILOVERS = Counter(
    "s3o_write_failover_total",
    "Writes that another backend took after one had failed.",
    ["operation", "failed_backend", "success_backend"],
)


@implementer(IStanding)
@define(eq=False)
class Unguarded:
    """The standing of backends that have neither breakers nor limits."""

    def may_write(self, name: str, size: int) -> bool:
        """Always."""
        return True

    def may_read(self, name: str, size: int) -> bool:
        """Always."""
        return True

    def is_failing(self, name: str) -> bool:
        """Never."""
        return False


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
    standing: IStanding = Factory(Unguarded)
    ownership: IOwnership = field(factory=Unowned, kw_only=True)
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

    def is_left_out(self, name: str) -> bool:
        """Tell whether nobody need ask it to take something: it is left alone, or not known to be ours."""
        return self.standing.is_failing(name) or self.ownership.is_shut(name)

    async def writable(self, size: int, operation: str = "PutObject") -> list[str]:
        """
        Return who may take `size` bytes, best first; whether there is room is the ledger's to say.

        A backend that is left alone is not among them, unless it is time for somebody to try it.

        :raises UsageLimitExceeded: the monthly limits leave nobody.
        :raises BackendUnavailable: whoever is left by the limits is being left alone.
        """
        fitting = self._fleet.fitting(size)
        used_up = {name for name in fitting if not self.standing.may_write(name, size)}
        if fitting and len(used_up) == len(fitting):
            raise self.rejected(_used_up(writing=True), operation)
        left_out = {name for name in fitting if self.is_left_out(name)}
        if not (used_up or left_out or self._failed_at or self._fleet.needs_usage):
            return self._fleet.writable(size)
        without = used_up | left_out
        if len(without) == len(fitting) and (left_alone := self.left_alone(size)) is not None:
            raise left_alone
        usage = {}
        if self._fleet.needs_usage:
            usage = {known.backend: known for known in await self._blobs.usage()}
        return self._fleet.writable(size, usage=usage, failing=self._failing(), without=without)

    def left_alone(self, size: int) -> BackendUnavailable | None:
        """
        Tell why somebody who might take `size` bytes is not asked; None if everybody is.

        Where the others have no room, this is the reason, and not that storage is full.
        """
        names = [
            name
            for name in self._fleet.fitting(size)
            if self.is_left_out(name) and self.standing.may_write(name, size)
        ]
        if not names:
            return None
        shut = [name for name in names if self.ownership.is_shut(name)]
        if shut:
            return BackendWithheld(f"{', '.join(shut)}: not known to be this ledger's")
        return BackendUnavailable(f"{', '.join(names)}: left alone after failures", sent=False)

    async def writable_for_parts(self) -> list[str]:
        """
        Return who may take an upload of unknown size, best first.

        Backends that limit the size of an object come last: nobody knows yet how large it will be.
        """
        limits = {member.name: member.max_object_size for member in self._fleet.members}
        writable = await self.writable(0, "CreateMultipartUpload")
        return sorted(writable, key=lambda name: limits[name] > 0)

    def copyable(self, blobs: Sequence[Blob], size: int) -> list[Blob]:
        """Return the copies that their own backends may copy, best first: that costs a call, and no bytes."""
        fitting = self._fleet.fitting(size)
        without = {
            blob.backend
            for blob in blobs
            if blob.backend not in fitting
            or self.is_left_out(blob.backend)
            or not self.standing.may_write(blob.backend, 0)
        }
        return self._fleet.readable(blobs, failing=self._failing(), without=without)

    def check_size(self, name: str, size: int) -> None:
        """
        Refuse an object, or a part of one, that is larger than its backend takes.

        :raises S3Error: `EntityTooLarge`; an upload cannot go to another backend any more.
        """
        for member in self._fleet.members:
            if member.name == name and 0 < member.max_object_size < size:
                raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=member.max_object_size)

    def check_usage(self, name: str, size: int, operation: str) -> None:
        """
        Refuse what can only go to one backend when its monthly limits do not allow it.

        :raises UsageLimitExceeded: so it is.
        """
        if not self.standing.may_write(name, size):
            raise self.rejected(_used_up(writing=True), operation)

    def readable(self, blobs: Sequence[Blob], size: int = 0) -> list[Blob]:
        """
        Return the copies worth trying for `size` bytes, best first.

        Backends that are left alone come last: they refuse at once.

        :raises UsageLimitExceeded: the monthly limits leave none.
        """
        used_up = {blob.backend for blob in blobs if not self.standing.may_read(blob.backend, size)}
        if used_up and all(blob.backend in used_up for blob in blobs):
            raise self.rejected(_used_up(writing=False), "GetObject")
        if len(blobs) == 1:
            return list(blobs)
        return self._fleet.readable(blobs, failing=self._failing(), without=used_up)

    def rejected(self, error: UsageLimitExceeded, operation: str) -> UsageLimitExceeded:
        """Count a request that ends in `error`; returns it."""
        REJECTIONS.labels(operation, "write" if error.writing else "read").inc()
        return error

    def took_over(self, operation: str, failed: Sequence[str], name: str) -> None:
        """Count a write that `name` took after others had failed."""
        for backend in failed:
            FAILOVERS.labels(operation, backend, name).inc()

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
        failing = {name for name in self._by_name if self.is_left_out(name)}
        if self._failed_at:
            horizon = self._clock.seconds() - FAILING_FOR
            self._failed_at = {name: at for name, at in self._failed_at.items() if at > horizon}
            failing.update(self._failed_at)
        return failing


def _used_up(*, writing: bool) -> UsageLimitExceeded:
    return UsageLimitExceeded("no backend may be used any more this month", writing=writing)
