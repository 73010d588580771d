"""Which services a core is given, and what they have in common."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.background import Background, Services
from s3orchestrator.testing.harness import Harness

OWN = {"lease", "owner", "usage-flush", "watchdog", "hand-over", "probe", "locations"}
SHARED = {"cleanup", "pending", "rests", "stale-uploads"}


class ServicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness()

    def built(self, mode: str) -> Background:
        self.h.core.in_force.config = evolve(self.h.core.config, mode=mode)
        return Services.of(self.h.core).build()

    def results(self, background: Background) -> dict[str, str | None]:
        background.run_all()
        self.h.settle()
        return {report.name: report.last_result for report in background.reports()}

    def test_modes(self) -> None:
        """
        Who serves clients only has what each process needs for itself; others have everything.
        """
        names = {mode: set(self.results(self.built(mode))) for mode in ("all", "api", "worker")}
        self.assertEqual(names, {"all": OWN | SHARED, "api": OWN, "worker": OWN | SHARED})

    def test_clock_is_off(self) -> None:
        """
        With a clock that is far from the database's nothing is done that goes by time.
        """
        background = self.built("all")
        self.h.ledger.clock_skew_ms = 31_000
        results = self.results(background)
        self.assertEqual({name for name in results if results[name] == "skipped"}, SHARED)
        self.assertEqual({name for name in results if results[name] == "success"}, OWN)
        self.h.ledger.clock_skew_ms = 0
        self.assertEqual(set(self.results(background).values()), {"success"})
