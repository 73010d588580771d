"""
The ledger in an SQLite file.

Whatever is queued is written as one group. Its statements run on the reactor's thread, for a few
milliseconds at most; a thread goes on with what takes longer, waits for the disk and tells the
reactor once. How it is read is told in `reading`. Without a thread everything happens at once, in
the caller's turn: nothing that awaits it is ever suspended, which is what unit tests want.
"""

from __future__ import annotations

import os
import sqlite3
from base64 import b32encode
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from resource import RUSAGE_THREAD, getrusage
from threading import Thread
from time import monotonic
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store import load
from s3orchestrator.store.hearing import Hearers
from s3orchestrator.store.lockfile import LockFile
from s3orchestrator.store.locks import LocalLocks
from s3orchestrator.store.migrate import migrate, migrations
from s3orchestrator.store.operations import ILedger, Operations
from s3orchestrator.store.owners import register
from s3orchestrator.store.reading import SqliteReading
from s3orchestrator.store.sqliteshortcuts import SqliteShortcuts
from s3orchestrator.store.writer import BUSY_TIMEOUT, Outcome, Steps, Work, Writer

T = TypeVar("T")

IN_MEMORY = ":memory:"
MAX_GROUP = 128  # more only makes the first of them wait longer

# Seconds that a group may keep the reactor, and that one may take before the disk is taken for slow if
# there was something to wait for; then the thread does everything for a while. Seen of a thread that
# shares the interpreter with a busy reactor, a transaction costs two to three times as much.
TURN = 0.002
SLOW = 0.01
SPARED = 10.0
_CACHE_KIB = 64 * 1024
_LOG_LIMIT = 64 << 20  # what is kept of the log's file after a checkpoint

# What these hold is given back by `recover`, which also removes them.
OLD_OWNERS = "UPDATE owners SET lease_until_ms = 0"
LEDGER_ID = "SELECT id FROM ledger"


def waits() -> int:
    """How often this thread has had to wait for something else than the processor, such as a disk."""
    return getrusage(RUSAGE_THREAD).ru_nvcsw


@define(eq=False)
class _Job:
    """A transaction waiting for its turn; it has none if its caller leaves before."""

    work: Work[Any]
    is_long: bool = False
    done: Deferred[Any] = field(init=False)
    has_left: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(self._leave)

    def _leave(self, _: Deferred[Any]) -> None:
        self.has_left = True


@implementer(ILedger)
@define(eq=False)
class SqliteDatabase(SqliteReading):
    """
    A ledger in one file, for one process or for one and its children.

    `path` may be `IN_MEMORY` where nothing is threaded. `lease` is how many seconds each process
    may act on what it holds, None if there is only this one. Nothing happens before `open`.
    """

    _random: Callable[[int], bytes] = field(default=os.urandom, kw_only=True)
    _lease: float | None = field(default=None, kw_only=True)
    ledger_id: str = field(init=False, default="")
    operations: Operations = field(init=False)
    locks: LocalLocks = field(init=False, factory=LocalLocks)
    clock_skew_ms: int = field(init=False, default=0)
    _writer: Writer = field(init=False)
    _lock: LockFile = field(init=False)
    _jobs: deque[_Job] = field(init=False, factory=deque)
    _is_writing: bool = field(init=False, default=False)
    _spared_until: float = field(init=False, default=0.0)
    _handed: SimpleQueue[tuple[list[_Job], Steps] | None] = field(init=False, factory=SimpleQueue)
    _is_open: bool = field(init=False, default=False)
    _closing: Deferred[None] | None = field(init=False, default=None)
    _hearers: Hearers[str] = field(init=False, factory=Hearers)
    _watchers: Hearers[bool] = field(init=False, factory=Hearers)
    _was_away: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._writer = Writer(self._connect, self._snapshots.stop)
        self._lock = LockFile(f"{self.path}.lock")
        if self._threaded and self.path == IN_MEMORY:
            raise ValueError("a ledger in memory cannot be shared with a thread")

    @property
    def is_away(self) -> bool:
        """Tell whether the ledger cannot be written: what is read then may not last."""
        return self._writer.is_away

    @property
    def was_away(self) -> bool:
        """
        What those who watch were told last, and what whoever joins them must start from.

        The writer's thread may be winning the ledger back just now, of which nobody is ever told.
        """
        return self._was_away

    @property
    def held(self) -> int:
        """The descriptor that keeps others away: whoever inherits it does so, too, while it lives."""
        return self._lock.descriptor

    def open(self) -> SqliteDatabase:
        """
        Take the file for this process, bring its schema up to date, and start the writer.

        Blocks; call it where the program starts, after it has become a daemon.

        :raises LedgerInUse: another process has it.
        :raises LedgerTooNew: a newer release has changed it.
        :raises StoreUnavailable: it cannot be opened.
        """
        try:
            if self.path != IN_MEMORY:
                self._lock.acquire()
                self._make_file()
            self._writer.open()
            self._writer.setup(self._prepare)
            self._reader = self._connect_reader()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            raise StoreUnavailable(f"{self.path}: {error}") from error
        except BaseException:
            self._let_go()
            raise
        self._is_open = True
        load.show_queue(self._jobs.__len__)
        if self._threaded:
            # A daemon: dying in the middle of a group is what the ledger is made for.
            Thread(target=self._serve, name="ledger", daemon=True).start()
        return self

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction; see `IDatabase`."""
        return await self._write(work, is_long=False)

    async def _write(self, work: Callable[[ITransaction], Awaitable[T]], *, is_long: bool) -> T:
        if not self._is_open:
            raise StoreUnavailable("the ledger is closed")
        if not self._threaded:
            outcome: Outcome[T] = self._writer.commit([work])[0]
            self._tell_of([outcome])
            return outcome.get()
        job = _Job(work, is_long)
        self._jobs.append(job)
        if not self._is_writing:
            self._is_writing = True
            self._tell(self._write_group)  # next turn: what comes until then rides along
        result: T = await job.done
        return result

    async def at_length(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction; see `IDatabase`."""
        return await self._write(work, is_long=True)

    def on_notice(self, hear: Callable[[str], object]) -> None:
        """Call `hear` with what is said in a transaction, once it is committed; before that is answered."""
        self._hearers.add(hear)

    def on_away(self, hear: Callable[[bool], object]) -> None:
        """Call `hear` whenever the ledger cannot be written any more, and when it can again."""
        self._watchers.add(hear)

    async def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        if not self._is_open:
            return
        self._is_open = False
        await self._snapshots.close()
        if self._threaded:
            self._closing = Deferred()
            if not self._is_writing:
                self._handed.put(None)
            await self._closing
        load.show_nothing()
        self._let_go()

    def _let_go(self) -> None:
        if self._reader is not None and self.path != IN_MEMORY:
            self._reader.connection.close()
        self._reader = None
        self._writer.close()
        self._lock.release()

    async def _prepare(self, tx: ITransaction) -> None:
        now_ms = self.now_ms()
        fresh_id = b32encode(self._random(15)).decode("ascii").lower()
        await migrate(tx, migrations(), now_ms=now_ms, ledger_id=fresh_id)
        # Whoever held this ledger before is gone: we have the lock.
        await tx.run(OLD_OWNERS)
        owner = await register(tx, now_ms, self._lease)
        self.operations = Operations(
            owner, is_shared=self._lease is not None, is_alone=True, shortcuts=SqliteShortcuts(self)
        )
        ledger = await tx.one(LEDGER_ID)
        self.ledger_id = ledger[0] if ledger else ""

    def _make_file(self) -> None:
        """Make a new ledger the owner's own: it names every object. SQLite makes what is beside it alike."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # an acknowledged write survives power loss
            f"journal_size_limit = {_LOG_LIMIT}",
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
            "secure_delete = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _connect_reader(self) -> sqlite3.Cursor:
        return self._writer.cursor() if self.path == IN_MEMORY else self._connect_aside().cursor()

    def _write_group(self) -> None:
        """Begin with what is queued, on the reactor's thread; the writer's goes on with it."""
        group = self._next_group()
        if not group:
            self._is_writing = False
            if self._closing is not None:
                self._handed.put(None)
            return
        steps = self._writer.begin([job.work for job in group])
        began, waits_before = monotonic(), waits()
        if began < self._spared_until or any(job.is_long for job in group):
            self._handed.put((group, steps))
            return
        outcomes = self._outcomes_of(group, lambda: self._writer.go_on(steps, began + TURN))
        # Where others want the processor as well it takes as long, but then a thread would only add to that.
        if monotonic() - began > SLOW and waits() > waits_before:
            self._spared_until = began + SPARED
        if outcomes is None:
            self._handed.put((group, steps))
        else:
            self._tell(self._written, group, outcomes)

    def _written(self, group: list[_Job], outcomes: list[Outcome[Any]]) -> None:
        self._write_group()  # first, so that the disk has something to do meanwhile
        self._deliver(group, outcomes)

    def _next_group(self) -> list[_Job]:
        group: list[_Job] = []
        while self._jobs and len(group) < MAX_GROUP:
            job = self._jobs.popleft()
            if not job.has_left:
                group.append(job)
        return group

    def _serve(self) -> None:
        """Finish groups until told to stop; this is the writer's thread."""
        while (handed := self._handed.get()) is not None:
            group, steps = handed
            outcomes = self._outcomes_of(group, partial(self._writer.finish, steps))
            self._tell(self._written, group, outcomes)
        self._tell(self._stopped)

    def _outcomes_of(self, group: list[_Job], work: Callable[[], T]) -> T | list[Outcome[Any]]:
        try:
            return work()
        except Exception as error:
            # A mistake of ours; the thread must live on, or everybody would wait for ever.
            return [Outcome(error=error) for _ in group]

    def _deliver(self, group: list[_Job], outcomes: list[Outcome[Any]]) -> None:
        # First, so that whoever hears of a change from its author can have known of it.
        self._tell_of(outcomes)
        for job, outcome in zip(group, outcomes, strict=True):
            if job.has_left:
                continue
            if outcome.error is None:
                job.done.callback(outcome.value)
            else:
                job.done.errback(outcome.error)

    def _tell_of(self, outcomes: list[Outcome[Any]]) -> None:
        """Let others know what was said, and whether the ledger has gone or come."""
        for outcome in outcomes:
            for payload in outcome.notices:
                self._hearers.tell(payload)
        if self._was_away is not self._writer.is_away:
            self._was_away = self._writer.is_away
            self._watchers.tell(self._was_away)

    def _stopped(self) -> None:
        if self._closing is not None:
            self._closing.callback(None)
