"""Finding out about backends that were away."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.records import Blob
from s3orchestrator.errors import BackendRefused, BackendUnavailable
from s3orchestrator.interfaces import Traits
from s3orchestrator.services.prober import Prober
from s3orchestrator.testing.harness import QUIET_PERIOD
from tests.unit.objects.world import SMALL, WatchedBackend, World


class NewBackend(WatchedBackend):
    """One of whose traits nothing is known; `failure` is how it answers to being probed."""

    failure: Exception | None = None
    probed: int = 0

    async def probe(self, scratch: Sequence[str]) -> Traits:
        self.probed += 1
        if self.failure is not None:
            raise self.failure
        for name in scratch:
            self.objects[name] = self.objects["something"]
        self.traits = Traits(frozenset({"put"}))
        return self.traits


class ProberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.w = World(backends=("a",))
        self.w.run(self.w.putting("k", SMALL))
        self.a = NewBackend("a", self.w.clock, None)
        self.a.objects["something"] = self.w.backend("a").objects["photos/k"]
        self.a.objects["photos/k"] = self.a.objects["something"]
        self.w._by_name["a"] = self.a
        self.w.restart()
        self.prober = Prober(
            self.w.core.backends, self.w.core.ledger.blobs, self.w.core.cleaner, self.w.clock
        )

    def probe(self) -> None:
        self.w.run(self.prober.run_once())

    def test_known_from_then_on(self) -> None:
        """Once; what it left is removed, and looked for again where versions may be kept."""
        self.probe()
        self.probe()
        names = [row.name for row in self.w.run(self.w.core.ledger.blobs.names("a")) if row.unclear]
        self.assertEqual(len(names), 2)
        self.assertEqual(self.a.probed, 1)
        self.assertEqual(sorted(self.w.stored()["a"]), ["photos/k", "something"])
        self.w.run(self.w.putting("l", SMALL))
        self.assertIn("photos/l", self.a.objects)

    def test_away(self) -> None:
        """Until it is known it gets names of our own making; it is asked again, less and less often."""
        self.a.failure = BackendUnavailable("away")
        self.probe()
        self.w.run(self.w.putting("l", SMALL))
        self.assertNotIn("photos/l", self.a.objects)
        for _ in range(24 * 60):
            self.w.clock.advance(60)
            self.probe()
        self.assertLess(self.a.probed, 160)
        self.a.failure = None
        self.w.clock.advance(600)
        self.probe()
        self.assertIsNotNone(self.a.traits)
        self.w.advance(QUIET_PERIOD + 1)
        self.w.advance(QUIET_PERIOD + 1)
        self.assertEqual(len(self.w.run(self.w.core.ledger.blobs.names("a"))), 2)
        self.assertEqual([finding.subject for finding in self.w.findings()], ["a: something"])

    def test_names_taken_over(self) -> None:
        """Names that another instance has taken for left behind are not written to any more."""
        self.a.failure = BackendUnavailable("away")
        self.probe()
        before = {row.name for row in self.scratch()}
        for row in self.scratch():
            self.w.run(self.w.core.ledger.blobs.abandon(row, unclear=True))
        self.a.failure = None
        self.w.clock.advance(60)
        self.probe()
        self.assertEqual(self.a.probed, 2)
        self.assertEqual(len({row.name for row in self.scratch()} - before), 2)

    def scratch(self) -> list[Blob]:
        return [row for row in self.w.run(self.w.core.ledger.blobs.names("a")) if row.bucket_id is None]

    def test_refuses(self) -> None:
        """A backend that refuses to be tried out is no reason not to start."""
        self.a.failure = BackendRefused("forbidden", status=403, code="AccessDenied")
        self.probe()
        self.w.run(self.w.putting("l", SMALL))
        self.assertEqual(self.w.get("l"), SMALL)
