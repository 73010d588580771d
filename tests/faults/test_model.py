"""Several clients at the same keys while all kinds of things go wrong."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.database import Database
from tests.faults.ordeal import Ordeal, deadline

SECONDS = 300.0 if os.environ.get("FULL") else 15.0


class ModelTests(SynchronousTestCase):
    maxDiff = None

    def check(
        self, *backends: str, least: int = 20, database: Database | None = None, instances: int = 1
    ) -> None:
        """What clients saw can be explained, and in the end everything is where it belongs."""
        ordeal = Ordeal(Path(self.mktemp()).absolute(), backends, 3, database, instances)
        ordeal.start()
        self.addCleanup(ordeal.stop)
        ordeal.run(deadline(SECONDS))
        ordeal.compare()
        report = ordeal.report()
        self.assertTrue(report.is_good, report)
        self.assertGreater(report.operations, least * SECONDS)
        self.assertGreater(report.faults, SECONDS / 5)

    def test_directories(self) -> None:
        """A daemon that dies again and again, on two directories."""
        self.check("disk", "disk")

    def test_s3(self) -> None:
        """
        The same with an S3 service, on a network that fails.

        Not moto: it says of all uploads that they began in 2010, so one whose id was lost looks like a
        stranger's.
        """
        self.check("disk", "radosgw")

    def test_postgres(self) -> None:
        """Two daemons on one database that is killed, frozen, and cut off."""
        database = Database()
        self.addCleanup(database.stop)
        self.check("disk", "disk", least=5, database=database, instances=2)
