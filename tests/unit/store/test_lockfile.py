"""Tests for the lock that keeps a second process away."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import LedgerInUse
from s3orchestrator.store.lockfile import LockFile


class LockFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.first = LockFile(self.path)
        self.second = LockFile(self.path)
        self.addCleanup(self.first.release)
        self.addCleanup(self.second.release)

    def test_held(self) -> None:
        """
        Who comes second is told who holds it.
        """
        self.first.acquire()
        refused = self.assertRaises(LedgerInUse, self.second.acquire)
        self.assertIn(str(os.getpid()), str(refused))

    def test_released(self) -> None:
        """
        A lock that was let go can be taken; the file stays.
        """
        self.first.acquire()
        self.first.release()
        self.second.acquire()
        self.assertTrue(os.path.exists(self.path))

    def test_left_by_a_dead_process(self) -> None:
        """
        A file that nobody holds is no lock.
        """
        with open(self.path, "w") as leftover:
            leftover.write("4711\n")
        self.first.acquire()
        with open(self.path) as held:
            self.assertEqual(held.read(), f"{os.getpid()}\n")
