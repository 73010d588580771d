"""One worker and two: what each request costs then, and how much more the machine can serve."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing

from s3orchestrator.testing.bench.bodies import LARGE, store_bodies
from s3orchestrator.testing.bench.loads import getting, moved, new_keys, of_all, replayed, store
from s3orchestrator.testing.bench.measuring import cpu_seconds
from s3orchestrator.testing.bench.moving import Piece
from s3orchestrator.testing.bench.report import NGINX, Figure
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import MIB, Stage
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "by number of workers, 64 connections"

_CONNECTIONS = 64
_LOOK, _IDLE, _PATIENCE = 0.25, 0.02, 20.0  # seconds


def workers(stage: Stage) -> list[Figure]:
    """Measure the same with one worker and with two, all of whose processes count."""
    seconds = stage.effort.seconds
    cases = [
        Case("GET", replayed(of_all(b"GET"), _CONNECTIONS, seconds)),
        Case("HEAD", replayed(of_all(b"HEAD"), _CONNECTIONS, seconds)),
        Case("PUT, new keys", replayed(new_keys, _CONNECTIONS, seconds)),
        Case("GET 64 MiB, 1 connection", moved(getting(f"large/{LARGE}"), LARGE, seconds), per="GB"),
    ]
    with ExitStack() as running:
        servers = {
            "ours, 1 worker": running.enter_context(stage.orchestrator(workers=1)),
            "ours, 2 workers": running.enter_context(stage.orchestrator(workers=2)),
            NGINX: running.enter_context(stage.nginx()),
        }
        piece = running.enter_context(closing(Piece.make(os.urandom(MIB))))
        for server in servers.values():
            _settle(server)
            store(server)
            store_bodies(server, piece, [LARGE])
        return interleaved("workers", cases, servers, stage.effort.rounds)


def _settle(server: Server) -> None:
    """Wait until it does nothing: connections stay where they were accepted, so all workers must be there."""
    until = time.monotonic() + _PATIENCE
    before = cpu_seconds(server.pid)
    while time.monotonic() < until:
        time.sleep(_LOOK)
        used = cpu_seconds(server.pid)
        if used - before < _IDLE:
            return
        before = used
