"""
A whole engine in memory: a clock, memory backends, an SQLite ledger that never suspends.

Built by the same constructors as the real thing. What a test does here happens at once,
and what the test does not advance does not happen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from s3orchestrator.app.core import Core, build_core
from s3orchestrator.backends.guards import Guards
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.config.live import InForce
from s3orchestrator.config.loader import load
from s3orchestrator.domain.owning import MARKER
from s3orchestrator.domain.records import Bucket, Finding, Version
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.interfaces import IBackend, ICounters
from s3orchestrator.objects.checking import BackendChecker
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.payload import Payload
from s3orchestrator.services.cleanup import Cleanup
from s3orchestrator.services.rests import Rests
from s3orchestrator.services.stale_uploads import StaleUploads
from s3orchestrator.services.usage_flush import UsageFlush
from s3orchestrator.services.watchdog import Watchdog
from s3orchestrator.store.fsck import check
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase

T = TypeVar("T")

NOW = 1_750_000_000.0
QUIET_PERIOD = 3600


class StillWaiting(Exception):
    """What was run to its end is waiting for something."""


class LedgerInMemory(SqliteDatabase):
    """A ledger that can be copied: `image` is one to begin with."""

    def __init__(self, clock: Clock, image: bytes | None = None) -> None:
        super().__init__(IN_MEMORY, clock, threaded=False)
        self._begin_with = image
        self._connection: sqlite3.Connection | None = None

    def image(self) -> bytes:
        """What the file would be; no transaction may be open."""
        assert self._connection is not None
        return self._connection.serialize()

    def _connect(self) -> sqlite3.Connection:
        self._connection = super()._connect()
        if self._begin_with is not None:
            self._connection.deserialize(self._begin_with)
        return self._connection


@frozen
class Sweeper:
    """What time brings, all at once: the services that tidy up, one after the other."""

    _core: Core
    _rests: Rests
    _stale_after: float

    @classmethod
    def of(cls, core: Core, stale_after: float = 86_400) -> Sweeper:
        """Build the services."""
        return cls(core, Rests(core.ledger.blobs, core.backends, core.cleaner, core.ledger_id), stale_after)

    async def run_once(self) -> None:
        """Run each of them."""
        core = self._core
        core.cleaner.tell_again()
        await core.owners.run_once()
        ledger = core.ledger
        stale = StaleUploads(ledger.database, ledger.uploads, core.cleaner, lambda: self._stale_after)
        await stale.run_once()
        await Cleanup(ledger.blobs, core.cleaner).run_once()
        await self._rests.run_once()


@frozen
class Image:
    """The ledger and the backends at one moment."""

    ledger: bytes
    held: Mapping[str, MemoryBackend]


@define(eq=False)
class Harness:
    """
    `backends` are names; `quotas` and `max_object_size` go by name. The bucket is `photos`.
    `more` is added to the configuration of a backend, by its name, and `settings` to the rest, in YAML.

    `open_ledger` and `make_backend` may replace what is in memory by something that can be
    watched.
    """

    backends: Sequence[str] = ("a", "b")
    quotas: dict[str, int] = field(factory=dict)
    max_object_size: dict[str, int] = field(factory=dict)
    strategy: str = "pack"
    replay_limit: int = 1024
    more: dict[str, str] = field(factory=dict)
    settings: str = ""
    open_ledger: Callable[[Clock, bytes | None], LedgerInMemory] = LedgerInMemory
    make_backend: Callable[[str, Clock], MemoryBackend] = MemoryBackend
    clock: Clock = field(factory=Clock, init=False)
    core: Core = field(init=False)
    watchdog: Watchdog = field(init=False)
    bucket: Bucket = field(init=False)
    sweeper: Sweeper = field(init=False)
    ledger: LedgerInMemory = field(init=False)
    _by_name: dict[str, IBackend] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self._by_name = {name: self.make_backend(name, self.clock) for name in self.backends}
        self._start(None)

    def _start(self, image: bytes | None) -> None:
        in_force = InForce(load(self.configuration(), {}).config)
        database = self.ledger = self.open_ledger(self.clock, image)
        database.open()
        self.core = self.run(build_core(in_force, self.clock, database, self._by_name))
        ledger = self.core.ledger
        self.run(ledger.blobs.set_limits({name: self.quotas.get(name) for name in self.backends}))
        self.run(ledger.blobs.recover())
        self._find_owners()
        self.run(self.core.objects.catalog.load(["photos"]))
        self.bucket = self.core.objects.catalog.get("photos")
        self.sweeper = Sweeper.of(self.core)
        self.watchdog = Watchdog(lambda: self.guards.breakers, self.clock)
        self.run(self.usage_flush.run_once())

    def _find_owners(self) -> None:
        """Have it found out whose the backends are, and forget the calls, which are no test's business."""
        self.run(self.core.owners.run_once())
        for name in self.backends:
            self.backend(name).calls.clear()
        self.counters.take()
        self.counters.recorded()
        self.counters.rebase(self.counters.period, {})

    @property
    def guards(self) -> Guards:
        """The gates before the backends."""
        return self.core.guards

    @property
    def counters(self) -> ICounters:
        """What was used of the backends."""
        return self.core.counters

    @property
    def usage_flush(self) -> UsageFlush:
        """What records it."""
        return self.core.usage_flush

    def configuration(self) -> str:
        """Return the file it is built from."""
        lines = [
            "server: {listen_addr: '127.0.0.1:0'}",
            f"routing_strategy: {self.strategy}",
            f"write_path: {{replay_limit: {self.replay_limit}, quiet_period: {QUIET_PERIOD}s}}",
            "buckets: [{name: photos, credentials: [{access_key_id: k, secret_access_key: s}]}]",
            self.settings,
            "backends:",
        ]
        for name in self.backends:
            quota, largest = self.quotas.get(name, 0), self.max_object_size.get(name, 0)
            lines.append(
                f"  - {{name: {name}, type: memory, quota_bytes: {quota}, max_object_size: {largest}"
                f"{', ' if name in self.more else ''}{self.more.get(name, '')}}}"
            )
        return "\n".join(lines)

    # --- dying

    def image(self) -> Image:
        """What somebody would find if the process died now."""
        held = {name: self.backend(name).copied(self.clock) for name in self.backends}
        return Image(self.ledger.image(), held)

    def restart(self, image: Image | None = None) -> None:
        """
        Die, and start again on what is there, or on what was there once.

        Whatever was going on in the old process never goes on.
        """
        for call in self.clock.getDelayedCalls():
            call.cancel()
        if image is not None:
            self._by_name.update({name: held.copied(self.clock) for name, held in image.held.items()})
        self._start(image.ledger if image is not None else self.ledger.image())

    # --- running things

    def run(self, work: Coroutine[Any, Any, T] | Deferred[T]) -> T:
        """
        Run something that needs no more time than it is given; returns or raises its outcome.

        :raises StillWaiting: it waits for something.
        """
        outcome: list[Any] = []
        running = start(work)
        running.addBoth(outcome.append)
        self.settle()
        if not outcome:
            raise StillWaiting(str(work))
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: T = outcome[0]
        return result

    def settle(self) -> None:
        """Let everything happen that is due, cleaning up included."""
        for _ in range(20):
            self.clock.advance(0.1)

    def advance(self, seconds: float) -> None:
        """Let time pass, then sweep."""
        self.clock.advance(seconds)
        self.run(self.sweeper.run_once())

    # --- what tests do

    def backend(self, name: str) -> MemoryBackend:
        """One of the backends, to look into it or to make it fail."""
        found = self._by_name[name]
        assert isinstance(found, MemoryBackend)
        return found

    def incoming(self, data: bytes, headers: dict[bytes, list[bytes]] | None = None) -> Incoming:
        """A body as a client sends it, with whatever its headers declare."""
        return Incoming(BytesBody(data), Payload.of(headers or {}, None, len(data)))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        user: dict[str, str] | None = None,
        condition: WriteCondition | None = None,
    ) -> Version:
        """Put an object and wait until everything has settled."""
        metadata = ObjectMetadata(user=user or {})
        return self.run(
            self.core.objects.writing.put(self.bucket, key, self.incoming(data), metadata, condition)
        )

    def get(self, key: str, bucket: Bucket | None = None) -> bytes:
        """Read a whole object."""

        async def read() -> bytes:
            opened = await self.core.objects.reading.open(bucket or self.bucket, key, lambda version: None)
            return await collect(opened.body, opened.version.size)

        return self.run(read())

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.run(self.core.objects.deleting.delete(self.bucket, key))

    def stored(self) -> dict[str, dict[str, bytes]]:
        """All objects that are on the backends, by backend and name: markers are none."""
        return {
            name: {
                stored: held.data for stored, held in self.backend(name).objects.items() if stored != MARKER
            }
            for name in self.backends
        }

    def findings(self) -> list[Finding]:
        """What `fsck --deep` would report."""

        async def look() -> list[Finding]:
            ledger = self.core.ledger
            found = list(await check(ledger.database))
            checker = BackendChecker(ledger.blobs, ledger.uploads, self.clock)
            for name in self.backends:
                found += [finding async for finding in checker.check(self.core.backends[name])]
            return found

        return self.run(look())

    def expect(self, kind: type[OrchestratorError], work: Coroutine[Any, Any, Any]) -> OrchestratorError:
        """Run something that must fail like this."""
        try:
            self.run(work)
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")
