"""What small requests feel of large ones: a reactor that is kept busy shows here, and not in rates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event

from s3orchestrator.testing.bench.load import connect
from s3orchestrator.testing.bench.loads import NAMES, of_all, replayed, store
from s3orchestrator.testing.bench.moving import Piece, upload
from s3orchestrator.testing.bench.report import CPU, NGINX, OURS, RSS, Figure
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import MIB, Stage, path_of, sdk_for
from s3orchestrator.testing.bench.trials import Act, Case, Load, interleaved

TITLE = "GET of 1 KiB, 4 at a time"
SIZE = 64 * MIB
UPLOADS, READERS = 3, 4


def fairness(stage: Stage) -> list[Figure]:
    """Measure how long small GETs take, alone and beside uploads that are hashed."""
    alone = replayed(of_all(b"GET", NAMES[:16]), READERS, stage.effort.seconds * 2)
    with (
        closing(Piece.make(os.urandom(SIZE))) as piece,
        stage.orchestrator() as ours,
        stage.nginx() as theirs,
    ):
        for server in (ours, theirs):
            store(server, NAMES[:16])
        beside = Case(
            f"beside {UPLOADS} PUTs, SHA-256 signed", _beside_uploads(alone, piece, piece.digest(SIZE))
        )
        cases = [Case("alone", alone), beside]
        found = interleaved("fairness", cases, {OURS: ours, NGINX: theirs}, stage.effort.rounds)
        # Beside uploads, what a request takes of the CPU cannot be told from what they take.
        return [figure for figure in found if figure.measure not in (CPU, RSS)]


def _beside_uploads(load: Load, piece: Piece, digest: bytes) -> Load:
    @contextmanager
    def beside(server: Server) -> Iterator[Act]:
        enough = Event()
        with ThreadPoolExecutor(UPLOADS) as threads:
            running = [
                threads.submit(_keep_uploading, server, piece, digest, number, enough)
                for number in range(UPLOADS)
            ]
            try:
                with load(server) as act:
                    yield act
            finally:
                enough.set()
            for each in running:
                each.result()

    return beside


def _keep_uploading(server: Server, piece: Piece, digest: bytes, number: int, enough: Event) -> None:
    sdk = sdk_for(server)
    with closing(connect(server.port)) as connection:
        while not enough.is_set():
            head = sdk.upload(path_of(f"fair/large-{number}"), SIZE, digest)
            upload(connection, piece, [(head, SIZE)])
