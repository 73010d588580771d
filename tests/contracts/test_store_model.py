"""Any order of operations on a few keys, beside a model of what they must amount to."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock

from s3orchestrator.domain.records import Blob, Part, Upload
from s3orchestrator.errors import InsufficientStorage, InvalidPart, NoSuchKey, PreconditionFailed
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from tests.contracts.store_kit import ABSENT, MIB, QUIET, Kit

T = TypeVar("T")

KEYS = ("k", "k/below", "l")
LIMIT = 60 * MIB
ROOM = {"a": LIMIT, "u": None}

keys = st.sampled_from(KEYS)
backends = st.sampled_from(("a", "u"))
sizes = st.sampled_from((0, 1, 5 * MIB, 20 * MIB))
flags = st.booleans()
picks = st.integers(0, 1000)


def now(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


@define(eq=False)
class Sending:
    """An upload as a client and its backend know it."""

    upload: Upload
    attempts: list[Part] = field(factory=list)  # on their way
    stored: dict[int, Part] = field(factory=dict)  # those that count
    listed: list[tuple[int, str, None]] | None = None  # while completing


class LedgerMachine(RuleBasedStateMachine):
    """Each rule does something and notes what must be true now."""

    @initialize()
    def open(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.kit = Kit(SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open(), self.clock)
        self.bucket = now(self.kit.buckets.adopt("photos"))
        now(self.kit.blobs.set_limits(ROOM))
        self.etags = 0
        self.current: dict[str, tuple[str, int, int]] = {}  # key -> etag, blob, time of change
        self.pending: list[Blob] = []
        self.doomed: list[Blob] = []  # claimed by us
        self.resting: list[Blob] = []  # claimed for another look
        self.sending: list[Sending] = []
        self.counted: dict[int, tuple[str, str, int]] = {}  # blob -> backend, kind, bytes

    def teardown(self) -> None:
        if hasattr(self, "kit"):
            now(self.kit.ledger.close())

    def taken(self, backend: str) -> int:
        return sum(size for where, _, size in self.counted.values() if where == backend)

    def has_room(self, backend: str, size: int) -> bool:
        limit = ROOM[backend]
        return limit is None or self.taken(backend) + size <= limit

    def fresh_etag(self) -> str:
        self.etags += 1
        return f"e{self.etags}"

    def doom(self, blob: Blob) -> None:
        backend, _, _ = self.counted[blob.id]
        self.counted[blob.id] = (backend, "orphan", blob.size)
        self.doomed.append(blob)

    @rule(key=keys, size=sizes, backend=backends)
    def reserve(self, key: str, size: int, backend: str) -> None:
        try:
            blob = now(self.kit.reserve(self.bucket, key, size, backend))
        except InsufficientStorage:
            assert not self.has_room(backend, size)
            return
        assert self.has_room(backend, size)
        self.counted[blob.id] = (backend, "reserved", size)
        self.pending.append(blob)

    @precondition(lambda self: self.pending)
    @rule(pick=picks, condition=st.sampled_from(("none", "absent", "matching", "other")))
    def commit(self, pick: int, condition: str) -> None:
        blob = self.pending[pick % len(self.pending)]
        known = self.current.get(blob.key)
        wanted = {
            "none": None,
            "absent": ABSENT,
            "matching": WriteCondition(if_match=(known[0] if known else "*",)),
            "other": WriteCondition(if_match=("never",)),
        }[condition]
        holds = {"none": True, "absent": known is None, "matching": known is not None, "other": False}
        etag = self.fresh_etag()
        try:
            committed = now(self.kit.commit(self.bucket, blob, etag=etag, condition=wanted))
        except (PreconditionFailed, NoSuchKey):
            assert not holds[condition]
            return
        assert holds[condition]
        self.pending.remove(blob)
        self.made_current(blob, etag, blob.size, committed)

    def made_current(self, blob: Blob, etag: str, size: int, committed: Any) -> None:
        known = self.current.get(blob.key)
        assert [displaced.id for displaced in committed.displaced] == ([known[1]] if known else [])
        for displaced in committed.displaced:
            self.doom(displaced)
        if known:
            assert committed.version.modified_ms > known[2]
        self.counted[blob.id] = (blob.backend, "live", size)
        self.current[blob.key] = (etag, blob.id, committed.version.modified_ms)

    @precondition(lambda self: self.pending)
    @rule(pick=picks, unclear=flags)
    def abandon(self, pick: int, unclear: bool) -> None:
        blob = self.pending.pop(pick % len(self.pending))
        doomed = now(self.kit.blobs.abandon(blob, unclear=unclear))
        assert doomed is not None and doomed.unclear == unclear
        self.doom(doomed)

    @precondition(lambda self: self.pending)
    @rule(pick=picks)
    def refused(self, pick: int) -> None:
        blob = self.pending.pop(pick % len(self.pending))
        now(self.kit.blobs.refused(blob))
        del self.counted[blob.id]

    @rule(key=keys)
    def remove(self, key: str) -> None:
        removed = now(self.kit.versions.remove(self.bucket, key))
        known = self.current.pop(key, None)
        assert [blob.id for blob in removed.doomed] == ([known[1]] if known else [])
        for blob in removed.doomed:
            self.doom(blob)

    @precondition(lambda self: self.doomed)
    @rule(pick=picks, unclear=flags)
    def forget(self, pick: int, unclear: bool) -> None:
        blob = self.doomed.pop(pick % len(self.doomed))
        now(self.kit.blobs.forget(blob, unclear=unclear))
        if not (unclear or blob.unclear):
            del self.counted[blob.id]
        if not (unclear or blob.unclear or blob.plain):
            assert not now(self.kit.blobs.is_held(blob))
        else:
            assert now(self.kit.blobs.is_held(blob))

    @precondition(lambda self: self.doomed)
    @rule(pick=picks, counted=flags)
    def retry_later(self, pick: int, counted: bool) -> None:
        now(self.kit.blobs.retry_later(self.doomed.pop(pick % len(self.doomed)), counted=counted))

    @rule(limit=st.integers(1, 3))
    def claim_doomed(self, limit: int) -> None:
        claimed = now(self.kit.blobs.claim_doomed(limit))
        ours = {blob.id for blob in self.doomed}
        for blob in claimed:
            assert blob.id not in ours
            assert self.counted[blob.id][1] == "orphan"
            self.doomed.append(blob)

    @rule(seconds=st.sampled_from((1.0, 60.0, QUIET, 25 * 3600.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def end_rests(self) -> None:
        now(self.kit.blobs.end_rests(100))

    @rule()
    def look_again(self) -> None:
        self.resting += now(self.kit.blobs.claim_unclear_rests(2))

    @precondition(lambda self: self.resting)
    @rule(again=flags)
    def looked_again(self, again: bool) -> None:
        blob = self.resting.pop()
        if again:
            now(self.kit.blobs.rest_again(blob))
        else:
            now(self.kit.blobs.rested(blob))
            del self.counted[blob.id]

    @rule(key=keys, backend=backends)
    def create_upload(self, key: str, backend: str) -> None:
        try:
            upload = now(self.kit.upload(self.bucket, key, backend))
        except InsufficientStorage:
            assert not self.has_room(backend, 1)
            return
        self.counted[upload.blob.id] = (backend, "reserved", 0)
        self.sending.append(Sending(upload))

    def grow(self, sending: Sending, change: int) -> None:
        backend, kind, size = self.counted[sending.upload.blob.id]
        self.counted[sending.upload.blob.id] = (backend, kind, size + change)

    @precondition(lambda self: any(not one.listed for one in self.sending))
    @rule(pick=picks, number=st.integers(1, 3), size=sizes)
    def begin_part(self, pick: int, number: int, size: int) -> None:
        opened = [one for one in self.sending if not one.listed]
        sending = opened[pick % len(opened)]
        backend = sending.upload.blob.backend
        try:
            part = now(self.kit.uploads.begin_part(sending.upload, number, size))
        except InsufficientStorage:
            assert not self.has_room(backend, size)
            return
        assert self.has_room(backend, size)
        self.grow(sending, size)
        sending.attempts.append(part)

    @precondition(lambda self: any(one.attempts for one in self.sending))
    @rule(pick=picks, outcome=st.sampled_from(("stored", "failed", "unclear")))
    def answer_part(self, pick: int, outcome: str) -> None:
        waiting = [one for one in self.sending if one.attempts]
        sending = waiting[pick % len(waiting)]
        part = sending.attempts.pop(pick % len(sending.attempts))
        if outcome == "stored":
            etag = self.fresh_etag()
            sending.stored[part.number] = now(
                self.kit.uploads.end_part(part, Stored(f"b-{etag}"), etag=etag, checksum=None)
            )
        else:
            now(self.kit.uploads.fail_part(part, unclear=outcome == "unclear"))
        # What an answer releases depends on what overlapped; the ledger must at least hold what counts.
        self.read_size(sending)
        held = sum(one.size for one in (*sending.stored.values(), *sending.attempts))
        if not sending.listed:
            assert self.counted[sending.upload.blob.id][2] >= held

    def read_size(self, sending: Sending) -> None:
        blob = sending.upload.blob
        row = now(self.kit.blobs.by_name(blob.backend, blob.name))
        assert row is not None
        self.counted[blob.id] = (blob.backend, "reserved", row.size)

    @precondition(lambda self: any(one.stored and not one.listed for one in self.sending))
    @rule(pick=picks, all_of_them=flags)
    def begin_complete(self, pick: int, all_of_them: bool) -> None:
        ready = [one for one in self.sending if one.stored and not one.listed]
        sending = ready[pick % len(ready)]
        numbers = sorted(sending.stored) if all_of_them else [max(sending.stored)]
        if any(sending.stored[number].size < 5 * MIB for number in numbers[:-1]):
            return
        listed = [(number, sending.stored[number].etag, None) for number in numbers]
        upload = sending.upload
        completion = now(self.kit.uploads.begin_complete(self.bucket, upload.key, upload.id, listed))
        assert completion.size == sum(sending.stored[number].size for number in numbers)
        sending.listed = listed

    @precondition(lambda self: any(one.listed for one in self.sending))
    @rule(pick=picks, outcome=st.sampled_from(("done", "reopened", "repeated")))
    def complete(self, pick: int, outcome: str) -> None:
        completing = [one for one in self.sending if one.listed]
        sending = completing[pick % len(completing)]
        upload = sending.upload
        assert sending.listed is not None
        if outcome == "reopened":
            now(self.kit.uploads.reopen(upload))
            sending.listed = None
            return
        completion = now(self.kit.uploads.begin_complete(self.bucket, upload.key, upload.id, sending.listed))
        assert completion.done is None
        if outcome == "repeated":
            return
        etag = self.fresh_etag()
        blob = completion.upload.blob
        committed = now(self.kit.commit(self.bucket, blob, size=completion.size, etag=etag))
        self.made_current(blob, etag, completion.size, committed)
        self.sending.remove(sending)
        again = now(self.kit.uploads.begin_complete(self.bucket, upload.key, upload.id, sending.listed))
        assert again.done is not None and again.done.etag == etag

    @precondition(lambda self: any(not one.listed for one in self.sending))
    @rule(pick=picks)
    def abort(self, pick: int) -> None:
        opened = [one for one in self.sending if not one.listed]
        sending = opened[pick % len(opened)]
        aborted = now(self.kit.uploads.abort(self.bucket, sending.upload.key, sending.upload.id))
        assert aborted is not None
        assert aborted.blob.size == self.counted[sending.upload.blob.id][2]
        self.sending.remove(sending)
        self.doom(aborted.blob)

    @precondition(lambda self: self.sending)
    @rule()
    def wrong_part(self) -> None:
        sending = self.sending[0]
        if sending.listed:
            return
        try:
            now(
                self.kit.uploads.begin_complete(
                    self.bucket, sending.upload.key, sending.upload.id, [(1, "never", None)]
                )
            )
        except InvalidPart:
            return
        raise AssertionError("a part that nobody sent was taken")

    @rule()
    def start_again(self) -> None:
        """The process dies and comes back: nothing it held is held any more."""
        assert now(self.kit.blobs.recover()) == len(self.pending)
        for blob in self.pending:
            self.counted[blob.id] = (blob.backend, "orphan", blob.size)
        self.pending, self.doomed, self.resting = [], [], []
        for sending in self.sending:
            sending.attempts = []

    @invariant()
    def keeps_its_rules(self) -> None:
        if hasattr(self, "kit"):
            assert now(self.kit.findings()) == []

    @invariant()
    def is_what_clients_wrote(self) -> None:
        if not hasattr(self, "kit"):
            return
        listed = now(self.kit.versions.page(self.bucket, "", None, 100, inclusive=True))
        assert {one.key: one.etag for one in listed} == {key: known[0] for key, known in self.current.items()}
        for key, (etag, blob_id, _) in self.current.items():
            found = now(self.kit.versions.find(self.bucket, key))
            assert found.etag == etag
            assert [blob.id for blob in found.blobs] == [blob_id]

    @invariant()
    def counts_exactly(self) -> None:
        if not hasattr(self, "kit"):
            return
        for backend in ROOM:
            expected = {"live": 0, "reserved": 0, "orphan": 0}
            for where, kind, size in self.counted.values():
                if where == backend:
                    expected[kind] += size
            usage = now(self.kit.usage(backend))
            assert {"live": usage.live, "reserved": usage.reserved, "orphan": usage.orphan} == expected
            assert usage.limit is None or usage.taken <= usage.limit


LedgerMachine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
ModelTests = LedgerMachine.TestCase
