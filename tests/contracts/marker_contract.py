"""What the marker of a ledger meets on every backend; a part of the backend contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

from s3orchestrator.domain.owning import MARKER, Standing
from s3orchestrator.errors import NoSuchBlob
from s3orchestrator.interfaces import IBackend
from s3orchestrator.objects.checking import BackendChecker
from s3orchestrator.objects.owning import Owner, fetch_marker
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.marking import Marks
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.testing.harness import NOW, LedgerInMemory

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object


class Impatient:
    """A clock on which nobody waits longer than a turn of the reactor."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor

    def seconds(self) -> float:
        """The time."""
        return float(self._reactor.seconds())

    def callLater(self, delay: float, *call: Any) -> Any:
        """Call next."""
        return self._reactor.callLater(0, *call)


class MarkerContract(_Base):
    """Tests for a `TestCase` with a `backend`."""

    backend: IBackend

    def ledger(self, image: bytes | None = None) -> LedgerInMemory:
        clock = Clock()
        clock.advance(NOW)
        ledger = LedgerInMemory(clock, image)
        ledger.open()
        return ledger

    async def kept(self, ledger: LedgerInMemory) -> Owner:
        """A process on a ledger, that has looked at the backend."""
        blobs = Blobs(ledger, traits_of=lambda name: None, quiet_period=3600)
        owner = Owner(
            self.backend,
            ledger.ledger_id,
            Marks(ledger),
            blobs,
            ledger.locks,
            Impatient(),
            3600,
            False,
        )
        await owner.keep()
        return owner

    async def test_marker(self) -> None:
        """It is made once, found again, and raised by each process; only its ledger may change things."""
        ledger = self.ledger()
        for number in (1, 2):
            owner = await self.kept(ledger)
            self.assertIs(owner.verdict.standing, Standing.OURS)
            marker = await fetch_marker(self.backend)
            assert marker is not None
            self.assertEqual((marker.ledger, marker.number), (ledger.ledger_id, number))
        other = await self.kept(self.ledger())
        self.assertIs(other.verdict.standing, Standing.FOREIGN)
        self.assertEqual(await fetch_marker(self.backend), marker)

    async def test_marker_is_no_object(self) -> None:
        """It is listed as any object is, and nobody takes it for a stray."""
        ledger = self.ledger()
        await self.kept(ledger)
        self.assertEqual([listed.name for listed in await self.backend.list_objects()], [MARKER])
        blobs = Blobs(ledger, traits_of=lambda name: None, quiet_period=3600)
        checker = BackendChecker(blobs, Uploads(ledger, traits_of=lambda name: None), Impatient())
        self.assertEqual([finding async for finding in checker.check(self.backend)], [])

    async def test_marker_is_missed(self) -> None:
        """One that is gone is not made anew."""
        ledger = self.ledger()
        await self.kept(ledger)
        await self.backend.delete(MARKER)
        owner = await self.kept(ledger)
        self.assertIs(owner.verdict.standing, Standing.ABSENT)
        with self.assertRaises(NoSuchBlob):
            await self.backend.head(MARKER)

    async def test_marker_of_a_later_ledger(self) -> None:
        """An older ledger sees that it is behind, and catches up."""
        ledger = self.ledger()
        await self.kept(ledger)
        restored = self.ledger(ledger.image())
        await self.kept(ledger)
        owner = await self.kept(restored)
        self.assertIs(owner.verdict.standing, Standing.BEHIND)
        await owner.catch_up()
        self.assertIs(owner.verdict.standing, Standing.OURS)
