"""Probing leaves little behind, however often it fails."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.backends.s3_probe import find_traits
from s3orchestrator.interfaces import Traits
from s3orchestrator.services.prober import Prober
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness


@define(eq=False)
class Unknown(MemoryBackend):
    """A backend of which nothing is known before it is probed, as of an S3 service."""

    async def probe(self, scratch: Sequence[str]) -> Traits:
        self.traits = Traits(exclusive=frozenset({"put", "copy", "complete"}))
        try:
            simple, odd = scratch
            self.traits = await find_traits(self, simple, odd)
        except BaseException:
            self.traits = None
            raise
        return self.traits


def unknown(name: str, clock: Clock) -> MemoryBackend:
    return Unknown(name, clock, None)


class ProberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness(backends=("a",), make_backend=unknown)
        self.backend = self.h.backend("a")
        core = self.h.core
        self.prober = Prober(core.backends, core.ledger.blobs, core.cleaner, self.h.clock)

    def held(self) -> int:
        return len(self.h.run(self.h.core.ledger.blobs.names("a")))

    def probe(self, times: int = 1) -> None:
        for _ in range(times):
            self.h.run(self.prober.run_once())
            self.h.advance(601)

    def assertNothingLeft(self) -> None:
        for _ in range(3):
            self.h.advance(QUIET_PERIOD + 1)
        self.assertEqual((self.held(), self.h.stored()), (0, {"a": {}}))
        self.assertEqual(self.h.run(self.backend.list_uploads()), [])

    def test_unreachable(self) -> None:
        """
        A backend that is away for long is probed with the same two names again and again.
        """
        self.backend.down()
        self.probe(20)
        self.assertEqual(self.held(), 2)
        self.backend.faults.clear()
        self.probe()
        self.assertEqual(self.backend.traits, Traits(frozenset({"put", "copy", "complete"})))
        self.assertNothingLeft()

    def test_broken_off(self) -> None:
        """
        Wherever a probe breaks off, the next one finds out the same, and nothing is left of either.
        """
        for verb in ("put", "copy", "create_upload", "put_part", "complete_upload", "head", "list_objects"):
            for fault in (Fault.LOST_ANSWER, Fault.FAILED):
                with self.subTest(verb=verb, fault=fault):
                    self.setUp()
                    self.backend.faults.next(verb, fault)
                    self.probe(2)
                    self.assertEqual(self.backend.traits, Traits(frozenset({"put", "copy", "complete"})))
                    self.assertNothingLeft()

    def test_late(self) -> None:
        """
        What arrives of a failed attempt after everything has been cleaned up is found, and goes.
        """
        self.backend.faults.next("put", Fault.LATE)
        self.probe(2)
        self.h.settle()
        self.backend.catch_up()
        self.assertNothingLeft()
