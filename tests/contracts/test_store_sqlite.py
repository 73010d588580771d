"""The contracts of the ledger, kept by SQLite: with its writer's thread, and without."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from tests.contracts.store_blobs import LifeContract, NamesContract, RoomContract, UsageContract
from tests.contracts.store_kit import LedgerCase, TimedReactor
from tests.contracts.store_marking import MarksContract
from tests.contracts.store_operating import (
    BrowseContract,
    DeadContract,
    LongLooksContract,
    SnapshotContract,
)
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
from tests.contracts.store_versions import (
    BucketsContract,
    CommitContract,
    ListingContract,
    OutboxContract,
)


class Inline(LedgerCase):
    """In memory; everything happens in the caller's turn."""

    def opened(self) -> ILedger:
        return SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open()


class Threaded(LedgerCase):
    """In a file, as a daemon uses it."""

    def opened(self) -> ILedger:
        from twisted.internet import reactor

        return SqliteDatabase(self.mktemp(), TimedReactor(self.clock, reactor)).open()


class InlineNames(Inline, NamesContract, TestCase):
    """Names inline."""


class ThreadedNames(Threaded, NamesContract, TestCase):
    """Names with the thread."""


class InlineRoom(Inline, RoomContract, TestCase):
    """Room inline."""


class ThreadedRoom(Threaded, RoomContract, TestCase):
    """Room with the thread."""


class InlineLife(Inline, LifeContract, TestCase):
    """Life inline."""


class ThreadedLife(Threaded, LifeContract, TestCase):
    """Life with the thread."""


class InlineMarks(Inline, MarksContract, TestCase):
    """Markers inline."""


class ThreadedMarks(Threaded, MarksContract, TestCase):
    """Markers with the thread."""


class InlineUsage(Inline, UsageContract, TestCase):
    """Usage inline."""


class ThreadedUsage(Threaded, UsageContract, TestCase):
    """Usage with the thread."""


class InlineCommit(Inline, CommitContract, TestCase):
    """Commit inline."""


class ThreadedCommit(Threaded, CommitContract, TestCase):
    """Commit with the thread."""


class InlineListing(Inline, ListingContract, TestCase):
    """Listing inline."""


class ThreadedListing(Threaded, ListingContract, TestCase):
    """Listing with the thread."""


class InlineOutbox(Inline, OutboxContract, TestCase):
    """Outbox inline."""


class ThreadedOutbox(Threaded, OutboxContract, TestCase):
    """Outbox with the thread."""


class InlineBuckets(Inline, BucketsContract, TestCase):
    """Buckets inline."""


class ThreadedBuckets(Threaded, BucketsContract, TestCase):
    """Buckets with the thread."""


class InlineParts(Inline, PartsContract, TestCase):
    """Parts inline."""


class ThreadedParts(Threaded, PartsContract, TestCase):
    """Parts with the thread."""


class InlineAbort(Inline, AbortContract, TestCase):
    """Abort inline."""


class ThreadedAbort(Threaded, AbortContract, TestCase):
    """Abort with the thread."""


class InlineComplete(Inline, CompleteContract, TestCase):
    """Complete inline."""


class ThreadedComplete(Threaded, CompleteContract, TestCase):
    """Complete with the thread."""


class InlineUploadsListing(Inline, UploadsListingContract, TestCase):
    """UploadsListing inline."""


class ThreadedUploadsListing(Threaded, UploadsListingContract, TestCase):
    """UploadsListing with the thread."""


class InlineMonthly(Inline, MonthlyContract, TestCase):
    """Monthly usage inline."""


class ThreadedMonthly(Threaded, MonthlyContract, TestCase):
    """Monthly usage with the thread."""


class InlineRaces(Inline, RacesContract, TestCase):
    """Races inline, where there are none."""


class ThreadedRaces(Threaded, RacesContract, TestCase):
    """Races with the thread."""


class InlineLease(Inline, LeaseContract, TestCase):
    """Leases inline."""


class ThreadedLease(Threaded, LeaseContract, TestCase):
    """Leases with the thread."""


class InlineReap(Inline, ReapContract, TestCase):
    """The reaper inline."""


class ThreadedReap(Threaded, ReapContract, TestCase):
    """The reaper with the thread."""


class InlineTakingOver(Inline, TakingOverContract, TestCase):
    """Taking over inline."""


class ThreadedTakingOver(Threaded, TakingOverContract, TestCase):
    """Taking over with the thread."""


class InlineHandingBack(Inline, HandingBackContract, TestCase):
    """Handing back inline."""


class ThreadedHandingBack(Threaded, HandingBackContract, TestCase):
    """Handing back with the thread."""


class InlineSuspect(Inline, SuspectContract, TestCase):
    """Suspects inline."""


class ThreadedSuspect(Threaded, SuspectContract, TestCase):
    """Suspects with the thread."""


class InlineDead(Inline, DeadContract, TestCase):
    """Dead inline."""


class ThreadedDead(Threaded, DeadContract, TestCase):
    """Dead with the thread."""


class InlineBrowse(Inline, BrowseContract, TestCase):
    """Browse inline."""


class ThreadedBrowse(Threaded, BrowseContract, TestCase):
    """Browse with the thread."""


class InlineSnapshot(Inline, SnapshotContract, TestCase):
    """Snapshot inline."""


class ThreadedSnapshot(Threaded, SnapshotContract, TestCase):
    """Snapshot with the thread."""


class ThreadedLongLooks(Threaded, LongLooksContract, TestCase):
    """Long looks with the thread."""
