"""Where objects were found: remembered for a while, and never past a change."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.objects import locations
from s3orchestrator.objects.locations import Location, Locations

HERE = Location("a", "photos/k", 1, 2)


class LocationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chance = 0.5
        self.locations = Locations(60, self.clock, lambda: self.chance)

    def remember(self, key: str = "k") -> None:
        self.locations.remember(1, key, HERE, since=self.locations.moment())

    def test_lapses(self) -> None:
        """What is remembered lapses after the time to live, give or take a fifth."""
        for self.chance, seconds in ((0.0, 48), (0.5, 60), (1.0, 72)):
            self.remember()
            self.clock.advance(seconds - 1)
            self.assertEqual(self.locations.find(1, "k"), HERE)
            self.clock.advance(1.01)
            self.assertIsNone(self.locations.find(1, "k"))

    def test_of_one_bucket(self) -> None:
        """Keys of other buckets are others."""
        self.remember()
        self.assertIsNone(self.locations.find(2, "k"))

    def test_forgotten_with_a_change(self) -> None:
        """A write of the key ends it, and all ends when the ledger is back."""
        self.remember()
        self.remember("other")
        self.locations.forget(1, "k")
        self.assertIsNone(self.locations.find(1, "k"))
        self.assertEqual(self.locations.find(1, "other"), HERE)
        self.locations.clear()
        self.assertIsNone(self.locations.find(1, "other"))

    def test_overtaken_by_a_change(self) -> None:
        """What was being looked for while the key changed is not remembered."""
        since = self.locations.moment()
        self.locations.forget(1, "k")
        self.locations.remember(1, "k", HERE, since=since)
        self.assertIsNone(self.locations.find(1, "k"))

    def test_bounded(self) -> None:
        """The oldest goes when there are too many."""
        with patch.object(locations, "MAX_LOCATIONS", 2):
            for key in ("1", "2", "3"):
                self.remember(key)
        self.assertEqual([self.locations.find(1, key) for key in "123"], [None, HERE, HERE])

    def test_eviction(self) -> None:
        """The service drops what has lapsed, and nothing else."""
        self.remember()
        self.clock.advance(50)
        self.remember("later")
        self.clock.advance(11)
        self.assertEqual(self.successResultOf(start(self.locations.evict())), 1)
        self.assertEqual(self.locations.find(1, "later"), HERE)
