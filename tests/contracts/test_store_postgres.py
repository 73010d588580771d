"""The contracts of the ledger, kept by PostgreSQL: where text sorts by bytes, and where it does not."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from s3orchestrator.concurrency import start
from s3orchestrator.store.operations import ILedger
from tests.contracts.store_blobs import LifeContract, NamesContract, RoomContract, UsageContract
from tests.contracts.store_kit import LedgerCase
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
from tests.contracts.store_postgres import ledger
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
from tests.servers import postgres


class Bytewise(LedgerCase, TestCase):
    """In a database of its own that sorts text by bytes; another instance has connections of its own."""

    locale = "c"

    async def opened(self) -> ILedger:
        self.database = postgres().database(self.locale)
        self.addCleanup(postgres().drop, self.database)
        return await ledger(self.clock, database=self.database).open()

    async def another(self) -> ILedger:
        another = await ledger(self.clock, database=self.database).open()
        self.addCleanup(lambda: start(another.close()))
        return another


class Icu(Bytewise):
    """Where text sorts as people do."""

    locale = "icu"


class BytewiseNames(Bytewise, NamesContract):
    """Names bytewise."""


class IcuNames(Icu, NamesContract):
    """Names as people sort."""


class BytewiseRoom(Bytewise, RoomContract):
    """Room bytewise."""


class IcuRoom(Icu, RoomContract):
    """Room as people sort."""


class BytewiseLife(Bytewise, LifeContract):
    """Life bytewise."""


class IcuLife(Icu, LifeContract):
    """Life as people sort."""


class BytewiseMarks(Bytewise, MarksContract):
    """Markers bytewise."""


class BytewiseUsage(Bytewise, UsageContract):
    """Usage bytewise."""


class IcuUsage(Icu, UsageContract):
    """Usage as people sort."""


class BytewiseCommit(Bytewise, CommitContract):
    """Commit bytewise."""


class IcuCommit(Icu, CommitContract):
    """Commit as people sort."""


class BytewiseListing(Bytewise, ListingContract):
    """Listing bytewise."""


class IcuListing(Icu, ListingContract):
    """Listing as people sort."""


class BytewiseOutbox(Bytewise, OutboxContract):
    """Outbox bytewise."""


class IcuOutbox(Icu, OutboxContract):
    """Outbox as people sort."""


class BytewiseBuckets(Bytewise, BucketsContract):
    """Buckets bytewise."""


class IcuBuckets(Icu, BucketsContract):
    """Buckets as people sort."""


class BytewiseParts(Bytewise, PartsContract):
    """Parts bytewise."""


class IcuParts(Icu, PartsContract):
    """Parts as people sort."""


class BytewiseAbort(Bytewise, AbortContract):
    """Abort bytewise."""


class IcuAbort(Icu, AbortContract):
    """Abort as people sort."""


class BytewiseComplete(Bytewise, CompleteContract):
    """Complete bytewise."""


class IcuComplete(Icu, CompleteContract):
    """Complete as people sort."""


class BytewiseUploadsListing(Bytewise, UploadsListingContract):
    """UploadsListing bytewise."""


class IcuUploadsListing(Icu, UploadsListingContract):
    """UploadsListing as people sort."""


class BytewiseMonthly(Bytewise, MonthlyContract):
    """Monthly usage bytewise."""


class IcuMonthly(Icu, MonthlyContract):
    """Monthly usage as people sort."""


class BytewiseRaces(Bytewise, RacesContract):
    """Races bytewise."""


class IcuRaces(Icu, RacesContract):
    """Races as people sort."""


class BytewiseLease(Bytewise, LeaseContract):
    """Leases bytewise."""


class BytewiseReap(Bytewise, ReapContract):
    """The reaper bytewise."""


class BytewiseTakingOver(Bytewise, TakingOverContract):
    """Taking over bytewise."""


class BytewiseHandingBack(Bytewise, HandingBackContract):
    """Handing back bytewise."""


class BytewiseSuspect(Bytewise, SuspectContract):
    """Suspects bytewise."""


class BytewiseDead(Bytewise, DeadContract):
    """Dead bytewise."""


class IcuDead(Icu, DeadContract):
    """Dead as people sort."""


class BytewiseBrowse(Bytewise, BrowseContract):
    """Browse bytewise."""


class IcuBrowse(Icu, BrowseContract):
    """Browse as people sort."""


class BytewiseSnapshot(Bytewise, SnapshotContract):
    """Snapshot bytewise."""


class IcuSnapshot(Icu, SnapshotContract):
    """Snapshot as people sort."""


class BytewiseLongLooks(Bytewise, LongLooksContract):
    """Long looks bytewise."""

    endless_statement = "SELECT pg_sleep(600)"


class IcuLongLooks(Icu, LongLooksContract):
    """Long looks as people sort."""

    endless_statement = "SELECT pg_sleep(600)"
