"""Copies of a large object, which its own backend makes: no byte should pass through us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import count

from s3orchestrator.testing.bench.bodies import size_name, store_bodies
from s3orchestrator.testing.bench.loads import replayed
from s3orchestrator.testing.bench.moving import Piece
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.stage import MIB, Stage, path_of
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "copies"

_new = count()


def copying(stage: Stage) -> list[Figure]:
    """Measure copies, one at a time."""
    size = stage.effort.large
    with (
        closing(Piece.make(os.urandom(MIB))) as piece,
        stage.orchestrator() as ours,
        stage.nginx() as theirs,
    ):
        for server in (ours, theirs):
            store_bodies(server, piece, [size])
        source = path_of(f"large/{size}")
        case = Case(
            f"copy {size_name(size)}",
            replayed(lambda sdk: _copies(sdk, source), 1, stage.effort.seconds),
            per="operation",
        )
        return interleaved("copying", [case], {OURS: ours, NGINX: theirs}, stage.effort.rounds)


def _copies(sdk: Sdk, source: bytes) -> Iterator[bytes]:
    while True:
        target = path_of(f"copies/{next(_new)}")
        yield sdk.request(b"PUT", target, headers={b"x-amz-copy-source": source})
