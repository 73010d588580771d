"""Small requests, beside nginx: one at a time, and many."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from itertools import cycle

from s3orchestrator.testing.bench.filling import BODY
from s3orchestrator.testing.bench.loads import NAMES, deleted, new_keys, of_all, replayed, store
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.stage import Stage, path_of
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "requests of 1 KiB"
CONNECTIONS = (1, 32, 256)
DOOMED = 1000  # objects to delete, for each second of the other cases


def not_modified(sdk: Sdk) -> Iterator[bytes]:
    """GETs of what the client has already."""
    etag = {b"If-None-Match": b'"%s"' % md5(BODY).hexdigest().encode()}
    return cycle([sdk.request(b"GET", path_of(name), headers=etag) for name in NAMES])


def small(stage: Stage) -> list[Figure]:
    """Measure requests of 1 KiB over 1, 32 and 256 connections."""
    with stage.orchestrator() as ours, stage.nginx() as theirs:
        for server in (ours, theirs):
            store(server)
        cases = [case for connections in CONNECTIONS for case in _cases(stage, connections)]
        return interleaved("small", cases, {OURS: ours, NGINX: theirs}, stage.effort.rounds)


def _cases(stage: Stage, connections: int) -> list[Case]:
    seconds = stage.effort.seconds
    tls = stage.tls.client()
    loads = {
        "GET": replayed(of_all(b"GET"), connections, seconds),
        "GET, TLS": replayed(of_all(b"GET"), connections, seconds, tls),
        "HEAD": replayed(of_all(b"HEAD"), connections, seconds),
        "304": replayed(not_modified, connections, seconds),
        "PUT, new keys": replayed(new_keys, connections, seconds),
        "PUT, overwriting": replayed(of_all(b"PUT", body=BODY), connections, seconds),
        "PUT, new keys, TLS": replayed(new_keys, connections, seconds, tls),
        "DELETE": deleted(connections, int(DOOMED * seconds)),
    }
    at = {"connections": connections}
    return [Case(request_name(kind, connections), load, at=at) for kind, load in loads.items()]


def request_name(kind: str, connections: int) -> str:
    """What the figures of a case are found under."""
    return f"{kind}, {connections} connection" + "s" * (connections > 1)
