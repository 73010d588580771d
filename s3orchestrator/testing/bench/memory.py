"""How much memory many bodies at once take, and large ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing

from attrs import frozen

from s3orchestrator.testing.bench.bodies import size_name, store_bodies, unsigned
from s3orchestrator.testing.bench.load import connect
from s3orchestrator.testing.bench.measuring import forget_peak, peak, resident
from s3orchestrator.testing.bench.moving import Piece, download, upload
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.slow import READERS, slow_readers
from s3orchestrator.testing.bench.stage import GIB, MIB, Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.targets import GROWTH

TITLE = "resident size"
IDLE = "idle"
UPLOADS = 64
READ = 64 * MIB
HUGE = 3 * GIB

_READING = 5.0  # seconds: long enough for every buffer on the way to be full


@frozen(eq=False)
class Case:
    """Something that must not take memory in proportion."""

    what: str
    act: Callable[[Server, Piece], None]


def memory(stage: Stage) -> list[Figure]:
    """Measure by how much the resident size grows at most, each time from a fresh start."""
    size = stage.effort.concurrent
    cases = [
        Case(f"{UPLOADS} PUTs of {size_name(size)} at once", _puts(size)),
        Case(f"{READERS} slow readers", _slow_readers),
    ]
    if stage.effort.every:
        cases += [Case("PUT of 3 GiB", _put("huge", HUGE)), Case("GET of 3 GiB", _get("huge"))]
    servers: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        OURS: stage.orchestrator,
        NGINX: stage.nginx,
    }
    found: dict[tuple[str, str, str], list[float]] = {}
    with closing(Piece.make(os.urandom(4 * MIB))) as piece:
        for _ in range(stage.effort.rounds):
            for case in cases:
                for who, start in servers.items():
                    idle, growth = _measured(start(), case, piece)
                    found.setdefault((case.what, who, IDLE), []).append(idle / MIB)
                    found.setdefault((case.what, who, GROWTH), []).append(growth / MIB)
    return [
        Figure("memory", what, who, measure, "MiB", tuple(values))
        for (what, who, measure), values in found.items()
    ]


def _measured(start: AbstractContextManager[Server], case: Case, piece: Piece) -> tuple[int, int]:
    """Bytes while idle, and by how many more there were at most."""
    with start as server:
        sdk = sdk_for(server)
        # The first request of each kind loads what is needed for it.
        kinds = [(b"PUT", b"warm"), (b"GET", b""), (b"HEAD", b"")]
        each_once(server, [sdk.request(method, path_of("warm-up"), body=body) for method, body in kinds], 1)
        store_bodies(server, piece, [READ])
        forget_peak(server.pid)
        idle = resident(server.pid)
        case.act(server, piece)
        return idle, peak(server.pid) - idle


def _puts(size: int) -> Callable[[Server, Piece], None]:
    def puts(server: Server, piece: Piece) -> None:
        with ThreadPoolExecutor(UPLOADS) as threads:
            running = [
                threads.submit(_put(f"many/{number}", size), server, piece) for number in range(UPLOADS)
            ]
            for each in running:
                each.result()

    return puts


def _put(name: str, size: int) -> Callable[[Server, Piece], None]:
    def put(server: Server, piece: Piece) -> None:
        with closing(connect(server.port)) as connection:
            upload(connection, piece, unsigned(name, size)(sdk_for(server)))

    return put


def _get(name: str) -> Callable[[Server, Piece], None]:
    def get(server: Server, piece: Piece) -> None:
        _put(name, HUGE)(server, piece)
        forget_peak(server.pid)
        with closing(connect(server.port)) as connection:
            download(connection, sdk_for(server).request(b"GET", path_of(name)))

    return get


def _slow_readers(server: Server, piece: Piece) -> None:
    with slow_readers(server, f"large/{READ}"):
        time.sleep(_READING)
