"""The contracts of the ledger, kept for a process that reads it itself and has another one write."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from s3orchestrator.domain.records import Usage
from s3orchestrator.store.operations import ILedger
from s3orchestrator.workers.link import FailedElsewhere
from tests.contracts.store_blobs import LifeContract, NamesContract, RoomContract, UsageContract
from tests.contracts.store_kit import LedgerCase
from tests.contracts.store_linked import Linked, Parent
from tests.contracts.store_marking import MarksContract
from tests.contracts.store_operating import BrowseContract, DeadContract, LongLooksContract, SnapshotContract
from tests.contracts.store_owners import (
    HandingBackContract,
    LeaseContract,
    ReapContract,
    SuspectContract,
    TakingOverContract,
)
from tests.contracts.store_races import RacesContract
from tests.contracts.store_uploads import (
    AbortContract,
    CompleteContract,
    PartsContract,
    UploadsListingContract,
)
from tests.contracts.store_usage import MonthlyContract
from tests.contracts.store_versions import BucketsContract, CommitContract, ListingContract

LONG = 1e6  # seconds; nobody renews this one


class LinkedCase(LedgerCase):
    """A child's ledger; another instance is another child's."""

    async def opened(self) -> ILedger:
        from twisted.internet import reactor

        self.parent = Parent(self.mktemp(), self.clock, reactor)
        return await self.parent.child(LONG)

    async def another(self) -> Linked:
        return await self.parent.child()


class LinkedNames(LinkedCase, NamesContract, TestCase):
    """Names."""


class LinkedRoom(LinkedCase, RoomContract, TestCase):
    """Room."""


class LinkedLife(LinkedCase, LifeContract, TestCase):
    """Life."""


class LinkedMarks(LinkedCase, MarksContract, TestCase):
    """Markers."""


class LinkedUsage(LinkedCase, UsageContract, TestCase):
    """Usage."""


class LinkedCommit(LinkedCase, CommitContract, TestCase):
    """Commit."""

    async def test_more_than_reserved(self) -> None:
        """
        Nobody stores more than was set aside. Whose mistake it was the other process's log tells.
        """
        blob = await self.kit.reserve(self.bucket, "k", 10)
        with self.assertRaises(FailedElsewhere):
            await self.kit.commit(self.bucket, blob, size=11)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 10, 0, None))


class LinkedListing(LinkedCase, ListingContract, TestCase):
    """Listing."""


class LinkedBuckets(LinkedCase, BucketsContract, TestCase):
    """Buckets."""


class LinkedParts(LinkedCase, PartsContract, TestCase):
    """Parts."""


class LinkedAbort(LinkedCase, AbortContract, TestCase):
    """Abort."""


class LinkedComplete(LinkedCase, CompleteContract, TestCase):
    """Complete."""


class LinkedUploadsListing(LinkedCase, UploadsListingContract, TestCase):
    """Listing of uploads."""


class LinkedMonthly(LinkedCase, MonthlyContract, TestCase):
    """Monthly usage."""


class LinkedRaces(LinkedCase, RacesContract, TestCase):
    """Races."""


class LinkedLease(LinkedCase, LeaseContract, TestCase):
    """Leases."""


class LinkedReap(LinkedCase, ReapContract, TestCase):
    """The reaper."""


class LinkedTakingOver(LinkedCase, TakingOverContract, TestCase):
    """Taking over."""


class LinkedHandingBack(LinkedCase, HandingBackContract, TestCase):
    """Handing back."""


class LinkedSuspect(LinkedCase, SuspectContract, TestCase):
    """Suspects."""


class LinkedDead(LinkedCase, DeadContract, TestCase):
    """The dead."""


class LinkedBrowse(LinkedCase, BrowseContract, TestCase):
    """Browsing."""


class LinkedSnapshot(LinkedCase, SnapshotContract, TestCase):
    """Snapshots."""


class LinkedLongLooks(LinkedCase, LongLooksContract, TestCase):
    """Long looks."""
