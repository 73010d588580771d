"""
A whole orchestrator in a thread with a reactor of its own, behind a real socket.

Tests ask it as clients do, from outside, and may look at its backends and its ledger
afterwards, or make a backend fail. One server serves a whole class.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, ClassVar, TypeVar
from unittest.mock import patch

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.core import Wrapping
from s3orchestrator.app.orchestrator import Orchestrator, build
from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.config.loader import load
from s3orchestrator.config.sections import Config
from s3orchestrator.domain.owning import MARKER
from tests.integration.asking import PATIENCE, Answer, Caller, Hangup

T = TypeVar("T")

CONFIGURATION = """
server: %(settings)s
database: {driver: sqlite, path: "%(folder)s/ledger.db"}
write_path: {replay_limit: 256KB, quiet_period: 50ms}
backends: %(backends)s
buckets:
  - name: photos
    credentials:
      - {access_key_id: photoskey, secret_access_key: photossecret}
      - {token: "photos-token"}
  - name: documents
    credentials: [{access_key_id: docskey, secret_access_key: docssecret}]
  - name: Older_Name
  - name: few
    max_multipart_uploads: 1
users:
  - {name: alice, credentials: [{access_key_id: alice, secret_access_key: alicesecret}],
     create_buckets: true, buckets: [photos, documents, few, Older_Name]}
  - {name: reader, credentials: [{access_key_id: reader, secret_access_key: readersecret}],
     buckets: [photos], access: read}
  - {name: writer, credentials: [{access_key_id: writer, secret_access_key: writersecret}],
     buckets: [photos], access: write}
  - {name: maker, credentials: [{access_key_id: maker, secret_access_key: makersecret}],
     create_buckets: true, access: write}
  - {name: bob, credentials: [{access_key_id: bob, secret_access_key: bobsecret}], create_buckets: true}
"""

# Nobody pulls the plug here, so that no test has to wait for a disk.
IN_MEMORY = Path("/dev/shm")
SETTINGS = {
    "listen_addr": "127.0.0.1:0",
    "domains": ["s3.example.net"],
    "read_timeout": "2s",
    "read_header_timeout": "2s",
    "max_object_size": "100MB",
}
MEMORY = "[{name: a, type: memory, quota_bytes: 300MB}, {name: b, type: memory, quota_bytes: 300MB}]"
DIRECTORIES = (
    '[{name: a, type: directory, path: "%(folder)s/a", quota_bytes: 300MB},'
    ' {name: b, type: directory, path: "%(folder)s/b", quota_bytes: 300MB}]'
)


@define(eq=False)
class Server:
    """
    A serving orchestrator. `failures` are the log's tracebacks and errors.

    `settings` are more of the section `server`, `sections` more of the file. `memory_class` makes
    memory backends. `wrapping` is put around what it is built of.
    """

    backends: str = MEMORY
    settings: dict[str, Any] = field(factory=dict)
    memory_class: type[MemoryBackend] = MemoryBackend
    wrapping: Wrapping | None = None
    sections: str = ""
    folder: Path = field(init=False)
    failures: list[str] = field(init=False, factory=list)
    orchestrator: Orchestrator = field(init=False)
    _config: Config = field(init=False)
    _reactor: Any = field(init=False)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """Return once it serves."""
        self.folder = Path(mkdtemp(prefix="s3o-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        for name in ("a", "b"):
            (self.folder / name).mkdir()
        backends = self.backends % {"folder": self.folder}
        text = self.sections + CONFIGURATION % {
            "folder": self.folder,
            "backends": backends,
            "settings": json.dumps(SETTINGS | self.settings),
        }
        globalLogPublisher.addObserver(self._observe)
        self._reactor = EPollReactor()
        self._thread = threading.Thread(target=self._reactor.run, args=(False,), daemon=True)
        self._thread.start()
        self._config = load(text, {}).config
        self._serve()

    def _serve(self) -> None:
        self.orchestrator = build(self._config, self._reactor, self.wrapping)
        with patch("s3orchestrator.backends.building.MemoryBackend", self.memory_class):
            self.run(self.orchestrator.start)

    def restart(self) -> None:
        """Stop it and start another on the same data, at another address."""
        self.run(self.orchestrator.stop)
        self._serve()

    def stop(self) -> None:
        """Stop it as a signal would, and forget its data."""
        self.run(self.orchestrator.stop)
        self._reactor.callFromThread(self._reactor.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the reactor did not stop"
        globalLogPublisher.removeObserver(self._observe)
        rmtree(self.folder)

    def run(self, work: Callable[[], Coroutine[Any, Any, T] | Deferred[T] | T]) -> T:
        """Call `work` in the reactor's thread, and return or raise its outcome."""
        outcome: list[Any] = []
        done = threading.Event()

        def ended(result: object) -> None:
            outcome.append(result)
            done.set()

        async def working() -> object:
            result = work()
            return await result if isinstance(result, Coroutine | Deferred) else result

        self._reactor.callFromThread(lambda: Deferred.fromCoroutine(working()).addBoth(ended))
        assert done.wait(6 * PATIENCE), "the server's reactor hangs"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: T = outcome[0]
        return result

    def memory(self, name: str) -> MemoryBackend:
        """One of the backends, to look at or to make it fail."""
        guarded = self.orchestrator.core.backends[name]
        assert isinstance(guarded, GuardedBackend)
        assert isinstance(guarded.backend, MemoryBackend)
        return guarded.backend

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.orchestrator.endpoint.removeprefix("http://").rpartition(":")
        return host, int(port)

    def caller(self, access_key_id: str = "alice", secret: str | None = None, **more: Any) -> Caller:
        """Somebody of the configuration."""
        return Caller(self.address, access_key_id, secret or _SECRETS.get(access_key_id, "wrong"), **more)

    def contents(self) -> dict[str, Any]:
        """
        Return what there is: objects, uploads and parts by name, and every counter of the ledger.

        Blobs that are on their way out are among it.
        """
        with closing(sqlite3.connect(f"file:{self.folder}/ledger.db?mode=ro", uri=True)) as ledger:
            rows = {name: sorted(map(repr, ledger.execute(query))) for name, query in _LEDGER.items()}
        return {**rows, **self.run(self._on_backends)}

    def settled(self) -> dict[str, Any]:
        """Return `contents` once nothing is on its way in or out."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.contents())["unsettled"]:
            assert time.monotonic() < deadline, f"does not settle: {found['unsettled']}"
            time.sleep(0.02)
        return found

    async def _on_backends(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for backend in self.orchestrator.core.backends.all():
            listed = await backend.list_objects()
            found[f"objects on {backend.name}"] = sorted(
                # The marker has another number after each start.
                (one.name, one.size, one.etag)
                for one in listed
                if one.name != MARKER
            )
            uploads = await backend.list_uploads()
            found[f"uploads on {backend.name}"] = sorted((one.name, one.upload_id) for one in uploads)
        return found

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level", LogLevel.info) >= LogLevel.error:
            trace = event["log_failure"].getTraceback() if event.get("log_failure") else ""
            self.failures.append(f"{event.get('log_format')} {event.get('log_text', '')}\n{trace}")


_SECRETS = {
    "photoskey": "photossecret",
    "docskey": "docssecret",
    **{name: f"{name}secret" for name in ("alice", "bob", "reader", "writer", "maker")},
}
_LEDGER = {
    "unsettled": "SELECT id, name, state, reason FROM blobs WHERE state NOT IN ('live', 'dead')"
    " AND id NOT IN (SELECT blob_id FROM uploads WHERE state IN ('open', 'completing'))"
    " UNION ALL SELECT number, upload_id, state, '' FROM parts WHERE state = 'sending'",
    "buckets": "SELECT name, owner FROM buckets WHERE deleted_ms IS NULL",
    "versions": "SELECT bucket_id, key, size, etag, modified_ms, metadata, checksum_value FROM versions",
    "blobs": "SELECT backend, name, state, size FROM blobs",
    "counts": "SELECT backend, bucket_id, live, reserved, orphan, objects FROM byte_counts"
    " WHERE live + reserved + orphan + objects > 0",
    "guards": "SELECT backend, taken FROM backend_guards",
    "uploads": "SELECT id, key, state FROM uploads",
    "parts": "SELECT upload_id, number, etag, size FROM parts WHERE counts",
}


class ServerCase(SynchronousTestCase):
    """Tests against one server, which must not log a failure."""

    backends: ClassVar[str] = MEMORY
    settings: ClassVar[dict[str, Any]] = {}
    memory_class: ClassVar[type[MemoryBackend]] = MemoryBackend
    wrapping: ClassVar[Wrapping | None] = None
    sections: ClassVar[str] = ""
    server: ClassVar[Server]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = Server(cls.backends, cls.settings, cls.memory_class, cls.wrapping, cls.sections)
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        self.server.failures.clear()
        self.alice = self.server.caller()
        self._failed_rows: list[str] = []

    def tearDown(self) -> None:
        super().tearDown()
        if self._failed_rows or self.server.failures:
            self.fail("\n".join([*self._failed_rows, *self.server.failures]))

    @contextmanager
    def subTest(self, msg: object = None, **params: object) -> Iterator[None]:
        """One row of a table: if it fails the others are tried all the same, and all failures reported."""
        try:
            yield
        except (self.failureException, AssertionError, Hangup) as error:
            self._failed_rows.append(f"{msg}: {error!r}")

    def assertRefused(self, answer: Answer, status: int, code: str) -> None:
        """The answer is an S3 error, complete and of that kind."""
        self.assertEqual((answer.status, answer.code), (status, code), answer.body)
        self.assertEqual(answer.header("content-type"), "application/xml")
        self.assertTrue(answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>'))
        self.assertTrue(answer.detail("Message"))
        self.assertEqual(answer.detail("RequestId"), answer.header("x-amz-request-id"))
        self.assertRegex(answer.header("x-amz-request-id") or "", r"^[0-9A-Fa-f]{16,64}$")
        self.assertTrue(answer.detail("HostId"))
        self.assertEqual(answer.detail("HostId"), answer.header("x-amz-id-2"))

    def assertSucceeded(self, answer: Answer, status: int = 200) -> Answer:
        """The answer is no error."""
        self.assertEqual(answer.status, status, answer.body[:2000])
        return answer
