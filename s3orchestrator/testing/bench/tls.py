"""What TLS adds: the same GETs from the same processes, with it and without."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle

from attrs import frozen

from s3orchestrator.testing.bench.load import Piece, Replay, connect, download, upload
from s3orchestrator.testing.bench.measuring import Series, cpu_seconds
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import GB, MIB, Effort, Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.table import Table

SIZE = 64 * MIB
LARGE = "tls/body"
SMALL = [f"tls/{number:02}" for number in range(64)]  # more than requests at a time

_WARM_UP = 0.2  # seconds


@frozen
class Case:
    """
    What is asked for, and what TLS should add to its cost at most.

    `cost` gives what it took of the server's CPU, in the unit of the table's row.
    """

    name: str
    format: str
    guide: float | None
    cost: Callable[[Server, ssl.SSLContext | None, Effort], float]


def _large(server: Server, tls: ssl.SSLContext | None, effort: Effort) -> float:
    sdk = sdk_for(server)
    with closing(connect(_port(server, tls), tls=tls)) as connection:
        before = cpu_seconds(server.pid)
        for _ in range(effort.repeats):
            download(connection, sdk.request(b"GET", path_of(LARGE)))
        return (cpu_seconds(server.pid) - before) / (SIZE * effort.repeats / GB)


def _small(server: Server, tls: ssl.SSLContext | None, effort: Effort) -> float:
    sdk = sdk_for(server)
    requests: Iterator[bytes] = cycle([sdk.request(b"GET", path_of(name)) for name in SMALL])
    with closing(Replay(_port(server, tls), requests, tls=tls).open()) as replay:
        replay.play(_WARM_UP)
        before = cpu_seconds(server.pid)
        made = len(replay.play(effort.seconds))
        return (cpu_seconds(server.pid) - before) / made * 1e6


def _port(server: Server, tls: ssl.SSLContext | None) -> int:
    return server.port if tls is None else server.secure_port


LARGE_GET = Case("GET of 64 MiB, s per GB", ".2f", 0.8, _large)
SMALL_GET = Case("GET of 1 KiB, µs", ".0f", None, _small)
NGINX, TUNED = "nginx", "nginx, 256k buffers"
ROWS = (
    (LARGE_GET, ""),
    (LARGE_GET, NGINX),
    (LARGE_GET, TUNED),
    (SMALL_GET, ""),
    (SMALL_GET, NGINX),
)


def tls(stage: Stage) -> Table:
    """Measure GETs over connections that are there already, in plain and over TLS."""
    table = Table(
        "TLS: CPU (TLS 1.3, AES-256-GCM, kept connections)",
        ["", "plain, min", "median", "TLS, min", "median", "TLS - plain", "guide"],
    )
    ways = (None, stage.tls.client())
    with ExitStack() as running:
        servers = {
            "": running.enter_context(stage.orchestrator()),
            NGINX: running.enter_context(stage.nginx()),
            TUNED: running.enter_context(stage.nginx(large_buffers=True)),
        }
        _store(list(servers.values()))
        cost = {(case, name, way): Series() for case, name in ROWS for way in ways}
        for _ in range(stage.effort.rounds):
            for case, name, way in cost:
                cost[case, name, way].add(case.cost(servers[name], way, stage.effort))
    for case, name in ROWS:
        plain, secure = (cost[case, name, way] for way in ways)
        figures = (plain.least, plain.median, secure.least, secure.median, secure.least - plain.least)
        table.add(
            f"{case.name} ({name})" if name else case.name,
            *(format(figure, case.format) for figure in figures),
            f"≤ {case.guide}" if case.guide is not None and not name else "",
        )
    return table


def _store(servers: Sequence[Server]) -> None:
    with closing(Piece.make(os.urandom(SIZE))) as piece:
        for server in servers:
            sdk = sdk_for(server)
            each_once(server, [sdk.request(b"PUT", path_of(name), body=bytes(1024)) for name in SMALL])
            with closing(connect(server.port)) as connection:
                upload(connection, sdk.upload(path_of(LARGE), SIZE), piece, SIZE)
