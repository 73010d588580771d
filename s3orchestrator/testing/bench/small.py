"""CPU time of one small request, beside nginx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, cycle

from attrs import frozen

from s3orchestrator.testing.bench.load import Replay
from s3orchestrator.testing.bench.measuring import Series, cpu_seconds
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.table import Table

BODY = bytes(range(256)) * 4
NAMES = [f"small/{number:04}" for number in range(256)]  # more than requests at a time

_WARM_UP = 0.2  # seconds
_new = count()


@frozen
class Case:
    """A kind of request; `guide` is what it should cost at most, in µs."""

    name: str
    guide: int
    requests: Callable[[Sdk], Iterator[bytes]]


def _all(method: bytes, body: bytes = b"") -> Callable[[Sdk], Iterator[bytes]]:
    return lambda sdk: cycle([sdk.request(method, path_of(name), body=body) for name in NAMES])


def _new_keys(sdk: Sdk) -> Iterator[bytes]:
    while True:
        yield sdk.request(b"PUT", path_of(f"new/{next(_new):08}"), body=BODY)


CASES = (
    Case("GET", 220, _all(b"GET")),
    Case("HEAD", 110, _all(b"HEAD")),
    Case("PUT, new keys", 330, _new_keys),
    Case("PUT, overwriting", 330, _all(b"PUT", BODY)),
)


def small(stage: Stage) -> Table:
    """Measure requests of 1 KiB, 32 at a time."""
    table = Table(
        "Requests of 1 KiB: CPU, µs each (32 at a time)",
        ["", "guide", "ours, min", "median", "nginx, min", "median", "ours, per s"],
    )
    with stage.orchestrator() as ours, stage.nginx() as theirs:
        servers = (ours, theirs)
        cost = {(case, server): Series() for case in CASES for server in servers}
        rate = {(case, server): Series() for case in CASES for server in servers}
        for server in servers:
            each_once(server, [sdk_for(server).request(b"PUT", path_of(name), body=BODY) for name in NAMES])
        for _ in range(stage.effort.rounds):
            for case in CASES:
                for server in servers:
                    per_request, per_second = _measure(server, case, stage.effort.seconds)
                    cost[case, server].add(per_request * 1e6)
                    rate[case, server].add(per_second)
    for case in CASES:
        mine, nginx = cost[case, ours], cost[case, theirs]
        table.add(
            case.name,
            f"≤ {case.guide}",
            f"{mine.least:.0f}",
            f"{mine.median:.0f}",
            f"{nginx.least:.0f}",
            f"{nginx.median:.0f}",
            f"{rate[case, ours].median:.0f}",
        )
    return table


def _measure(server: Server, case: Case, seconds: float) -> tuple[float, float]:
    """CPU seconds per request, and requests per second."""
    replay = Replay(server.port, case.requests(sdk_for(server))).open()
    try:
        replay.play(_WARM_UP)
        before = cpu_seconds(server.pid)
        made = len(replay.play(seconds))
        return (cpu_seconds(server.pid) - before) / made, made / seconds
    finally:
        replay.close()
