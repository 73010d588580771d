"""
Sections of what goes on in the background: moving, copying, deleting, comparing and checking what is stored.

Those whose feature is not there yet are declared all the same, so that a file that has them switched off is
accepted and one that counts on them is not.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from s3orchestrator.config.scalars import Duration, parse_duration
from s3orchestrator.config.settings import (
    NotBuilt,
    at_least,
    between,
    more_than,
    required,
    setting,
    several,
    strictly_between,
)

PLACEMENTS = Literal["pack", "spread"]


@frozen(kw_only=True)
class RebalanceConfig:
    """Moving objects between backends, to even storage out or to pack it."""

    enabled: bool = setting(
        False, reloadable=True, built=NotBuilt("rebalancing"), doc="Costs egress; off until asked for."
    )
    strategy: PLACEMENTS = setting(
        "pack", reloadable=True, doc="What to move towards; as ``routing_strategy``."
    )
    interval: Duration = setting(
        parse_duration("6h"), reloadable=True, zero_is_default=True, doc="Time between runs."
    )
    batch_size: int = setting(
        100, check=at_least(1), reloadable=True, zero_is_default=True, doc="Objects moved in one run at most."
    )
    threshold: float = setting(
        0.1,
        check=between(0, 1),
        reloadable=True,
        doc="How far apart the fill of two backends must be before anything moves.",
    )
    concurrency: int = setting(
        5, check=at_least(1), reloadable=True, zero_is_default=True, doc="Moves at a time."
    )


@frozen(kw_only=True)
class ReplicationConfig:
    """Keeping several copies of each object, on different backends."""

    factor: int = setting(
        1,
        check=at_least(1),
        reloadable=True,
        zero_is_default=True,
        built=NotBuilt("replication", off=1),
        doc="Copies of each object; at most one per backend.",
    )
    worker_interval: Duration = setting(
        parse_duration("5m"), reloadable=True, zero_is_default=True, doc="Time between runs."
    )
    batch_size: int = setting(
        50, check=at_least(1), reloadable=True, zero_is_default=True, doc="Objects copied in one run at most."
    )
    concurrency: int = setting(
        5, check=at_least(1), reloadable=True, zero_is_default=True, doc="Copies at a time."
    )
    unhealthy_threshold: Duration = setting(
        parse_duration("10m"),
        reloadable=True,
        zero_is_default=True,
        doc="How long a backend may be away before its copies are replaced.",
    )


@frozen(kw_only=True)
class CleanupQueueConfig:
    """Deleting from the backends what no version needs any more."""

    concurrency: int = setting(
        10, check=at_least(1), zero_is_default=True, doc="Deletions at a time, on each backend."
    )
    multipart_stale_timeout: Duration = setting(
        parse_duration("24h"),
        zero_is_default=True,
        idle="multipart.stale_after replaces it",
        doc="Older name of ``multipart.stale_after``, which counts from the last part, not the start.",
    )
    claim_grace_period: Duration = setting(
        parse_duration("5m"),
        zero_is_default=True,
        doc="After this long without a sign of life of an instance, others may take over what it was doing.",
    )


@frozen(kw_only=True)
class UsageFlushConfig:
    """Writing the monthly usage counters to the ledger."""

    interval: Duration = setting(
        parse_duration("30s"),
        reloadable=True,
        zero_is_default=True,
        doc="Time between writes.",
    )
    adaptive_enabled: bool = setting(
        False,
        reloadable=True,
        doc="Write more often while a backend is close to a limit.",
    )
    adaptive_threshold: float = setting(
        0.8,
        check=strictly_between(0, 1),
        reloadable=True,
        doc="How much of a limit must be used up to count as close.",
    )
    fast_interval: Duration = setting(
        parse_duration("5s"),
        reloadable=True,
        zero_is_default=True,
        doc="Time between writes while close; shorter than ``interval``.",
    )


@frozen(kw_only=True)
class LifecycleRule:
    """Objects to delete when they are old enough."""

    prefix: str = required(reloadable=True, example="tmp/", doc="What their keys start with; once per list.")
    expiration_days: int = required(
        reloadable=True, check=more_than(0), example="7", doc="Age at which they are deleted, in days."
    )


@frozen(kw_only=True)
class LifecycleConfig:
    """Deleting objects by age."""

    rules: tuple[LifecycleRule, ...] = several(
        reloadable=True,
        built=NotBuilt("lifecycle rules", off=(), instead="empty the list"),
        doc="One per prefix.",
    )
    batch_size: int = setting(
        100,
        check=at_least(1),
        reloadable=True,
        zero_is_default=True,
        doc="Objects deleted in one run at most.",
    )


@frozen(kw_only=True)
class ReconcileConfig:
    """Comparing what the backends hold with what the ledger says."""

    enabled: bool = setting(
        False, built=NotBuilt("reconciling in the background"), doc="Lists every backend in full."
    )
    interval: Duration = setting(parse_duration("24h"), zero_is_default=True, doc="Time between runs.")


@frozen(kw_only=True)
class IntegrityConfig:
    """Knowing the SHA-256 of every object, and checking it."""

    enabled: bool = setting(
        False, reloadable=True, built=NotBuilt("integrity checking"), doc="Hash objects as they are written."
    )
    verify_on_read: bool = setting(False, reloadable=True, doc="Check while an object is read.")
    verify_on_replicate: bool = setting(True, reloadable=True, doc="Check while a copy is made.")
    scrubber_interval: Duration = setting(
        0.0, reloadable=True, doc="Time between checks of a batch; 0 for never."
    )
    scrubber_batch_size: int = setting(
        100,
        check=at_least(1),
        reloadable=True,
        zero_is_default=True,
        doc="Objects checked in one run at most.",
    )
