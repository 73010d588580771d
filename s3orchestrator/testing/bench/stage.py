"""What all measurements need: the programs, somebody to sign requests, and how thorough to be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from s3orchestrator.testing.bench.certificate import Certificate
from s3orchestrator.testing.bench.filling import fill
from s3orchestrator.testing.bench.load import Replay
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import (
    ACCESS_KEY_ID,
    BUCKETS,
    SECRET,
    Server,
    ledger_path,
    nginx,
    orchestrator,
    sink,
)

BUCKET, FULL_BUCKET = BUCKETS
MIB, GIB = 1 << 20, 1 << 30


@frozen
class Effort:
    """
    How much is measured.

    `seconds` is how long something is done in a round. `large` and `concurrent` are sizes in bytes: of what
    stands for a large object, and of those that are uploaded at once. `keys` is how many objects a full
    ledger has. With `every` nothing is left out to save time.
    """

    name: str
    rounds: int
    seconds: float
    large: int
    concurrent: int
    keys: int
    every: bool = False


QUICK = Effort("quick", rounds=2, seconds=0.3, large=128 * MIB, concurrent=16 * MIB, keys=100_000)
USUAL = Effort("usual", rounds=3, seconds=1.0, large=GIB, concurrent=256 * MIB, keys=2_000_000)
FULL = Effort("full", rounds=5, seconds=2.0, large=GIB, concurrent=256 * MIB, keys=2_000_000, every=True)


@define(eq=False)
class Stage:
    """
    A sink that runs as long as the benchmark, and programs in front of it for as long as they are needed.
    """

    directory: Path
    effort: Effort
    _sink: Server | None = field(init=False, default=None)
    tls: Certificate = field(init=False)  # of all that serve
    _numbers: Iterator[int] = field(init=False, factory=count)
    _filled: dict[int, Path] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.tls = Certificate.make(self.directory)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Have the sink running."""
        self._sink = sink(self.directory).start("/?list-type=2")
        try:
            yield
        finally:
            self._sink.stop()

    @contextmanager
    def nginx(self, *, large_buffers: bool = False) -> Iterator[Server]:
        """Have nginx running."""
        server = nginx(self.fresh_directory(), self.backend, self.tls, large_buffers=large_buffers)
        with _running(server, "/?list-type=2") as running:
            yield running

    @contextmanager
    def orchestrator(
        self,
        directory: Path | None = None,
        *,
        database: Mapping[str, Any] | None = None,
        workers: int | None = None,
    ) -> Iterator[Server]:
        """Have an orchestrator running, with a ledger of its own or the one that `directory` has."""
        place = directory or self.fresh_directory()
        server = orchestrator(place, self.backend, self.tls, database=database, workers=workers)
        with _running(server, "/health/ready") as running:
            yield running

    def fresh_directory(self) -> Path:
        """A directory for an orchestrator that is to be started more than once."""
        directory = self.directory / f"run-{next(self._numbers)}"
        directory.mkdir()
        return directory

    def filled_directory(self, keys: int) -> Path:
        """The directory of a ledger in which `FULL_BUCKET` has so many keys, and what others have added."""
        if keys not in self._filled:
            directory = self.fresh_directory()
            fill(ledger_path(directory), FULL_BUCKET, keys)
            self._filled[keys] = directory
        return self._filled[keys]

    @property
    def backend(self) -> Server:
        """The sink."""
        assert self._sink is not None
        return self._sink


@contextmanager
def _running(server: Server, ready: str) -> Iterator[Server]:
    server.start(ready)
    try:
        yield server
    finally:
        server.stop()


def sdk_for(server: Server) -> Sdk:
    """Somebody who may use both buckets."""
    return Sdk(b"127.0.0.1:%d" % server.port, ACCESS_KEY_ID, SECRET, lambda: time.time_ns() / 1e9)


def path_of(name: str, bucket: str = BUCKET) -> bytes:
    """The path of an object whose name needs no escaping."""
    return f"/{bucket}/{name}".encode()


def each_once(server: Server, requests: Iterable[bytes], connections: int = 8) -> None:
    """Make all `requests`, in about their order."""
    with closing(Replay(server.port, iter(requests), connections).open()) as replay:
        replay.play(float("inf"))
