"""
The ports: what the engine asks for, and what adapters provide.

The engine (`objects`) knows roles, never products. Each interface has a contract suite in
`tests/contracts`, run on every provider. All methods that wait are coroutines; anything
awaited here may be cancelled unless the docstring says it must be shielded.
"""

from __future__ import annotations

from s3orchestrator.interfaces.backends import (
    Description,
    Fetched,
    Found,
    IBackend,
    ICounters,
    ICountsRequests,
    IStanding,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.interfaces.bodies import Filter
from s3orchestrator.interfaces.database import IDatabase, ILease, ILocks, ITransaction, Row
from s3orchestrator.interfaces.owning import IMarks, IOwnership, IRestoring, Outcome, Sighted
from s3orchestrator.interfaces.roles import IBlobs, IBrowse, IBuckets, IUploads, IUsageLedger, IVersions

__all__ = [
    "Description",
    "Fetched",
    "Filter",
    "Found",
    "IBackend",
    "IBlobs",
    "IBrowse",
    "IBuckets",
    "ICounters",
    "ICountsRequests",
    "IDatabase",
    "ILease",
    "ILocks",
    "IMarks",
    "IOwnership",
    "IRestoring",
    "IStanding",
    "ITransaction",
    "IUploads",
    "IUsageLedger",
    "IVersions",
    "ListedObject",
    "ListedUpload",
    "Outcome",
    "Row",
    "Sighted",
    "Stored",
    "Traits",
]
