"""A PostgreSQL server for a benchmark, with a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from s3orchestrator.testing.bench.servers import PATIENCE, CannotStart, free_port

USER = "bench"


@contextmanager
def postgres(directory: Path) -> Iterator[Mapping[str, Any]]:
    """
    Have PostgreSQL running as it is when it has been installed; gives settings of a ledger in it.

    It writes to disk as it does for anybody, so that commits take what they take.
    """
    user = "nobody" if os.geteuid() == 0 else None  # root may not run it
    data, port = directory / "data", free_port()
    for place in (directory, *directory.parents[:1]):
        place.chmod(0o755)
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user)
    options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    _run([_program("initdb"), "-D", str(data), *options], user)
    settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={data}", "max_connections=100"]
    command = [_program("postgres"), "-D", str(data), "-p", str(port)]
    for setting in settings:
        command += ["-c", setting]
    with (directory / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, cwd="/"
        )
    try:
        _make_database(port, process)
        yield {
            "driver": "postgres",
            "host": "127.0.0.1",
            "port": port,
            "database": "ledger",
            "user": USER,
            "password": "unused",
            "ssl_mode": "disable",
        }
    finally:
        process.send_signal(signal.SIGINT)  # ends at once, without waiting for clients
        process.wait()


def _make_database(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres")
            break
        except psycopg2.OperationalError as error:
            if time.monotonic() > until or process.poll() is not None:
                raise CannotStart(f"PostgreSQL: {error}") from error
            time.sleep(0.05)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE ledger")
    connection.close()


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, user=user, cwd="/")
    if done.returncode:
        raise CannotStart(f"{command[0]}: {done.stderr}")


def _program(name: str) -> str:
    """Find the newest of PostgreSQL's own programs, which Debian keeps off the PATH."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parent.parent.name), default=None)
    found = str(newest) if newest is not None else shutil.which(name)
    if found is None:
        raise CannotStart("PostgreSQL is not installed: make prerequisites")
    return found
