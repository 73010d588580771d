"""
Dying at a chosen moment.

All that an orchestrator does to the world are transactions and calls of backends. Here they
are numbered in the order in which they begin, and the process can be killed right before or
right after the n-th: whatever a crash can leave behind, one of them leaves.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar

from attrs import define, field
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.app.core import Wrapping
from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    ITransaction,
    ListedObject,
    ListedUpload,
    Row,
    Stored,
    Traits,
)
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.store.operations import ILedger, Operations

T = TypeVar("T")


class When(Enum):
    """On which side of a point to die."""

    BEFORE = "before"
    AFTER = "after"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_nobody(line: str) -> None:
    pass


@define(eq=False)
class CrashPoints:
    """
    Numbers the side effects of this process from 1, and ends it at number `kill_at`; 0 is never.

    `tell` hears of each as it is reached. Nothing counts before `arm`, unless made with `armed`.
    """

    kill_at: int = 0
    when: When = When.BEFORE
    tell: Callable[[str], None] = _tell_nobody
    armed: bool = True
    die: Callable[[], None] = _die
    _count: int = field(init=False, default=0)

    def arm(self) -> None:
        """Count from here on."""
        self.armed = True
        self.tell("armed")

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Be a point of that name; its effect is what happens inside."""
        number = self._begin(what)
        if number == self.kill_at and self.when is When.BEFORE:
            self.die()
        yield
        # Not if it failed: then there was no effect to be after.
        if number == self.kill_at and self.when is When.AFTER:
            self.die()

    def at(self, what: str) -> None:
        """Be a point without an effect of its own: before and after it are the same."""
        with self.around(what):
            pass

    def _begin(self, what: str) -> int:
        if not self.armed:
            return -1
        self._count += 1
        self.tell(f"{self._count} {what}")
        return self._count


@define(eq=False)
class _Halfway:
    """A filter that passes everything on, and is a point when half of it has passed."""

    _points: CrashPoints
    _what: str
    _half: int
    _passed: int = field(init=False, default=0)

    def resize(self, length: int) -> int:
        return length

    def update(self, data: bytes) -> bytes:
        if self._passed < self._half <= self._passed + len(data):
            self._points.at(self._what)
        self._passed += len(data)
        return data

    def finish(self) -> bytes:
        return b""


@implementer(ILedger)
@define(eq=False)
class CrashingLedger:
    """A ledger whose transactions are points; reads are not, for they leave nothing."""

    _ledger: ILedger
    _points: CrashPoints

    @property
    def ledger_id(self) -> str:
        """The ledger's own."""
        ledger_id: str = self._ledger.ledger_id
        return ledger_id

    @property
    def operations(self) -> Operations:
        """The ledger's own."""
        operations: Operations = self._ledger.operations
        return operations

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction; a point."""
        with self._points.around(f"transaction {_name_of(work)}"):
            result: T = await self._ledger.transact(work)
        return result

    async def query(self, statement: str, **parameters: object) -> list[Row]:
        """Read."""
        return await self._ledger.query(statement, **parameters)

    def now_ms(self) -> int:
        """Ledger time."""
        return self._ledger.now_ms()

    async def close(self) -> None:
        """Let go."""
        await self._ledger.close()

    def __getattr__(self, name: str) -> Any:
        # What an engine's ledger can do besides is nobody's side effect here.
        return getattr(self._ledger, name)


def _name_of(work: Any) -> str:
    """What a transaction is for, as far as its function tells."""
    while inner := getattr(work, "func", getattr(work, "work", None)):
        work = inner
    return str(getattr(work, "__qualname__", type(work).__name__))


@implementer(IBackend)
@define(eq=False)
class CrashingBackend:
    """
    A backend whose changing calls are points, and so is the middle of a body that is sent there.

    The middle counts when the next piece arrives: what came before has been passed on.
    """

    _backend: IBackend
    _points: CrashPoints

    @property
    def name(self) -> str:
        """The backend's own."""
        name: str = self._backend.name
        return name

    @property
    def traits(self) -> Traits | None:
        """The backend's own."""
        traits: Traits | None = self._backend.traits
        return traits

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """Store; a point, and another in mid-body."""
        with self._points.around(f"{self.name}: put"):
            return await self._backend.put(name, self._halved(body, "put"), description, exclusive=exclusive)

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """Read."""
        return await self._backend.get(name, wanted, etag=etag)

    async def head(self, name: str) -> Found:
        """Look."""
        return await self._backend.head(name)

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """Remove; a point."""
        with self._points.around(f"{self.name}: delete"):
            await self._backend.delete(name, version_id)

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """Copy; a point."""
        with self._points.around(f"{self.name}: copy"):
            return await self._backend.copy(
                source, target, description, exclusive=exclusive, source_etag=source_etag
            )

    async def create_upload(self, name: str, description: Description) -> str:
        """Begin an upload; a point."""
        with self._points.around(f"{self.name}: create upload"):
            return await self._backend.create_upload(name, description)

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """Store a part; a point, and another in mid-body."""
        with self._points.around(f"{self.name}: put part"):
            return await self._backend.put_part(name, upload_id, number, self._halved(body, "put part"))

    async def copy_part(
        self,
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        *,
        source_etag: str | None = None,
    ) -> Stored:
        """Copy a part; a point."""
        with self._points.around(f"{self.name}: copy part"):
            return await self._backend.copy_part(
                name, upload_id, number, source, wanted, source_etag=source_etag
            )

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """Make the object; a point."""
        with self._points.around(f"{self.name}: complete upload"):
            return await self._backend.complete_upload(name, upload_id, parts, exclusive=exclusive, late=late)

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """Discard an upload; a point."""
        with self._points.around(f"{self.name}: abort upload"):
            await self._backend.abort_upload(name, upload_id)

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """List."""
        return await self._backend.list_objects(prefix, after, limit)

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """List."""
        return await self._backend.list_uploads(prefix)

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """List."""
        return await self._backend.list_versions(name)

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """Find out the traits; a point, for that takes trying."""
        with self._points.around(f"{self.name}: probe"):
            return await self._backend.probe(scratch)

    async def close(self) -> None:
        """Let go."""
        await self._backend.close()

    def _halved(self, body: IBodyProducer, verb: str) -> IBodyProducer:
        length = body.length
        half = length // 2 if length != UNKNOWN_LENGTH else 1
        return FilteredBody(body, _Halfway(self._points, f"{self.name}: in mid-body of {verb}", half))


def wrapping(points: CrashPoints) -> Wrapping:
    """Return crash points around everything that an orchestrator changes."""
    return Wrapping(
        lambda ledger: CrashingLedger(ledger, points), lambda backend: CrashingBackend(backend, points)
    )
