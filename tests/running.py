"""
The installed program as a user runs it, and a look behind it once it has stopped.

Nothing here goes through our own code where that could agree with itself: processes are
started by their command, or fork from one that has imported it (`tests.forked`), directories
are walked, S3 backends are asked by boto3.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from attrs import define, field, frozen

from s3orchestrator.backends.filenames import OURS, name_of
from s3orchestrator.testing.bench import measuring
from tests.workers import let_workers_serve

COMMAND = str(Path(sys.executable).parent / "s3orchestrator")
PATIENCE = 30.0  # seconds; what is awaited here takes one or two, on a busy machine perhaps ten
_PIECE = 1 << 20
_LONGEST_REST_MS = 10_000  # several of the quiet periods that tests configure
MARKER = "~s3o/owner"  # says whose a backend is, and is nobody's object
_SCRATCH = "~s3o/probe~"  # left by each start's look at what a backend can do


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """:raises AssertionError: `condition` did not come true in time; `what` says what did not happen."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience:.0f} s: {what}")
        time.sleep(0.05)


class Process(Protocol):
    """A process that somebody has started for us: what of `subprocess.Popen` is used here."""

    pid: int
    returncode: Any

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """End it."""


@define(eq=False)
class Daemon:
    """
    A serving process. Its output is added to the file `log`.

    It may be stopped and started again, as often as wanted.
    """

    arguments: Sequence[str]
    port: int
    log: Path
    environment: Mapping[str, str] = field(factory=lambda: dict(os.environ))
    directory: Path | None = None
    # Clients that leave before it is told to stop: for who has just asked something it waits a second.
    clients: WeakSet[Any] = field(init=False, factory=WeakSet)
    _process: Process | None = field(init=False, default=None)

    @property
    def endpoint(self) -> str:
        """The URL it serves at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The running process's id."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def add_arguments(self, *arguments: str) -> None:
        """Start it with these, too, from now on."""
        self.arguments = [*self.arguments, *arguments]

    def start(self) -> None:
        """Start it, and return once `/health/ready` says so."""
        self.begin()
        self.await_ready()

    def begin(self) -> None:
        """Start it, for `await_ready`: where there are several, they start together."""
        assert self._process is None, "it is running"
        # Or it would be taken for ours; and README's port may be wanted by more than one run of these tests.
        wait_until(self._port_is_free, f"somebody else listens on port {self.port}")
        self._let_workers_serve()
        self._process = self._spawn()
        atexit.register(self.kill)

    def await_ready(self) -> None:
        """Return once `/health/ready` says that it is."""
        assert self._process is not None, "it is not running"
        try:
            wait_until(self._is_ready_or_gone, f"not ready\n{self.tail()}")
            assert self._process.poll() is None, f"ended with {self._process.returncode}\n{self.tail()}"
        except AssertionError:
            self.kill()
            raise

    def _let_workers_serve(self) -> None:
        if "--config" in self.arguments:
            let_workers_serve(Path(self.arguments[self.arguments.index("--config") + 1]))

    def _spawn(self) -> Process:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [COMMAND, *self.arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=dict(self.environment),
                cwd=self.directory,
            )

    def stop(self) -> None:
        """
        Ask it to stop, and wait for it; one that is not running is left alone.

        :raises AssertionError: it did not end in time, or not with 0.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        for client in self.clients:
            client.close()
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not stop\n{self.tail()}") from None
        assert status == 0, f"stopped with {status}\n{self.tail()}"

    def kill(self) -> None:
        """End it without giving it a chance to do anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def tail(self) -> str:
        """The end of its log, for the message of a failure."""
        return self.log.read_text(errors="replace")[-6000:]

    def logged(self) -> list[str]:
        """
        The lines of its log, without one that it is still writing.

        A kernel lets a reader see the beginning of what one call writes.
        """
        # Not `splitlines`, which knows more ends of lines than there are.
        return self.log.read_text("utf-8").split("\n")[:-1]

    def resident(self) -> int:
        """Bytes of memory that it has in use, and those whom it has serve."""
        return measuring.resident(self.pid)

    def _port_is_free(self) -> bool:
        with closing(socket.socket()) as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) != 0

    def _is_ready_or_gone(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        try:
            return fetch(f"{self.endpoint}/health/ready").status == 200
        except OSError:
            return False


@frozen
class Answer:
    """What a server said to a plain HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def fetch(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make one request, as a tool that knows nothing of S3 would; the path goes out as it is."""
    _, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as connection:
        connection.request(method, slash + path or "/", body=body, headers=dict(headers or {}))
        reply = connection.getresponse()
        received = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, received, reply.read())


def fsck(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a ledger that nobody serves; exit status and what it printed."""
    command = [COMMAND, "fsck", "--config", str(config), *options]
    environment = {"S3O_PORT": "1", **os.environ}  # which daemon's port does not matter
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


# --- backends, without us -----------------------------------------------------------------


class Storage(Protocol):
    """What is really there, by the name the backend has for it."""

    def digests(self) -> dict[str, str]:
        """SHA-256, in hex, of the bytes of everything that is stored."""

    def uploads(self) -> list[str]:
        """What there is of unfinished uploads."""


@frozen
class DirectoryStorage:
    """A directory, walked."""

    root: Path

    def digests(self) -> dict[str, str]:
        """See `Storage`; a file that stands for no object is an error."""
        found = {}
        top = os.fsencode(self.root)
        for folder, folders, files in os.walk(top):
            if folder == top:
                folders[:] = [name for name in folders if name != OURS.encode()]
            for file in files:
                path = os.path.join(folder, file)
                name = name_of(os.path.relpath(path, top))
                assert name is not None, f"{path!r} is no object's file"
                if name == MARKER:
                    continue
                with open(path, "rb") as opened:
                    found[name] = digest_of(iter(partial(opened.read, _PIECE), b""))
        return found

    def uploads(self) -> list[str]:
        """See `Storage`; temporary files count."""
        areas = [self.root / OURS / "uploads", self.root / OURS / "tmp"]
        return [str(path) for area in areas for path in area.glob("**/*") if path.is_file()]


@frozen
class S3Storage:
    """A bucket of another S3 server, asked with its own credentials."""

    client: Any
    bucket: str

    def digests(self) -> dict[str, str]:
        """See `Storage`."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {name: digest_of(self._read(name)) for name in names if name != MARKER}

    def uploads(self) -> list[str]:
        """See `Storage`."""
        reply = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in reply.get("Uploads", [])]

    def _read(self, name: str) -> Iterator[bytes]:
        body = self.client.get_object(Bucket=self.bucket, Key=name)["Body"]
        pieces: Iterator[bytes] = body.iter_chunks(_PIECE)
        return pieces


def digest_of(pieces: Iterable[bytes]) -> str:
    """SHA-256 over all of `pieces`, in hex."""
    hasher = sha256()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


# --- the ledger, without us ---------------------------------------------------------------


@frozen
class Location:
    """One row of the view `object_locations`."""

    backend: str
    name: str
    size: int


class LedgerRows:
    """A ledger, read with the views that operators have."""

    def locations(self) -> dict[str, list[Location]]:
        """Where each `bucket/key` is."""
        found: dict[str, list[Location]] = {}
        for row in self.query(
            "SELECT object_key, backend_name, backend_key, size_bytes FROM object_locations WHERE is_latest"
        ):
            key, backend, name, size = row
            found.setdefault(key, []).append(Location(backend, name, size))
        return found

    def unsettled(self) -> list[dict[str, Any]]:
        """Rows that time or an open upload will still move: everything that is not live."""
        names = ("backend", "name", "state", "unclear", "due_ms", "reason", "last_error")
        rows = self.query(f"SELECT {', '.join(names)} FROM blobs WHERE state <> 'live'")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [row for row in found if not row["name"].startswith(_SCRATCH)]

    def doomed(self) -> list[dict[str, Any]]:
        """Those that are being deleted."""
        return [row for row in self.unsettled() if row["state"] == "doomed"]

    def lapse(self) -> None:
        """
        Let the leases of the dead come to their end, which takes minutes; nobody may be running.

        Until then what they held is left alone, where there may be other daemons than those that start.
        """
        self.change("UPDATE owners SET lease_until_ms = 0 WHERE lease_until_ms > 0")

    def change(self, *statements: str) -> None:
        """Do to it what daemons should do alone."""
        for statement in statements:
            self.query(statement)

    def query(self, statement: str) -> list[Any]:
        """Have the database itself execute it; returns its rows, if it has any."""
        raise NotImplementedError


@frozen
class LedgerFile(LedgerRows):
    """The SQLite file."""

    path: Path

    def query(self, statement: str) -> list[Any]:
        """See `LedgerRows`."""
        # Not read-only: a reader of a write-ahead log may have to make its index anew.
        place = f"file:{self.path}?mode=rw"
        with closing(sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None)) as ledger:
            return list(ledger.execute(statement))


@frozen
class LedgerDatabase(LedgerRows):
    """A PostgreSQL database; `connect` opens a connection of psycopg2."""

    connect: Callable[[], Any]

    def query(self, statement: str) -> list[Any]:
        """See `LedgerRows`."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


# --- all of it together -------------------------------------------------------------------


@define(eq=False)
class Deployment:
    """
    A configuration, the daemon that serves it, its ledger and its backends.

    `config_path` is `serve`'s file; `storage` has what is behind each backend, by name.
    """

    config_path: Path
    daemon: Any  # or several that act as one
    ledger: LedgerRows
    storage: Mapping[str, Storage]

    def settle(self) -> None:
        """
        Come to rest: nothing is pending, being deleted, or kept from being used again.

        What waits for its quiet period is looked at when a daemon starts, so it is restarted; what the
        killed had begun is taken over as soon as their leases have lapsed.
        """
        for _ in range(3):
            with self.stopped():
                self.ledger.lapse()
                due = max((row["due_ms"] or 0 for row in self.ledger.unsettled()), default=0)
                # What failed is tried again after a minute, and that is for the test to find out.
                if due - _now_ms() > _LONGEST_REST_MS:
                    break
                wait_until(partial(_has_come, due), "a rest did not end")
            with suppress(AssertionError):
                wait_until(lambda: not self.ledger.unsettled(), "not settled", patience=3.0)
                return
        raise AssertionError(f"never came to rest: {json.dumps(self.ledger.unsettled(), indent=1)}")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the daemon for a while."""
        self.daemon.stop()
        try:
            yield
        finally:
            self.daemon.start()

    def problems(self, expected: Mapping[str, str]) -> list[str]:
        """
        Compare everything with what should be there; the daemon is stopped.

        `expected` has the SHA-256 of each `bucket/key`. Rows, bytes and listings must agree:
        nothing missing, nothing different, nothing more. Returns what is wrong.
        """
        locations = self.ledger.locations()
        wrong = [f"{key!r} is not in the ledger" for key in expected if key not in locations]
        wrong += [f"{key!r} should not be in the ledger" for key in locations if key not in expected]
        held: dict[str, dict[str, str]] = {name: {} for name in self.storage}
        for key, copies in locations.items():
            for copy in copies:
                held[copy.backend][copy.name] = expected.get(key, "")
        for backend, storage in self.storage.items():
            wrong += _differences(backend, storage, held[backend])
        checked = self.fsck("--deep")
        if checked.returncode != 0 or checked.stdout.strip() != "clean":
            wrong.append(f"fsck --deep: status {checked.returncode}: {checked.stdout}{checked.stderr}")
        return wrong

    def fsck(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Check the ledger, which nobody serves."""
        return fsck(self.config_path, *options)


def _differences(backend: str, storage: Storage, expected: Mapping[str, str]) -> list[str]:
    found = storage.digests()
    wrong = [f"{backend}: {name!r} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{backend}: {name!r} is nobody's" for name in found.keys() - expected.keys()]
    wrong += [f"{backend}: an unfinished upload is left: {upload}" for upload in storage.uploads()]
    for name in expected.keys() & found.keys():
        if found[name] != expected[name]:
            wrong.append(f"{backend}: {name!r} has other bytes than were written")
    return wrong


def _has_come(time_ms: int) -> bool:
    return _now_ms() > time_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
