"""Bodies of all sizes over one connection, beside nginx: plain and over TLS, hashed and not."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack, closing

from s3orchestrator.testing.bench.chunked import signed_chunks, unsigned_chunks
from s3orchestrator.testing.bench.load import connect
from s3orchestrator.testing.bench.loads import getting, moved, putting
from s3orchestrator.testing.bench.moving import Parts, Piece, upload
from s3orchestrator.testing.bench.report import NGINX, OURS, TUNED, Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import GIB, MIB, Stage, path_of, sdk_for
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "bodies over one connection"
KIB = 1 << 10
SIZES = (KIB, 64 * KIB, MIB, 64 * MIB)  # and the effort's large one
LARGE = 64 * MIB  # what nginx with larger buffers is asked for as well

GET, PUT, SIGNED = "GET", "PUT, unsigned payload", "PUT, signed payload"
SIGNED_CHUNKS, UNSIGNED_CHUNKS = "PUT, aws-chunked and signed", "PUT, aws-chunked with CRC-32"


def size_name(size: int) -> str:
    """A size in words."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size // KIB} KiB"


def unsigned(name: str, size: int) -> Callable[[Sdk], Parts]:
    """A PUT whose payload is not signed."""
    return lambda sdk: [(sdk.upload(path_of(name), size), size)]


def signed(name: str, size: int, piece: Piece) -> Callable[[Sdk], Parts]:
    """A PUT with the SHA-256 of its payload."""
    digest = piece.digest(size)
    return lambda sdk: [(sdk.upload(path_of(name), size, digest), size)]


def bodies(stage: Stage) -> list[Figure]:
    """Measure GETs and PUTs of all sizes."""
    sizes = [*SIZES, stage.effort.large]
    with closing(Piece.make(os.urandom(LARGE))) as piece, ExitStack() as running:
        servers = {
            OURS: running.enter_context(stage.orchestrator()),
            NGINX: running.enter_context(stage.nginx()),
            TUNED: running.enter_context(stage.nginx(large_buffers=True)),
        }
        for server in servers.values():
            store_bodies(server, piece, sizes)
        cases = [case for size in sizes for case in _cases(stage, piece, size)]
        return interleaved("bodies", cases, servers, stage.effort.rounds)


def store_bodies(server: Server, piece: Piece, sizes: list[int]) -> None:
    """Put an object of each size, to be read."""
    sdk = sdk_for(server)
    with closing(connect(server.port)) as connection:
        for size in sizes:
            upload(connection, piece, unsigned(f"large/{size}", size)(sdk))


def _cases(stage: Stage, piece: Piece, size: int) -> list[Case]:
    name, seconds = f"large/{size}", stage.effort.seconds
    chunked = {
        kind: putting(piece, lambda sdk, make=make: make(sdk, path_of(name), piece, size))  # type: ignore[misc]
        for kind, make in ((SIGNED_CHUNKS, signed_chunks), (UNSIGNED_CHUNKS, unsigned_chunks))
    }
    moves = {
        GET: getting(name),
        PUT: putting(piece, unsigned(name, size)),
        SIGNED: putting(piece, signed(name, size, piece)),
        **chunked,
    }
    plain, secure = set(moves), set(moves)
    if not stage.effort.every:
        # What TLS and hashing add is seen at the smaller sizes already.
        plain, secure = (plain, {GET, PUT, UNSIGNED_CHUNKS}) if size <= LARGE else ({GET, PUT}, {GET, PUT})
    ways: list[tuple[ssl.SSLContext | None, set[str]]] = [(None, plain), (stage.tls.client(), secure)]
    return [
        Case(
            body_name(kind, size, tls=context is not None),
            moved(move, size, seconds, context),
            per="GB",
            at={"bytes": size, "tls": float(context is not None)},
            at_servers=(OURS, NGINX, TUNED) if size == LARGE else (OURS, NGINX),
        )
        for context, kinds in ways
        for kind, move in moves.items()
        if kind in kinds
    ]


def body_name(kind: str, size: int, *, tls: bool) -> str:
    """What the figures of a case are found under."""
    method, comma, form = kind.partition(",")
    return f"{method} {size_name(size)}{comma}{form}" + ", TLS" * tls
