"""
Finding out whose a backend is, before anything is changed there (L9).

The marker is read at start, when a backend was away, and whenever its number is to be raised. No
request costs a call more for it: who writes to a backend that was looked at asks a variable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from attrs import define, field
from prometheus_client import Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.domain.owning import (
    CONTENT_TYPE,
    LONGEST,
    MARKER,
    UNKNOWN,
    Known,
    Marker,
    Standing,
    Unreadable,
    Verdict,
    judge,
    read_marker,
    unfamiliar,
    unreadable,
)
from s3orchestrator.domain.records import BlobState
from s3orchestrator.domain.stamping import read_stamp
from s3orchestrator.errors import (
    BackendError,
    BackendUnavailable,
    BackendWithheld,
    NameTaken,
    NoSuchBlob,
    StoreUnavailable,
)
from s3orchestrator.interfaces import Description, IBackend, IBlobs, ILocks, IMarks, Stored
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.logging import make_logger

# A marker that is missing is looked for again: some services do not show at once what they have
# taken, and some say for a moment that nothing is there.
LOOKS = 3
BETWEEN_LOOKS = 2.0  # seconds
# After a look that was not answered, others who want to write do not wait for another one.
PATIENCE = 1.0
# How many of the ledger's objects are looked for on a backend that has no marker yet.
LOOKED_FOR = 20
PAGE = 100
MOST_PAGES = 100  # of rows, until enough live ones have been seen

# Nobody reuses a name before it has rested for the quiet period. With a number raised twice in that
# time, whoever has an older ledger than that sees it.
SHORTEST_PERIOD = 15.0  # seconds; names that rest for less than a minute are for tests

STANDING = Gauge(
    "s3o_backend_standing",
    "How a backend stands to the ledger: 0 ours, 1 not checked yet, 2 the ledger is behind it, 3 not ours.",
    ["backend"],
)
_SHOWN = {Standing.OURS: 0, Standing.UNKNOWN: 1, Standing.BEHIND: 2}


async def fetch_marker(backend: IBackend) -> Marker | None:
    """
    Read the marker, None if there is none.

    :raises Unreadable: there is something else.
    :raises BackendError: the backend cannot tell.
    """
    try:
        fetched = await backend.get(MARKER)
    except NoSuchBlob:
        return None
    if not 0 < fetched.size <= LONGEST:
        fetched.body.stopProducing()
        raise Unreadable
    return read_marker(await collect(fetched.body, LONGEST))


async def store_marker(backend: IBackend, marker: Marker, *, exclusive: bool) -> Stored:
    """
    Write the marker, over another one unless `exclusive`.

    :raises NameTaken: `exclusive`, and there is one.
    :raises BackendError: it may be there, or not.
    """
    description = Description(CONTENT_TYPE)
    return await backend.put(MARKER, BytesBody(marker.text()), description, exclusive=exclusive)


@define(eq=False)
class Owner:
    """
    How one backend stands. `backend` is it, without anybody asking us before.

    `forgets`: it holds nothing after a restart by its nature, so that a marker which is missing
    means nothing.
    """

    log = make_logger()
    backend: IBackend
    _ledger_id: str
    _marks: IMarks
    _blobs: IBlobs
    _locks: ILocks
    _clock: IReactorTime
    _quiet_period: float
    _forgets: bool
    verdict: Verdict = field(init=False, default=UNKNOWN)
    is_shut: bool = field(init=False, default=False)  # as the verdict has it; each request asks
    known: Known = field(init=False, default=Known())
    _is_current: bool = field(init=False, default=False)
    _absences: int = field(init=False, default=0)  # how often it was away
    _is_raised: bool = field(init=False, default=False)  # by this process
    _is_declared: bool = field(init=False, default=False)
    _version_id: str | None = field(init=False, default=None)  # of the marker that was written last
    _waiting: list[Deferred[None]] = field(init=False, factory=list)
    _failure: str = field(init=False, default="")
    _failed_at: float = field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self._show()

    @property
    def name(self) -> str:
        """The backend's."""
        return self.backend.name

    @property
    def period(self) -> float:
        """Seconds after which the number is raised again."""
        return max(self._quiet_period / 2, SHORTEST_PERIOD)

    def trusts_plain_names(self) -> bool:
        """Tell whether a plain name may be used: whoever has an older ledger would notice by now."""
        since = self._marks.now_ms() - self.known.marked_ms
        return self.verdict.standing is Standing.OURS and since < 2 * self.period * 1000

    def stale(self) -> None:
        """Look again before anything is changed: the backend was away, and may be another one now."""
        self._is_current = False
        self._absences += 1

    async def before(self, is_allowed: Callable[[Standing], bool]) -> None:
        """:raises BackendWithheld: its standing does not allow it, or cannot be found out."""
        if not self._is_current:
            if self._clock.seconds() - self._failed_at >= PATIENCE:
                await self.look()
            if not self._is_current:
                raise BackendWithheld(f"{self.name}: nobody can tell whose it is now: {self._failure}")
        if not is_allowed(self.verdict.standing):
            raise BackendWithheld(f"{self.name}: {self.verdict.reason}")

    async def look(self) -> None:
        """Find out how it stands, once for all who ask meanwhile; a failure is remembered, not raised."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            start(self._look_for_all())
        await waiting

    async def keep(self) -> None:
        """Look if that is due, and raise the number if that is; to be called again and again."""
        if not self._is_current or self.verdict.standing is not Standing.OURS:
            await self.look()
        else:
            self._learn(await self._read_ledger())
        if not self._is_current or self.verdict.standing is not Standing.OURS:
            return
        if not self._is_raised or self._marks.now_ms() - self.known.marked_ms >= self.period * 1000:
            await self._raise()

    def declared_behind(self) -> None:
        """An operator has said so, and need not be told."""
        self._is_declared, self._is_current = True, False

    async def catch_up(self) -> None:
        """
        Let the ledger be behind no more: it knows all that is there.

        :raises BackendError: the marker does not say so yet; the next start sees to that.
        """
        marker = await fetch_marker(self.backend)
        known = await self._read_ledger()
        number = max(known.number, marker.number if marker is not None else 0) + 1
        await self._marks.set_number(self.name, number, caught_up=True)
        await store_marker(self.backend, Marker(self._ledger_id, self.name, number), exclusive=False)
        await self.look()

    async def claim(self) -> None:
        """
        Make the backend ours, whatever it says: the operator knows better.

        :raises BackendError: it may have become ours, or not.
        """
        known = await self._read_ledger()
        number = known.number + 1
        with suppress(Unreadable):
            marker = await fetch_marker(self.backend)
            if judge(self._ledger_id, self.name, known, marker).standing is Standing.BEHIND:
                await self._marks.declare_behind([self.name])  # it still is, whosever the backend was
            if marker is not None and (marker.ledger, marker.backend) == (self._ledger_id, self.name):
                number = max(number, marker.number)
        # The ledger first: half-way through, the backend is as it was, and can be claimed again.
        await self._marks.set_number(self.name, number, caught_up=False)
        await store_marker(self.backend, Marker(self._ledger_id, self.name, number), exclusive=False)
        await self.look()

    # --- looking

    async def _look_for_all(self) -> None:
        try:
            await self._look()
        except (BackendError, StoreUnavailable) as error:
            self._fail(str(error))
        except Exception:
            self.log.failure("{backend}: its marker could not be looked at", backend=self.name)
            self._fail("failed in an unforeseen way; see the log")
        finally:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def _fail(self, failure: str) -> None:
        if self._failure != failure:
            self.log.warn(
                "{backend}: nobody can tell whose it is now: {error}", backend=self.name, error=failure
            )
        self._failure, self._failed_at = failure, self._clock.seconds()

    async def _look(self) -> None:
        absences = self._absences
        verdict, known = await self._judged()
        if verdict.standing is Standing.NEW:
            verdict, known = await self._make(known)
        if verdict.standing is Standing.BEHIND and not known.is_behind:
            await self._marks.declare_behind([self.name])
        self.known = known
        # What was read before it went away says nothing of what came back.
        self._is_current = absences == self._absences
        self._failure = "" if self._is_current else "it was away just now"
        self._settle(verdict)

    async def _judged(self) -> tuple[Verdict, Known]:
        """Judge what is there; that the marker is missing or none is believed the third time."""
        for left in range(LOOKS - 1, -1, -1):
            verdict, known = await self._judged_once()
            if verdict.standing not in (Standing.ABSENT, Standing.UNREADABLE):
                break
            if verdict.standing is Standing.ABSENT and self._forgets:
                return Verdict(Standing.NEW), known
            if left:
                await self._wait()
        return verdict, known

    async def _judged_once(self) -> tuple[Verdict, Known]:
        try:
            # In this order: others raise the ledger's number before the marker's.
            marker = await fetch_marker(self.backend)
        except Unreadable:
            return unreadable(self.name), await self._read_ledger()
        known = await self._read_ledger()
        return judge(self._ledger_id, self.name, known, marker), known

    async def _read_ledger(self) -> Known:
        return (await self._marks.known()).get(self.name, Known())

    async def _make(self, known: Known) -> tuple[Verdict, Known]:
        """Make the marker where there never was one, if the backend has what the ledger says."""
        if not self._forgets:
            looked_for = await self._looked_for_in_vain()
            if looked_for:
                return unfamiliar(self.name, looked_for), known
        with_number = Marker(self._ledger_id, self.name, known.number)
        with suppress(NameTaken):  # another instance was faster, or another ledger: what is there decides
            await store_marker(self.backend, with_number, exclusive=True)
        for _ in range(LOOKS):
            verdict, known = await self._judged()
            if verdict.standing is not Standing.NEW:
                return verdict, known
            await self._wait()
        raise BackendUnavailable(f"{self.name}: it took a marker and does not show it", replied=True)

    async def _looked_for_in_vain(self) -> int:
        """Look for what the ledger has there; 0 if something is found, else how many were looked for."""
        number, after = 0, ""
        for _ in range(MOST_PAGES):
            page = await self._blobs.names(self.name, after, PAGE)
            for blob in page:
                if blob.state is not BlobState.LIVE:
                    continue
                if await self._is_there(blob.name, blob.etag):
                    return 0
                number += 1
                if number == LOOKED_FOR:
                    return number
            if len(page) < PAGE:
                break
            after = page[-1].name
        return number

    async def _is_there(self, name: str, etag: str) -> bool:
        try:
            found = await self.backend.head(name)
        except NoSuchBlob:
            return False
        stamp = read_stamp(found.meta)
        return (stamp is not None and stamp.ledger == self._ledger_id) or bool(etag and found.etag == etag)

    async def _wait(self) -> None:
        waiting: Deferred[None] = Deferred()
        self._clock.callLater(BETWEEN_LOOKS, waiting.callback, None)
        await waiting

    # --- raising

    async def _raise(self) -> None:
        async with self._locks.hold(f"owner {self.name}") as held:
            if not held:
                return  # somebody else is at it, for all instances
            await self.look()
            if not self._is_current or self.verdict.standing is not Standing.OURS:
                return
            began_ms, number = self._marks.now_ms(), self.known.number
            if not await self._marks.raise_number(self.name, number):
                return
            try:
                raised = Marker(self._ledger_id, self.name, number + 1)
                stored = await store_marker(self.backend, raised, exclusive=False)
                await self._drop_former(stored)
            except BackendError as error:
                # The ledger's number is the larger one, which is in order; it is tried again.
                self.log.warn(
                    "{backend}: its marker was not raised: {error}", backend=self.name, error=str(error)
                )
                return
            await self._marks.marked(self.name, number + 1, began_ms)
            self.known = Known(number + 1, began_ms)
            self._is_raised = True

    async def _drop_former(self, stored: Stored) -> None:
        """Where versions are kept, remove the one of the last time: there would be thousands in a year."""
        former, self._version_id = self._version_id, stored.version_id
        if former is not None and stored.version_id is not None and former != stored.version_id:
            await self.backend.delete(MARKER, former)

    # --- what comes of it

    def _learn(self, known: Known) -> None:
        """Take over what other instances have recorded."""
        self.known = known
        self._settle(judge(self._ledger_id, self.name, known, Marker(self._ledger_id, self.name, 0)))

    def _settle(self, verdict: Verdict) -> None:
        before, self.verdict = self.verdict, verdict
        self.is_shut = verdict.standing.is_shut
        self._show()
        if before == verdict:
            return
        if verdict.standing is Standing.OURS:
            if before.standing is not Standing.UNKNOWN:
                self.log.info("{backend} is this ledger's, and may be changed again", backend=self.name)
        elif verdict.standing is Standing.BEHIND:
            if self._is_declared:
                return
            self.log.critical(
                "{backend}: nothing is deleted there: {verdict}", backend=self.name, verdict=str(verdict)
            )
        else:
            self.log.critical(
                "{backend}: nothing is written or deleted there: {verdict}",
                backend=self.name,
                verdict=str(verdict),
            )
        audit("backend.standing", backend=self.name, standing=verdict.standing.value, reason=verdict.reason)

    def _show(self) -> None:
        STANDING.labels(self.name).set(_SHOWN.get(self.verdict.standing, 3))
