"""The ledger in SQLite and in PostgreSQL: what it costs us, and not the database server."""

from __future__ import annotations

from s3orchestrator.testing.bench.filling import BODY
from s3orchestrator.testing.bench.loads import deleted, new_keys, of_all, replayed, store
from s3orchestrator.testing.bench.postgres import postgres
from s3orchestrator.testing.bench.report import NGINX, Figure
from s3orchestrator.testing.bench.small import DOOMED
from s3orchestrator.testing.bench.stage import Stage
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "requests of 1 KiB, 32 connections, by ledger"
SQLITE, POSTGRES = "ours, SQLite", "ours, PostgreSQL"

_CONNECTIONS = 32


def databases(stage: Stage) -> list[Figure]:
    """Measure small requests with either database."""
    seconds = stage.effort.seconds
    cases = [
        Case("GET", replayed(of_all(b"GET"), _CONNECTIONS, seconds)),
        Case("HEAD", replayed(of_all(b"HEAD"), _CONNECTIONS, seconds)),
        Case("PUT, new keys", replayed(new_keys, _CONNECTIONS, seconds)),
        Case("PUT, overwriting", replayed(of_all(b"PUT", body=BODY), _CONNECTIONS, seconds)),
        Case("DELETE", deleted(_CONNECTIONS, int(DOOMED * seconds))),
    ]
    with (
        postgres(stage.fresh_directory()) as database,
        stage.orchestrator() as with_sqlite,
        stage.orchestrator(database=database) as with_postgres,
        stage.nginx() as theirs,
    ):
        servers = {SQLITE: with_sqlite, POSTGRES: with_postgres, NGINX: theirs}
        for server in servers.values():
            store(server)
        return interleaved("databases", cases, servers, stage.effort.rounds)
