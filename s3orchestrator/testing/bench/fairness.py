"""What small requests feel of large ones: a reactor that is kept busy shows here, and not in rates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from itertools import cycle
from threading import Event

from s3orchestrator.testing.bench.load import Piece, Replay, connect, upload
from s3orchestrator.testing.bench.measuring import percentile
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import MIB, Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.table import Table

SIZE = 64 * MIB
UPLOADS = 3
READERS = 4

_NAMES = [f"fair/{number}" for number in range(16)]


def fairness(stage: Stage) -> Table:
    """Measure how long small GETs take, alone and beside uploads that are hashed."""
    content = os.urandom(SIZE)
    digest = sha256(content).hexdigest().encode()
    table = Table(
        f"Latency of GET 1 KiB, ms ({READERS} at a time)", ["", "median", "90 %", "99 %", "most", "requests"]
    )
    with closing(Piece.make(content)) as piece, stage.orchestrator() as server:
        sdk = sdk_for(server)
        each_once(server, [sdk.request(b"PUT", path_of(name), body=bytes(1024)) for name in _NAMES])
        seconds = stage.effort.seconds * 2
        _add(table, "alone", _latencies(server, seconds))
        with _Uploads(server, piece, digest):
            _add(table, f"beside {UPLOADS} PUTs, SHA-256 signed", _latencies(server, seconds))
    return table


def _latencies(server: Server, seconds: float) -> list[float]:
    sdk = sdk_for(server)
    requests = cycle([sdk.request(b"GET", path_of(name)) for name in _NAMES])
    with closing(Replay(server.port, requests, READERS).open()) as replay:
        replay.play(seconds / 4)
        return replay.play(seconds)


def _add(table: Table, what: str, took: Sequence[float]) -> None:
    figures = [percentile(took, share) * 1e3 for share in (0.5, 0.9, 0.99, 1.0)]
    table.add(what, *(f"{figure:.1f}" for figure in figures), f"{len(took)}")


class _Uploads:
    """Uploads that go on, each over and over, while one is inside."""

    def __init__(self, server: Server, piece: Piece, digest: bytes) -> None:
        self._server, self._piece, self._digest = server, piece, digest
        self._enough = Event()
        self._threads = ThreadPoolExecutor(UPLOADS)

    def __enter__(self) -> None:
        self._running = [self._threads.submit(self._upload, number) for number in range(UPLOADS)]

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for running in self._running:
            running.result()
        self._threads.shutdown()

    def _upload(self, number: int) -> None:
        sdk = sdk_for(self._server)
        with closing(connect(self._server.port)) as connection:
            while not self._enough.is_set():
                head = sdk.upload(path_of(f"fair/large-{number}"), SIZE, self._digest)
                upload(connection, head, self._piece, SIZE)
