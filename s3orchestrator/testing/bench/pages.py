"""Listing a page out of a million keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import cycle

from attrs import frozen

from s3orchestrator.protocol.canonical import encoded_query
from s3orchestrator.testing.bench.filling import fill, key_of
from s3orchestrator.testing.bench.load import Replay
from s3orchestrator.testing.bench.measuring import Series, cpu_seconds
from s3orchestrator.testing.bench.servers import Server, ledger_path
from s3orchestrator.testing.bench.stage import FULL_BUCKET, Stage, sdk_for
from s3orchestrator.testing.bench.table import Table

PAGE = 1000
MAX_WALL, MAX_CPU = 20, 5  # ms

_PAGES = 40  # of each kind and round


@frozen
class Case:
    """A kind of page, asked for in any of several places."""

    name: str
    queries: list[bytes]


def pages(stage: Stage) -> Table:
    """Measure pages of 1000 keys, and of all common prefixes."""
    keys = stage.effort.keys
    starts = [key_of(number * keys // _PAGES) for number in range(_PAGES)]
    cases = (
        Case(f"{PAGE} keys", [_query({"max-keys": str(PAGE), "start-after": start}) for start in starts]),
        Case("10 common prefixes", [_query({"delimiter": "/", "max-keys": str(PAGE)})]),
    )
    table = Table(
        f"A page out of {keys:_} keys, ms".replace("_", " "),
        ["", "guide: CPU", "min", "median", "guide: wall", "median", "most"],
    )
    directory = stage.fresh_directory()
    fill(ledger_path(directory), FULL_BUCKET, keys)
    with stage.orchestrator(directory) as server:
        for case in cases:
            used, took = Series(), Series()
            _measure(server, case, Series(), Series())
            for _ in range(stage.effort.rounds):
                _measure(server, case, used, took)
            table.add(
                case.name,
                f"< {MAX_CPU}",
                f"{used.least:.2f}",
                f"{used.median:.2f}",
                f"< {MAX_WALL}",
                f"{took.median:.1f}",
                f"{max(took.values):.1f}",
            )
    return table


def _query(parameters: dict[str, str]) -> bytes:
    """In the order and the spelling that is signed."""
    return encoded_query({"list-type": "2"} | parameters)


def _measure(server: Server, case: Case, used: Series, took: Series) -> None:
    sdk = sdk_for(server)
    requests: Iterator[bytes] = cycle(
        [sdk.request(b"GET", f"/{FULL_BUCKET}".encode(), query) for query in case.queries]
    )
    with closing(Replay(server.port, requests, connections=1).open()) as replay:
        before = cpu_seconds(server.pid)
        for _ in range(_PAGES):
            took.add(replay.play(0)[0] * 1e3)
        used.add((cpu_seconds(server.pid) - before) / _PAGES * 1e3)
