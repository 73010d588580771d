"""Small requests of several kinds, while many slow readers hold large objects open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from s3orchestrator.testing.bench.bodies import store_bodies
from s3orchestrator.testing.bench.filling import BODY
from s3orchestrator.testing.bench.loads import NAMES, new_keys, replayed, store
from s3orchestrator.testing.bench.moving import Piece
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.slow import READERS, slow_readers
from s3orchestrator.testing.bench.stage import MIB, Stage, path_of
from s3orchestrator.testing.bench.trials import Act, Case, Load, interleaved

TITLE = "mixed small requests, 32 connections"
SIZE = 64 * MIB

_SETTLING = 2.0  # seconds until every buffer on the way is full


def mixture(sdk: Sdk) -> Iterator[bytes]:
    """Of ten requests six are GETs, two HEADs, one a PUT of a new key and one overwrites."""
    new = new_keys(sdk)
    while True:
        for number, name in enumerate(NAMES):
            path = path_of(name)
            match number % 10:
                case 3 | 7:
                    yield sdk.request(b"HEAD", path)
                case 5:
                    yield next(new)
                case 9:
                    yield sdk.request(b"PUT", path, body=BODY)
                case _:
                    yield sdk.request(b"GET", path)


def mixed(stage: Stage) -> list[Figure]:
    """Measure a mixture, alone and beside slow readers; what those take is part of the CPU time."""
    alone = replayed(mixture, 32, stage.effort.seconds)
    cases = [Case("alone", alone), Case(f"beside {READERS} slow readers", _beside_readers(alone))]
    with (
        closing(Piece.make(os.urandom(MIB))) as piece,
        stage.orchestrator() as ours,
        stage.nginx() as theirs,
    ):
        for server in (ours, theirs):
            store(server)
            store_bodies(server, piece, [SIZE])
        return interleaved("mixed", cases, {OURS: ours, NGINX: theirs}, stage.effort.rounds)


def _beside_readers(load: Load) -> Load:
    @contextmanager
    def beside(server: Server) -> Iterator[Act]:
        with slow_readers(server, f"large/{SIZE}"):
            time.sleep(_SETTLING)
            with load(server) as act:
                yield act

    return beside
