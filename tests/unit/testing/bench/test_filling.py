"""A ledger that was filled is one that a daemon could have written."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.fsck import check
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.store.versions import Versions
from s3orchestrator.testing.bench.filling import SIZE, fill, key_of

T = TypeVar("T")


class FillTests(SynchronousTestCase):
    def setUp(self) -> None:
        path = Path(self.mktemp())
        fill(path, "full", 100)
        self.database = SqliteDatabase(str(path), Clock(), threaded=False).open()
        self.addCleanup(lambda: self.now(self.database.close()))

    def now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_no_findings(self) -> None:
        """All invariants hold, counters included."""
        self.assertEqual(self.now(check(self.database)), [])

    def test_every_key_is_there(self) -> None:
        """Each key has a version, whose bytes have a name of their own."""
        (bucket,) = self.now(Buckets(self.database).all())
        versions = Versions(self.database)
        found = [self.now(versions.find(bucket, key_of(number))) for number in range(100)]
        self.assertEqual({version.size for version in found}, {SIZE})
        names = {version.blobs[0].name for version in found}
        self.assertEqual(names, {f"full/{key_of(number)}" for number in range(100)})
