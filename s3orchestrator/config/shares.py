"""
Which part of a limit each of several processes has that serve the same clients.

Nobody is asked whether others have room: a request would wait for the answer. So a limit is kept as a whole
when clients are spread evenly, and one that meets a single process hears no as if it were that much lower.
"""

from __future__ import annotations

from attrs import evolve

from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.sections import Config


def part_of(limit: int, share: int) -> int:
    """
    Return one of `share` parts of a number of things, at least 1.

    Rounded up: together they are never less than the limit, and never more than `share - 1` above it.
    """
    return max(1, -(-limit // share))


def part_of_rate(limit: RateLimitConfig, share: int) -> RateLimitConfig:
    """Return one of `share` parts of a rate; a burst is a number of requests, the rate need not be whole."""
    if share == 1:
        return limit
    return evolve(limit, requests_per_sec=limit.requests_per_sec / share, burst=part_of(limit.burst, share))


def with_part_of_pool(config: Config, share: int) -> Config:
    """
    Return a configuration with one of `share` parts of the connections to the database.

    At least two, if there were to be so many: one may have to wait for what another does.
    """
    database = config.database
    most = max(min(2, database.max_conns), part_of(database.max_conns, share))
    least = min(most, -(-database.min_conns // share))
    return evolve(config, database=evolve(database, max_conns=most, min_conns=least))
