"""Multipart uploads: the parts, and what putting them together costs, which should be no bytes at all."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from socket import socket

from s3orchestrator.backends.s3_documents import complete_document
from s3orchestrator.protocol.canonical import encoded_query
from s3orchestrator.testing.bench.bodies import size_name
from s3orchestrator.testing.bench.load import connect
from s3orchestrator.testing.bench.loads import timed
from s3orchestrator.testing.bench.moving import Piece, ask, upload
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import MIB, Stage, path_of, sdk_for
from s3orchestrator.testing.bench.trials import Act, Case, Load, interleaved

TITLE = "multipart uploads"
PART = 64 * MIB

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_ETAG = re.compile(rb'\r\netag: *"([0-9a-f]+)"', re.IGNORECASE)
_new = count()


class _Upload:
    """An upload over a connection."""

    def __init__(self, connection: socket, sdk: Sdk) -> None:
        self._connection, self._sdk = connection, sdk
        self._path = path_of(f"multipart/{next(_new)}")
        answer = ask(connection, sdk.request(b"POST", self._path, b"uploads="))
        found = _UPLOAD_ID.search(answer)
        assert found is not None, answer
        self._id = found[1].decode()
        self._etags: list[bytes] = []

    def put_part(self, piece: Piece, size: int) -> float:
        """Upload the next part; returns how long it took."""
        began = time.perf_counter()
        query = encoded_query({"partNumber": str(len(self._etags) + 1), "uploadId": self._id})
        head = self._sdk.upload(self._path, size, query=query)
        answer = _ETAG.search(upload(self._connection, piece, [(head, size)]))
        assert answer is not None
        self._etags.append(answer[1])
        return time.perf_counter() - began

    def complete(self) -> float:
        """Have the object made; returns how long it took."""
        parts = [(number, etag.decode()) for number, etag in enumerate(self._etags, 1)]
        body = complete_document(parts)
        request = self._sdk.request(b"POST", self._path, encoded_query({"uploadId": self._id}), body)
        began = time.perf_counter()
        ask(self._connection, request)
        return time.perf_counter() - began


def multipart(stage: Stage) -> list[Figure]:
    """Measure parts of 64 MiB, and completing what they make."""
    size = stage.effort.large
    with (
        closing(Piece.make(os.urandom(PART))) as piece,
        stage.orchestrator() as ours,
        stage.nginx() as theirs,
    ):
        cases = [
            Case(f"parts of {size_name(size)}", _parts(piece, size), per="GB"),
            Case(f"complete {size_name(size)}", _complete(piece, size), per="operation"),
        ]
        return interleaved("multipart", cases, {OURS: ours, NGINX: theirs}, stage.effort.rounds)


def _parts(piece: Piece, size: int) -> Load:
    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        with closing(connect(server.port)) as connection:
            begun = _Upload(connection, sdk_for(server))
            yield lambda: timed(lambda: [begun.put_part(piece, PART) for _ in range(size // PART)], PART)
            begun.complete()

    return load


def _complete(piece: Piece, size: int) -> Load:
    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        with closing(connect(server.port)) as connection:
            begun = _Upload(connection, sdk_for(server))
            for _ in range(size // PART):
                begun.put_part(piece, PART)
            yield lambda: timed(lambda: [begun.complete()])

    return load
