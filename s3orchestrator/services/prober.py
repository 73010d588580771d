"""Finding out what backends can be relied on for, also those that were away at start."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.concurrency import concurrently
from s3orchestrator.domain.records import Blob, BlobState
from s3orchestrator.errors import BackendError
from s3orchestrator.interfaces import IBackend, IBlobs
from s3orchestrator.objects.backends import Backends
from s3orchestrator.objects.cleaning import Cleaner
from s3orchestrator.telemetry.logging import make_logger

AT_ONCE = 8
FIRST_DELAY = 60.0
LONGEST_DELAY = 600.0


@define(eq=False)
class Prober:
    """
    Probes backends whose traits are not known; until then they get only names of our own making.

    A backend's two names are used again until its probe succeeds. What is left of a last
    attempt, also one that was cancelled, is the next start's to clean up.
    """

    log = make_logger()
    _backends: Backends
    _blobs: IBlobs
    _cleaner: Cleaner
    _clock: IReactorTime
    _delays: dict[str, float] = field(init=False, default=Factory(dict))
    _not_before: dict[str, float] = field(init=False, default=Factory(dict))
    _tried: dict[str, Sequence[Blob]] = field(init=False, default=Factory(dict))

    async def run_once(self) -> None:
        """Probe those that are due; one that fails is probed again later, with more patience each time."""
        now = self._clock.seconds()
        due = [
            backend
            for backend in self._backends.all()
            if backend.traits is None and self._not_before.get(backend.name, 0.0) <= now
        ]
        await concurrently(AT_ONCE, self._probe, due)

    async def _probe(self, backend: IBackend) -> None:
        tried = await self._still_ours(self._tried.get(backend.name, ()))
        scratch = tried or await self._blobs.reserve_scratch(backend.name)
        # From now on what is on the backend under these names may be of this attempt, whatever becomes of it.
        self._tried[backend.name] = scratch
        try:
            for blob in tried:
                await backend.delete(blob.name)
            traits = await backend.probe([blob.name for blob in scratch])
        except BackendError as error:
            self._wait_longer(backend.name)
            self.log.warn("{backend} cannot be used yet: {error}", backend=backend.name, error=str(error))
            return
        self.log.info("{backend}: {traits}", backend=backend.name, traits=str(traits))
        del self._tried[backend.name]
        # A name was written several times: where versions are kept, deleting it is not the end of it.
        for blob in scratch:
            self._cleaner.abandon(blob, unclear=True)

    async def _still_ours(self, tried: Sequence[Blob]) -> Sequence[Blob]:
        """The names may be used again, unless others have taken them for left behind meanwhile."""
        for blob in tried:
            held = await self._blobs.by_name(blob.backend, blob.name)
            if held is None or held.id != blob.id or held.state is not BlobState.PENDING:
                return ()
        return tried

    def _wait_longer(self, name: str) -> None:
        delay = self._delays.get(name, FIRST_DELAY)
        self._not_before[name] = self._clock.seconds() + delay
        self._delays[name] = min(2 * delay, LONGEST_DELAY)
