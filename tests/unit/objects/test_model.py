"""A long life, invented: clients, faults, deaths and time in any order, against a dictionary."""

from __future__ import annotations

from collections.abc import Coroutine
from hashlib import md5
from typing import Any

import hypothesis.strategies as st
from attrs import evolve, frozen
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from s3orchestrator.backends.faults import Fault, Faults
from s3orchestrator.bodies.sources import collect
from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Part, Upload
from s3orchestrator.errors import OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store import completing
from s3orchestrator.testing.harness import QUIET_PERIOD
from tests.unit.objects.world import STALE, World

BACKENDS = ("x", "y")
QUOTA = 40_000
VERBS = (
    "put",
    "get",
    "head",
    "delete",
    "copy",
    "create_upload",
    "put_part",
    "complete_upload",
    "abort_upload",
)
FAILURES: tuple[Any, ...] = (StoreUnavailable, TransactionUnclear, (TransactionUnclear,))


@frozen
class Trouble:
    """What goes wrong while one thing is being done."""

    faults: list[tuple[str, str, Fault]]
    down: list[str]
    transaction: tuple[int, Any] | None


KEYS = st.sampled_from(["a", "b", "a/b", "ä~", "c"])
SIZES = st.sampled_from([0, 1, 500, 2000, 5000])
TROUBLES = st.builds(
    Trouble,
    st.lists(
        st.tuples(st.sampled_from(BACKENDS), st.sampled_from(VERBS), st.sampled_from(list(Fault))), max_size=2
    ),
    st.just([]) | st.lists(st.sampled_from(BACKENDS), max_size=1),
    st.none() | st.none() | st.tuples(st.integers(0, 4), st.sampled_from(FAILURES)),
)
NO_TROUBLE = Trouble([], [], None)
FIRST = WriteCondition(if_none_match=("*",))


class Life(RuleBasedStateMachine):
    """`model` has what every key may hold, the likeliest first; None stands for nothing."""

    uploads = Bundle("uploads")

    @initialize(strategy=st.sampled_from(["pack", "spread"]))
    def begin(self, strategy: str) -> None:
        self.min_part, completing.MIN_PART = completing.MIN_PART, 1
        self.world = World(backends=BACKENDS, quotas={"x": QUOTA}, strategy=strategy)
        self.model: dict[str, list[bytes | None]] = {}
        self.completed: set[str] = set()
        self.parts: dict[str, dict[int, tuple[Part, bytes]]] = {}
        self.caught_up = self.world.clock.seconds()
        self.number = 0

    def teardown(self) -> None:
        """Whatever has happened, in the end there is what was acknowledged, and nothing else."""
        try:
            self.come_to_rest()
            self.compare()
            self.world.advance(STALE + 1)
            self.come_to_rest()
            self.compare()
            assert (
                self.world.run(
                    self.world.core.ledger.uploads.page(self.world.bucket, "", None, 9, inclusive=True)
                )
                == []
            )
        finally:
            completing.MIN_PART = self.min_part

    def come_to_rest(self) -> None:
        for _ in range(3):  # an upload may have gone stale in the midst of it
            self.world.quiesce()
            if not self.world.problems():
                return

    def compare(self) -> None:
        assert self.world.problems() == []
        for key in self.model:
            self.look(key)
        assert self.world.contents() == {
            key: held[0] for key, held in self.model.items() if held[0] is not None
        }

    def look(self, key: str) -> bytes | None:
        """Read a key: it must hold what it may, and is known from now on."""
        found = self.world.contents().get(key)
        assert found in self.model.get(key, [None]), f"{key} holds {found!r}"
        self.model[key] = [found]
        return found

    def data(self, size: int) -> bytes:
        """Bytes that were never written before."""
        self.number += 1
        return (b"%d." % self.number * size)[:size]

    def ask(self, trouble: Trouble, work: Coroutine[Any, Any, Any]) -> tuple[Any] | None:
        """
        Do something while this and that goes wrong; None if it failed.

        When nothing moves any more the client leaves.
        """
        self.make(trouble)
        result: list[Any] = []
        running: Any = start(work)
        running.addBoth(result.append)
        self.world.settle()
        if not result:
            running.cancel()
        for _ in range(5):  # what goes on without the client gives its backends up
            self.pass_time(31)
        assert result, "it neither ends nor can be cancelled"
        self.mend()
        if not isinstance(result[0], Failure):
            return (result[0],)
        if not result[0].check(OrchestratorError, CancelledError):
            result[0].raiseException()
        return None

    def make(self, trouble: Trouble) -> None:
        for backend, verb, fault in trouble.faults:
            self.world.backend(backend).faults.next(verb, fault)
        for backend in trouble.down:
            self.world.backend(backend).down()
        if trouble.transaction is not None:
            after, failure = trouble.transaction
            number = self.world.points.transactions + after
            self.world.points.transacting = lambda begun: failure if begun == number else None

    def pass_time(self, seconds: float) -> None:
        """What is late comes late, but never later than the quiet period: that is what its length means."""
        if self.world.clock.seconds() + seconds > self.caught_up + QUIET_PERIOD / 2:
            for backend in BACKENDS:
                self.catch_up(backend)
            self.caught_up = self.world.clock.seconds() + seconds
        self.world.clock.advance(seconds)

    def mend(self) -> None:
        for backend in BACKENDS:
            self.world.backend(backend).faults = Faults()
        self.world.points.transacting = None

    def wrote(self, key: str, data: bytes | None, outcome: object) -> None:
        """Note what a change of a key has made of it, or may have."""
        self.model[key] = [data] if outcome is not None else [*self.model.get(key, [None]), data]

    # --- clients

    @rule(key=KEYS, size=SIZES, trouble=TROUBLES)
    def put(self, key: str, size: int, trouble: Trouble) -> None:
        data = self.data(size)
        self.wrote(key, data, self.ask(trouble, self.world.putting(key, data)))

    @rule(key=KEYS, size=SIZES, trouble=TROUBLES, first=st.booleans())
    def put_if(self, key: str, size: int, trouble: Trouble, first: bool) -> None:
        before, data = self.look(key), self.data(size)
        condition = FIRST if first else WriteCondition(if_match=(md5(before or b"").hexdigest(),))
        writing = self.world.core.objects.writing.put(
            self.world.bucket, key, self.world.declared(data), ObjectMetadata(), condition
        )
        outcome = self.ask(trouble, writing)
        assert outcome is None or (before is None) is first
        self.wrote(key, data, outcome)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), trouble=TROUBLES)
    def delete(self, keys: list[str], trouble: Trouble) -> None:
        deleting, entries = self.world.core.objects.deleting, [(key, None, None) for key in keys]
        outcome = self.ask(trouble, deleting.delete_many(self.world.bucket, entries))
        for key in keys:
            self.wrote(key, None, outcome)

    @rule(source=KEYS, other=KEYS, algorithm=st.sampled_from([None, "crc32"]), trouble=TROUBLES)
    def copy(self, source: str, other: str, algorithm: str | None, trouble: Trouble) -> None:
        before = self.look(source)
        outcome = self.ask(trouble, self.world.copying(source, other, algorithm=algorithm))
        assert outcome is None or before is not None
        if before is not None:
            self.wrote(other, before, outcome)

    @rule(key=KEYS, trouble=TROUBLES)
    def get(self, key: str, trouble: Trouble) -> None:
        before = self.look(key)
        outcome = self.ask(trouble, self.read(key))
        if not any(fault is Fault.WRONG_BYTES for _, _, fault in trouble.faults):  # unseen without a digest
            assert outcome is None or outcome == (before,)

    async def read(self, key: str) -> bytes:
        opened = await self.world.core.objects.reading.open(self.world.bucket, key, lambda version: None)
        return await collect(opened.body, opened.version.size)

    @rule(target=uploads, key=KEYS, sizes=st.lists(SIZES, max_size=3), trouble=TROUBLES)
    def create(self, key: str, sizes: list[int], trouble: Trouble) -> Any:
        outcome = self.ask(trouble, self.world.creating(key))
        if outcome is None:
            return multiple()
        for number, size in enumerate(sizes, 1):
            self.part(outcome[0], number, size, NO_TROUBLE)
        return outcome[0]

    @rule(upload=uploads, number=st.integers(1, 4), size=SIZES, trouble=TROUBLES)
    def part(self, upload: Upload, number: int, size: int, trouble: Trouble) -> Any:
        data = self.data(size)
        outcome = self.ask(trouble, self.world.part(upload, number, data))
        if outcome is not None:
            self.parts.setdefault(upload.id, {})[number] = outcome[0], data

    @rule(upload=uploads, left_out=st.sets(st.integers(1, 4), max_size=1), trouble=TROUBLES)
    def complete(self, upload: Upload, left_out: set[int], trouble: Trouble) -> None:
        known = sorted(self.parts.get(upload.id, {}).items())
        chosen = [part for number, part in known if number not in left_out]
        before = self.look(upload.key)
        outcome = self.ask(trouble, self.world.completing(upload, *(part for part, _ in chosen)))
        self.model[upload.key] = [before, b"".join(data for _, data in chosen)]
        # The same Complete is answered in the same way for a day, whatever has happened to the key.
        if outcome is not None and upload.id not in self.completed:
            self.model[upload.key].pop(0)
            self.completed.add(upload.id)

    @rule(upload=uploads, trouble=TROUBLES)
    def abort(self, upload: Upload, trouble: Trouble) -> None:
        self.ask(trouble, self.world.aborting(upload))

    # --- the rest of the world

    @rule(seconds=st.sampled_from([1, 61, 700, 3601, 3601, 30_000]), trouble=TROUBLES)
    def advance(self, seconds: int, trouble: Trouble) -> None:
        self.pass_time(seconds)
        # What the services write are markers, and one with wrong bytes is for the operator to mend.
        faults = [fault for fault in trouble.faults if fault[1:] != ("put", Fault.WRONG_BYTES)]
        self.ask(evolve(trouble, faults=faults), self.world.sweeper.run_once())

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(backend=st.sampled_from(BACKENDS))
    def catch_up(self, backend: str) -> None:
        self.world.backend(backend).catch_up()

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.world.findings():
            for key in self.model:  # what is doubted is believed again once it has been read
                self.ask(NO_TROUBLE, self.read(key))
        assert self.world.findings() == []


LifeTests = Life.TestCase
LifeTests.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
