"""The contracts of the ledger, kept by PostgreSQL: where text sorts by bytes, and where it does not."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from s3orchestrator.store.operations import ILedger
from tests.contracts.store_blobs import LifeContract, NamesContract, RoomContract, UsageContract
from tests.contracts.store_kit import LedgerCase
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


class Bytewise(LedgerCase):
    """In a database of locale C."""

    async def opened(self) -> ILedger:
        return await ledger(self.clock).open()


class Icu(LedgerCase):
    """In a database that sorts as people do."""

    async def opened(self) -> ILedger:
        return await ledger(self.clock, "icu").open()


class BytewiseNames(Bytewise, NamesContract, TestCase):
    """Names bytewise."""


class IcuNames(Icu, NamesContract, TestCase):
    """Names as people sort."""


class BytewiseRoom(Bytewise, RoomContract, TestCase):
    """Room bytewise."""


class IcuRoom(Icu, RoomContract, TestCase):
    """Room as people sort."""


class BytewiseLife(Bytewise, LifeContract, TestCase):
    """Life bytewise."""


class IcuLife(Icu, LifeContract, TestCase):
    """Life as people sort."""


class BytewiseUsage(Bytewise, UsageContract, TestCase):
    """Usage bytewise."""


class IcuUsage(Icu, UsageContract, TestCase):
    """Usage as people sort."""


class BytewiseCommit(Bytewise, CommitContract, TestCase):
    """Commit bytewise."""


class IcuCommit(Icu, CommitContract, TestCase):
    """Commit as people sort."""


class BytewiseListing(Bytewise, ListingContract, TestCase):
    """Listing bytewise."""


class IcuListing(Icu, ListingContract, TestCase):
    """Listing as people sort."""


class BytewiseOutbox(Bytewise, OutboxContract, TestCase):
    """Outbox bytewise."""


class IcuOutbox(Icu, OutboxContract, TestCase):
    """Outbox as people sort."""


class BytewiseBuckets(Bytewise, BucketsContract, TestCase):
    """Buckets bytewise."""


class IcuBuckets(Icu, BucketsContract, TestCase):
    """Buckets as people sort."""


class BytewiseParts(Bytewise, PartsContract, TestCase):
    """Parts bytewise."""


class IcuParts(Icu, PartsContract, TestCase):
    """Parts as people sort."""


class BytewiseAbort(Bytewise, AbortContract, TestCase):
    """Abort bytewise."""


class IcuAbort(Icu, AbortContract, TestCase):
    """Abort as people sort."""


class BytewiseComplete(Bytewise, CompleteContract, TestCase):
    """Complete bytewise."""


class IcuComplete(Icu, CompleteContract, TestCase):
    """Complete as people sort."""


class BytewiseUploadsListing(Bytewise, UploadsListingContract, TestCase):
    """UploadsListing bytewise."""


class IcuUploadsListing(Icu, UploadsListingContract, TestCase):
    """UploadsListing as people sort."""


class BytewiseMonthly(Bytewise, MonthlyContract, TestCase):
    """Monthly usage bytewise."""


class IcuMonthly(Icu, MonthlyContract, TestCase):
    """Monthly usage as people sort."""


class BytewiseRaces(Bytewise, RacesContract, TestCase):
    """Races bytewise."""


class IcuRaces(Icu, RacesContract, TestCase):
    """Races as people sort."""
