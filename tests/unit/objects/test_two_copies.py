"""Reading what has two copies, while one of their backends is in trouble."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from s3orchestrator.backends.faults import PIECE, Fault
from s3orchestrator.bodies.filtered import pump
from s3orchestrator.bodies.sources import collect
from s3orchestrator.concurrency import start
from s3orchestrator.domain.breaker import State
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.objects.reading import Opened
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.testing.harness import Harness
from tests.unit.objects.copies import add_copy

DATA = random.Random(7).randbytes(5 * PIECE + 17)
BREAKER = "backend_circuit_breaker: {enabled: true, failure_threshold: 3, open_timeout: 60s}"


@implementer(IConsumer)
class Slow:
    """A reader who takes a piece, and the next one only when told."""

    def __init__(self) -> None:
        self.got = b""
        self.producer: object = None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.got += data
        self.producer.pauseProducing()  # type: ignore[attr-defined]


class TwoCopiesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build()

    def build(self) -> None:
        self.h = Harness(settings=BREAKER)
        self.h.put("k", DATA)
        add_copy(self.h, "k", "b")
        for name in ("a", "b"):
            self.h.backend(name).calls.clear()

    def open(self, wanted: ByteRange | None = None) -> Opened:
        return self.h.run(self.h.core.objects.reading.open(self.h.bucket, "k", lambda version: wanted))

    def read(self, wanted: ByteRange | None = None) -> bytes:
        async def work() -> bytes:
            return await collect(self.open(wanted).body, len(DATA))

        return self.h.run(work())

    def asked(self) -> list[str]:
        """Which backends have been asked, in no order."""
        return [name for name in ("a", "b") if self.h.backend(name).calls]


class FailingOverTests(TwoCopiesCase):
    """Before the first byte."""

    def test_other_copy(self) -> None:
        """A backend that is away is not noticed by the reader."""
        self.h.backend("a").down()
        self.assertEqual(self.read(), DATA)
        self.assertEqual(self.asked(), ["a", "b"])

    def test_left_alone(self) -> None:
        """Once its breaker is open it is not even asked."""
        self.h.backend("a").down()
        for _ in range(3):
            self.h.clock.advance(11)  # past the time for which it would be asked last anyway
            self.read()
        self.assertIs(self.h.guards.breakers["a"].state, State.OPEN)
        self.h.clock.advance(11)
        self.h.backend("a").calls.clear()
        self.assertEqual(self.read(), DATA)
        self.assertEqual(self.h.backend("a").calls, [])

    def test_tried_again_by_a_reader(self) -> None:
        """A reader tries it when its time has come, and notices nothing if it is still away."""
        self.test_left_alone()
        self.h.clock.advance(76)
        self.assertEqual(self.read(), DATA)
        self.assertEqual(len(self.h.backend("a").calls), 1)
        self.assertIs(self.h.guards.breakers["a"].state, State.OPEN)
        self.h.backend("a").faults.clear()
        self.h.clock.advance(76)
        self.assertEqual(self.read(), DATA)
        self.assertIs(self.h.guards.breakers["a"].state, State.CLOSED)

    def test_all_away(self) -> None:
        """With every backend left alone the answer is 503 at once; and they are tried when it is time."""
        for name in ("a", "b"):
            self.h.backend(name).down()
        for _ in range(4):
            self.assertRaises(BackendUnavailable, self.open)
        states = {breaker.state for breaker in self.h.guards.breakers.values()}
        self.assertEqual(states, {State.OPEN})
        for name in ("a", "b"):
            self.h.backend(name).faults.clear()
            self.h.backend(name).calls.clear()
        self.assertRaises(BackendUnavailable, self.open)
        self.assertEqual(self.asked(), [])
        self.h.clock.advance(76)
        self.assertEqual(self.read(), DATA)


class ContinuingTests(TwoCopiesCase):
    """After the first byte."""

    def test_at_the_same_offset(self) -> None:
        """A backend that dies in mid-body is continued on the other one, byte for byte."""
        self.h.backend("a").faults.always(Fault.TRUNCATED, "get")
        self.assertEqual(self.read(), DATA)
        self.assertEqual(len(self.h.backend("b").calls), 1)
        self.assertEqual(self.h.guards.breakers["a"].failures, 1)

    def test_one_dies_the_other_breaks_off(self) -> None:
        """Back and forth, as long as each of them gives some more."""
        self.h.backend("a").faults.next("get", Fault.TRUNCATED)
        self.h.backend("b").faults.next("get", Fault.TRUNCATED, Fault.TRUNCATED)
        self.assertEqual(self.read(), DATA)

    def test_usage_of_both(self) -> None:
        """Each backend is charged with what it sent."""
        before = {name: self.h.counters.used(name).egress_bytes for name in ("a", "b")}
        self.h.backend("a").faults.next("get", Fault.TRUNCATED)
        self.read()
        sent = {name: self.h.counters.used(name).egress_bytes - before[name] for name in ("a", "b")}
        half = len(DATA) // 2
        self.assertEqual(sent, {"a": half, "b": len(DATA) - half})

    def test_slow_reader(self) -> None:
        """The pace stays the reader's across the change."""
        self.h.backend("a").faults.next("get", Fault.TRUNCATED)
        slow, opened = Slow(), self.open()
        delivered: Deferred[None] = start(pump(opened.body, slow))
        for _ in range(20):
            before = len(slow.got)
            self.h.settle()
            self.assertEqual(len(slow.got), before)
            if delivered.called:
                break
            opened.body.resumeProducing()
        self.successResultOf(delivered)
        self.assertEqual(slow.got, DATA)

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, len(DATA) - 1),
        st.integers(1, len(DATA)),
        st.lists(st.sampled_from([None, Fault.TRUNCATED]), max_size=5),
        st.lists(st.sampled_from([None, Fault.TRUNCATED, Fault.REFUSED]), max_size=5),
    )
    def test_any_range(
        self, first: int, length: int, of_a: list[Fault | None], of_b: list[Fault | None]
    ) -> None:
        """Whatever range is read and whoever breaks off when: the right bytes, or an error."""
        self.build()
        wanted = ByteRange(first, min(first + length, len(DATA)) - 1)
        self.h.backend("a").faults.next("get", *of_a)
        self.h.backend("b").faults.next("get", *of_b)
        try:
            read = self.read(wanted)
        except BackendUnavailable:
            self.assertTrue(of_a or of_b)
            return
        self.assertEqual(read, DATA[wanted.start : wanted.end + 1])
