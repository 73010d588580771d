"""
What a directory looks like after a crash, at every point where one can happen.

Each operation runs in a forked process that is killed before its first system call on the
disk, then one that is killed before its second, and so on until it gets through.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.disk import Disk
from s3orchestrator.backends.newfiles import Assembly
from s3orchestrator.backends.roots import Root
from s3orchestrator.errors import NoSuchBlob, NoSuchUpload
from s3orchestrator.interfaces import Description, Stored

# Whatever changes the disk or orders the changes.
_DEADLY = (
    "open", "close", "write", "writev", "fsync", "link", "rename", "unlink", "mkdir", "rmdir",
    "utime", "setxattr", "copy_file_range", "sendfile",
)  # fmt: skip

OLD = Description("text/old", {"s3o": "old"})
NEW = Description("text/new", {"s3o": "new"})
LARGE = Description("text/large", {"s3o": "x" * 100_000})  # no file system has room for it in an attribute


def dies_at(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that is killed before its `number`th call; tells whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            _kill_before(number)
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "failed instead of being killed"
    return False


def _kill_before(number: int) -> None:
    left = [number]

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return call

    for name in _DEADLY:
        setattr(os, name, deadly(getattr(os, name)))


class CrashTests(SynchronousTestCase):
    """Tests for what is left when the process dies."""

    def setUp(self) -> None:
        self.parent = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.parent)
        self.before = self.parent / "before"
        self.root = self.parent / "root"

    def disk(self, path: Path) -> Disk:
        disk = Disk("disk", Root("disk", str(path), True), time.monotonic)
        self.addCleanup(disk.close)
        return disk

    def prepared(self, prepare: Callable[[Disk], object]) -> Any:
        """Make the directory as it is before each crash."""
        disk = self.disk(self.before)
        disk.look()
        return prepare(disk)

    def crashes(self, work: Callable[[Disk], object]) -> Iterator[Disk]:
        """Give a fresh look at the directory after each possible crash of `work`."""
        number = 1
        dies = True
        while dies:
            shutil.rmtree(self.root, ignore_errors=True)
            shutil.copytree(self.before, self.root)
            dies = dies_at(number, lambda: work(self.disk(self.root)))
            number += 1
            disk = Disk("disk", Root("disk", str(self.root), False), time.monotonic)
            disk.look()
            sessions = list((self.root / ".s3o/tmp").iterdir())
            self.assertEqual(len(sessions), 1, "what the dead process left must go at start")
            self.assertEqual(list(sessions[0].iterdir()), [])
            yield disk
            disk.close()
        self.assertGreater(number, 5)

    def put(self, disk: Disk, name: str, data: bytes, description: Description, *, exclusive: bool) -> Stored:
        file = disk.new_file()
        disk.write(file, [data[:3], data[3:]])
        return disk.store(file, name, description, exclusive=exclusive)

    def state(self, disk: Disk, name: str) -> tuple[bytes, str] | None:
        """The bytes and the stamp of an object, or None."""
        try:
            found = disk.head(name)
        except NoSuchBlob:
            return None
        read = disk.read(name, None, found.etag, 1 << 20)
        self.assertIn(name, [listed.name for listed in disk.page("", "", 100)])
        assert read.data is not None
        return read.data, found.meta["s3o"]

    def assertOutcomes(self, seen: set[object], *expected: object) -> None:
        self.assertEqual(seen, set(expected))

    def test_put(self) -> None:
        """A new object is there, whole and described, or it is not; and can be put afterwards."""
        self.prepared(lambda disk: None)
        seen: set[object] = set()
        for disk in self.crashes(lambda disk: self.put(disk, "a/b/k", b"new bytes", NEW, exclusive=True)):
            seen.add(self.state(disk, "a/b/k"))
            disk.remove("a/b/k")
            self.put(disk, "a/b/k", b"again", OLD, exclusive=True)
            self.assertEqual(self.state(disk, "a/b/k"), (b"again", "old"))
        self.assertOutcomes(seen, None, (b"new bytes", "new"))

    def test_replace(self) -> None:
        """A replaced object is the old one or the new one, with its own description."""
        for old, new in ((OLD, NEW), (LARGE, NEW), (OLD, LARGE)):
            shutil.rmtree(self.before, ignore_errors=True)
            self.prepared(lambda disk, old=old: self.put(disk, "a/k", b"old", old, exclusive=True))
            seen: set[object] = set()
            for disk in self.crashes(
                lambda disk, new=new: self.put(disk, "a/k", b"new bytes", new, exclusive=False)
            ):
                seen.add(self.state(disk, "a/k"))
            self.assertOutcomes(seen, (b"old", old.meta["s3o"]), (b"new bytes", new.meta["s3o"]))

    def test_beside(self) -> None:
        """An object that has to make way for a directory is never lost, nor seen twice."""
        self.prepared(lambda disk: self.put(disk, "a", b"in the way", OLD, exclusive=True))
        seen: set[object] = set()
        for disk in self.crashes(lambda disk: self.put(disk, "a/b", b"below", NEW, exclusive=True)):
            self.assertEqual(self.state(disk, "a"), (b"in the way", "old"))
            seen.add(self.state(disk, "a/b"))
            names = [listed.name for listed in disk.page("", "", 100)]
            self.assertEqual(names, sorted(set(names)))
        self.assertOutcomes(seen, None, (b"below", "new"))

    def test_delete(self) -> None:
        """An object is deleted or it is not, and deleting it again finishes what was begun."""
        self.prepared(lambda disk: self.put(disk, "a/b/k", b"bytes", LARGE, exclusive=True))
        seen: set[object] = set()
        for disk in self.crashes(lambda disk: disk.remove("a/b/k")):
            seen.add(self.state(disk, "a/b/k"))
            disk.remove("a/b/k")
            self.assertEqual([path.name for path in self.root.iterdir()], [".s3o"])
            self.assertEqual(list((self.root / ".s3o/attributes").rglob("*/*")), [])
        self.assertOutcomes(seen, None, (b"bytes", LARGE.meta["s3o"]))

    def test_copy(self) -> None:
        """A copy is whole or not there; its source stays."""
        self.prepared(lambda disk: self.put(disk, "k", b"bytes", OLD, exclusive=True))

        def copy(disk: Disk) -> None:
            file = disk.new_file()
            assembly = Assembly(file, disk.piece_of("k", None, None))
            while not disk.assemble(assembly, 2):
                pass
            disk.store(file, "l", NEW, exclusive=True)

        seen: set[object] = set()
        for disk in self.crashes(copy):
            self.assertEqual(self.state(disk, "k"), (b"bytes", "old"))
            seen.add(self.state(disk, "l"))
        self.assertOutcomes(seen, None, (b"bytes", "new"))

    def test_replaced_part(self) -> None:
        """A part that is sent again is the old or the new one."""

        def prepare(disk: Disk) -> tuple[str, list[tuple[int, str]]]:
            upload = disk.create_upload("k", NEW)
            return upload, [self.part(disk, upload, 1, b"first")]

        upload, parts = self.prepared(prepare)
        seen: set[object] = set()
        for disk in self.crashes(lambda disk: self.part(disk, upload, 1, b"second")):
            file = disk.new_file()
            try:
                self.complete(disk, upload, parts)
                seen.add("first")
            except Exception:
                file.discard()
                seen.add("second")
        self.assertOutcomes(seen, "first", "second")

    def test_complete(self) -> None:
        """However far a Complete came, repeating it gives the object, once, and ends the upload."""
        for count in (1, 3):
            shutil.rmtree(self.before, ignore_errors=True)

            def prepare(disk: Disk, count: int = count) -> tuple[str, list[tuple[int, str]]]:
                upload = disk.create_upload("k", NEW)
                return upload, [self.part(disk, upload, n, b"part" * n) for n in range(1, count + 1)]

            upload, parts = self.prepared(prepare)
            whole = b"".join(b"part" * number for number, _ in parts)
            seen: set[object] = set()

            def work(disk: Disk, upload: str = upload, parts: list[tuple[int, str]] = parts) -> None:
                self.complete(disk, upload, parts)

            for disk in self.crashes(work):
                seen.add(self.state(disk, "k"))
                stored = disk.completed("k", upload)
                again = stored or self.complete(disk, upload, parts)
                self.assertEqual(self.state(disk, "k"), (whole, "new"))
                self.assertEqual(disk.head("k").etag, again.etag)
                self.assertEqual(disk.uploads(""), [])
                disk.remove("k")
                with self.assertRaises(NoSuchUpload):
                    disk.completed("k", upload)
            self.assertOutcomes(seen, None, (whole, "new"))

    def test_create_and_abort(self) -> None:
        """An upload exists as a whole or not at all."""
        self.prepared(lambda disk: None)

        def create(disk: Disk) -> None:
            upload = disk.create_upload("k", NEW)
            self.part(disk, upload, 1, b"part")
            disk.remove_upload("k", upload)

        for disk in self.crashes(create):
            for upload in disk.uploads(""):
                self.part(disk, upload.upload_id, 2, b"works")
                disk.remove_upload("k", upload.upload_id)
            self.assertEqual(list((self.root / ".s3o/uploads").iterdir()), [])

    def test_first_start(self) -> None:
        """A directory that was not yet quite ours becomes ours with the next start."""
        self.before.mkdir()
        number = 1
        while dies_at(number, lambda: self.disk(self.root).look()):
            self.disk(self.root).look()
            shutil.rmtree(self.root)
            number += 1
        self.assertGreater(number, 5)

    def part(self, disk: Disk, upload: str, number: int, data: bytes) -> tuple[int, str]:
        file = disk.new_file()
        disk.write(file, [data])
        return number, disk.store_part(file, "k", upload, number).etag

    def complete(self, disk: Disk, upload: str, parts: list[tuple[int, str]]) -> Stored:
        file = disk.new_file()
        assembly = Assembly(file, disk.pieces_of_upload(file, "k", upload, parts))
        try:
            while not disk.assemble(assembly, 5):
                pass
            keep_time = len(parts) == 1
            return disk.store_upload(file, "k", upload, exclusive=True, keep_time=keep_time, late={})
        except Exception:
            with contextlib.suppress(OSError):
                assembly.close()
            file.discard()
            raise
