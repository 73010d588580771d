"""CPU time per GB of large bodies, beside nginx."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256

from attrs import frozen

from s3orchestrator.testing.bench.load import Piece, connect, download, upload
from s3orchestrator.testing.bench.measuring import Series, cpu_seconds
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import GB, MIB, Stage, path_of, sdk_for
from s3orchestrator.testing.bench.table import Table

SIZE = 64 * MIB
NAME = "large/body"


@frozen
class Case:
    """A way to move a body, `repeats` times over one connection; `guide` is relative to nginx."""

    name: str
    guide: float | None
    move: Callable[[Server, Piece, int], None]


def _get(server: Server, piece: Piece, repeats: int) -> None:
    sdk = sdk_for(server)
    with closing(connect(server.port)) as connection:
        for _ in range(repeats):
            download(connection, sdk.request(b"GET", path_of(NAME)))


def _put(server: Server, piece: Piece, repeats: int) -> None:
    sdk = sdk_for(server)
    with closing(connect(server.port)) as connection:
        for _ in range(repeats):
            upload(connection, sdk.upload(path_of(NAME), SIZE), piece, SIZE)


def _put_signed(digest: bytes) -> Callable[[Server, Piece, int], None]:
    def put(server: Server, piece: Piece, repeats: int) -> None:
        sdk = sdk_for(server)
        with closing(connect(server.port)) as connection:
            for _ in range(repeats):
                upload(connection, sdk.upload(path_of(NAME), SIZE, digest), piece, SIZE)

    return put


def bodies(stage: Stage) -> Table:
    """Measure bodies of 64 MiB over one connection."""
    content = os.urandom(SIZE)
    piece = Piece.make(content)
    cases = (
        Case("PUT, unsigned payload", 1.2, _put),
        Case("PUT, SHA-256 signed", None, _put_signed(sha256(content).hexdigest().encode())),
        Case("GET", 1.0, _get),
    )
    table = Table(
        "Bodies of 64 MiB: CPU, s per GB (one connection)",
        ["", "ours, min", "median", "nginx, min", "median", "ours / nginx", "guide", "nginx, 256k buffers"],
    )
    with (
        closing(piece),
        stage.orchestrator() as ours,
        stage.nginx() as theirs,
        stage.nginx(large_buffers=True) as tuned,
    ):
        servers = (ours, theirs, tuned)
        cost = {(case, server): Series() for case in cases for server in servers}
        for server in servers:
            _put(server, piece, 1)
        for _ in range(stage.effort.rounds):
            for case in cases:
                for server in servers:
                    before = cpu_seconds(server.pid)
                    case.move(server, piece, stage.effort.repeats)
                    used = cpu_seconds(server.pid) - before
                    cost[case, server].add(used / (SIZE * stage.effort.repeats / GB))
    for case in cases:
        mine, nginx = cost[case, ours], cost[case, theirs]
        table.add(
            case.name,
            f"{mine.least:.2f}",
            f"{mine.median:.2f}",
            f"{nginx.least:.2f}",
            f"{nginx.median:.2f}",
            f"{mine.median / nginx.median:.2f} ×",
            f"≤ {case.guide:.1f} ×" if case.guide is not None else "",
            f"{cost[case, tuned].median:.2f}",
        )
    return table
