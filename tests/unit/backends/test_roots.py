"""Tests for deciding about names alone, and for what is made durable in which order."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.disk import Disk
from s3orchestrator.backends.roots import Opened, Root
from s3orchestrator.interfaces import Description


class DecidingTests(SynchronousTestCase):
    """Tests for `Opened.deciding`."""

    def setUp(self) -> None:
        self.path = mkdtemp()
        self.addCleanup(shutil.rmtree, self.path)

    def opened(self) -> Opened:
        root = Root("disk", self.path, True)
        self.addCleanup(root.close)
        return root.get()

    def assertWaits(self, one: Opened, other: Opened) -> None:
        entered = Event()

        def decide() -> None:
            with other.deciding("k"):
                entered.set()

        with one.deciding("k"):
            thread = Thread(target=decide)
            thread.start()
            self.assertFalse(entered.wait(0.05))
        thread.join(10)
        self.assertTrue(entered.is_set())

    def test_threads(self) -> None:
        """Two threads never decide about one name at once."""
        opened = self.opened()
        self.assertWaits(opened, opened)

    def test_processes(self) -> None:
        """Nor do two that have opened the root each for themselves, as processes do."""
        self.assertWaits(self.opened(), self.opened())


class DurabilityTests(SynchronousTestCase):
    """What is synced before what: an acknowledged object has to survive a power failure."""

    def setUp(self) -> None:
        self.path = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.path)
        self.disk = Disk("disk", Root("disk", str(self.path), True), time.monotonic)
        self.disk.look()
        self.addCleanup(self.disk.close)

    def traced(self, work: Callable[[], object]) -> list[str]:
        """The syncs, and the calls that make something visible or gone, of `work`."""
        trace: list[str] = []
        fsync = os.fsync

        def note_sync(fd: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            relative = str(path.relative_to(self.path))
            trace.append(f"sync {'temporary' if 'tmp/' in relative else relative}")
            fsync(fd)

        def noting(name: str) -> Callable[..., Any]:
            function = getattr(os, name)

            def call(*args: Any, **options: Any) -> Any:
                result = function(*args, **options)
                target = args[1] if name in ("link", "rename") else args[0]
                directory = options["dst_dir_fd" if name in ("link", "rename") else "dir_fd"]
                path = Path(os.readlink(f"/proc/self/fd/{directory}"), os.fsdecode(target))
                relative = str(path.relative_to(self.path))
                if ".s3o/tmp" not in relative:
                    trace.append(f"{name} {relative}")
                return result

            return call

        changed = {name: noting(name) for name in ("link", "rename", "unlink", "rmdir", "mkdir")}
        with patch.multiple(os, fsync=note_sync, **changed):
            work()
        return trace

    def put(self, name: str, *, exclusive: bool = True) -> None:
        file = self.disk.new_file()
        self.disk.write(file, [b"bytes"])
        self.disk.store(file, name, Description("text/plain"), exclusive=exclusive)

    def test_put(self) -> None:
        """Bytes and description before the name, then the name, then the directories it needs."""
        self.assertEqual(
            [step for step in self.traced(lambda: self.put("a/b/k")) if not step.startswith("mkdir")],
            ["sync temporary", "link a/b/k", "sync .", "sync a", "sync a/b"],
        )

    def test_put_beside(self) -> None:
        """A directory known to be durable is not synced into its parent again."""
        self.put("a/b/k")
        self.assertEqual(self.traced(lambda: self.put("a/b/l")), ["sync temporary", "link a/b/l", "sync a/b"])
        replacing = self.traced(lambda: self.put("a/b/k", exclusive=False))
        self.assertEqual(replacing, ["sync temporary", "rename a/b/k", "sync a/b"])

    def test_put_after_pruning(self) -> None:
        """A directory that was removed and made again has to be made durable again."""
        self.put("a/k")
        self.disk.remove("a/k")
        self.assertIn("sync .", self.traced(lambda: self.put("a/k")))

    def test_put_into_directory_of_another(self) -> None:
        """A directory somebody else made may not be durable yet."""
        (self.path / "a").mkdir()
        self.assertEqual(
            self.traced(lambda: self.put("a/k")), ["sync temporary", "link a/k", "sync .", "sync a"]
        )

    def test_make_way(self) -> None:
        """A file that makes way has its other name durably before the directory takes the first."""
        self.put("a")
        trace = self.traced(lambda: self.put("a/k"))
        self.assertEqual(trace[:4], ["sync temporary", "rename a%file", "sync .", "mkdir a"])

    def test_remove(self) -> None:
        """A delete is durable: in the directory of the file, or the one that lost its last directory."""
        self.put("a/b/k")
        self.put("a/l")
        self.assertEqual(
            self.traced(lambda: self.disk.remove("a/b/k")), ["unlink a/b/k", "rmdir a/b", "sync a"]
        )
        self.assertEqual(self.traced(lambda: self.disk.remove("a/l")), ["unlink a/l", "rmdir a", "sync ."])
        # Whoever repeats a delete was not told that the first one is durable.
        self.assertEqual(self.traced(lambda: self.disk.remove("a/l")), ["sync ."])
