"""Tests for the lock that keeps a second process away."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import LedgerInUse
from s3orchestrator.store.lockfile import LockFile

# Takes a lock, and lets a child have it that ends when it can read no more.
HOLDER = """
import subprocess, sys
from s3orchestrator.store.lockfile import LockFile
lock = LockFile(sys.argv[1])
lock.acquire()
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[lock.descriptor])
sys.stdout.write("held\\n")
sys.stdout.flush()
child.wait()
"""


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
            self.assertEqual(held.read().split()[0], str(os.getpid()))


class InheritedTests(SynchronousTestCase):
    """A lock whose descriptor a child has, and whose owner is killed."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdin is not None and holder.stdout is not None
        self.holder, self.child_goes_on, self.said = holder, holder.stdin, holder.stdout
        self.assertEqual(self.said.readline(), b"held\n")
        self.addCleanup(self.said.close)
        self.addCleanup(holder.wait)
        self.addCleanup(self.child_goes_on.close)

    def lock(self, patience: float) -> LockFile:
        lock = LockFile(self.path, patience=patience)
        self.addCleanup(lock.release)
        return lock

    def test_parent_lives(self) -> None:
        """
        While its owner lives nobody waits.
        """
        refused = self.assertRaises(LedgerInUse, self.lock(1000.0).acquire)
        self.assertIn(f"by process {self.holder.pid}", str(refused))

    def test_child_lives(self) -> None:
        """
        Its child has it when its owner is gone, whether anybody has buried that or not; it is waited for.
        """
        self.holder.kill()
        os.waitid(os.P_PID, self.holder.pid, os.WEXITED | os.WNOWAIT)
        refused = self.assertRaises(LedgerInUse, self.lock(0.1).acquire)
        self.assertIn(f"process {self.holder.pid} has left behind", str(refused))
        self.holder.wait()
        self.assertRaises(LedgerInUse, self.lock(0.1).acquire)

    def test_number_of_another(self) -> None:
        """
        Whoever has its owner's number now, as the first process of the next container has, is not its owner.
        """
        self.holder.kill()
        self.holder.wait()
        with open(self.path, "r+") as named:
            born = named.read().split()[1:]
            named.seek(0)
            named.write(" ".join([str(os.getpid()), *born]) + "\n")
        Timer(0.5, self.child_goes_on.close).start()
        self.lock(60.0).acquire()

    def test_child_ends(self) -> None:
        """
        Whoever waits has it when the child ends.
        """
        self.holder.kill()
        self.holder.wait()
        Timer(0.1, self.child_goes_on.close).start()
        self.lock(60.0).acquire()
        with open(self.path) as held:
            self.assertEqual(held.read().split()[0], str(os.getpid()))
