"""What all measurements need: the programs, somebody to sign requests, and how thorough to be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from attrs import define, field, frozen

from s3orchestrator.testing.bench.certificate import Certificate
from s3orchestrator.testing.bench.load import Replay
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import (
    ACCESS_KEY_ID,
    BUCKETS,
    SECRET,
    Server,
    nginx,
    orchestrator,
    sink,
)

BUCKET, FULL_BUCKET = BUCKETS
MIB = 1 << 20
GB = 1e9


@frozen
class Effort:
    """How much is measured. Sizes are bytes, times seconds."""

    rounds: int
    seconds: float
    repeats: int
    large: int
    keys: int


THOROUGH = Effort(rounds=5, seconds=2.0, repeats=6, large=3 << 30, keys=1_000_000)
QUICK = Effort(rounds=3, seconds=0.5, repeats=2, large=1 << 29, keys=100_000)


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
        server = nginx(self._fresh(), self._backend(), self.tls, large_buffers=large_buffers)
        with _running(server, "/?list-type=2") as running:
            yield running

    @contextmanager
    def orchestrator(self, directory: Path | None = None) -> Iterator[Server]:
        """Have an orchestrator running, with a ledger of its own or the one that `directory` has."""
        server = orchestrator(directory or self._fresh(), self._backend(), self.tls)
        with _running(server, "/health/ready") as running:
            yield running

    def fresh_directory(self) -> Path:
        """A directory for an orchestrator that is to be started more than once."""
        return self._fresh()

    def _fresh(self) -> Path:
        directory = self.directory / f"run-{next(self._numbers)}"
        directory.mkdir()
        return directory

    def _backend(self) -> Server:
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


def each_once(server: Server, requests: list[bytes]) -> None:
    """Make all `requests`, one after another."""
    left = iter(requests)
    replay = Replay(server.port, left, connections=1).open()
    try:
        for _ in requests:
            replay.play(0)
    finally:
        replay.close()
