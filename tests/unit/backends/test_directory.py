"""Tests for what a directory backend is besides a backend: files that an operator sees."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from s3orchestrator.backends.directory import DirectoryBackend
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendRefused, BackendUnavailable, BodyAborted, NameTaken, NoSuchBlob
from s3orchestrator.interfaces import Description, Stored
from tests.contracts.bodies import PiecesBody

PLAIN = Description("text/plain", {"s3o": "stamp"})


class DirectoryCase(TestCase):
    """A directory backend on a temporary directory."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.parent = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.parent)
        self.root = self.parent / "root"
        self.backend = self.make()

    def make(self, *, adopt: bool = True) -> DirectoryBackend:
        backend = DirectoryBackend("disk", str(self.root), self.reactor, adopt=adopt)
        self.addCleanup(backend.close)
        return backend

    async def put(self, name: str, data: bytes, *, exclusive: bool = False) -> Stored:
        return await self.backend.put(name, BytesBody(data), PLAIN, exclusive=exclusive)

    async def read(self, name: str) -> bytes:
        return await collect((await self.backend.get(name)).body, 1 << 30)

    def files(self) -> list[str]:
        """Everything below the root but our own area."""
        found = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        return sorted(path for path in found if not path.startswith(".s3o"))

    def temporary(self) -> list[Path]:
        return list((self.root / ".s3o/tmp").glob("*/*"))


class LayoutTests(DirectoryCase):
    """What is where."""

    async def test_readable(self) -> None:
        """An object is a file of its name and bytes, that only we and our group may read."""
        await self.put("photos/2024/a.jpg", b"bytes")
        path = self.root / "photos/2024/a.jpg"
        self.assertEqual(path.read_bytes(), b"bytes")
        self.assertEqual(path.stat().st_mode & 0o007, 0)
        self.assertEqual(self.files(), ["photos", "photos/2024", "photos/2024/a.jpg"])

    async def test_multipart_is_readable(self) -> None:
        """An object made of parts is such a file, too, and its parts are gone."""
        upload = await self.backend.create_upload("k", PLAIN)
        parts = [
            (number, (await self.backend.put_part("k", upload, number, BytesBody(b"x" * number))).etag)
            for number in (1, 2, 3)
        ]
        await self.backend.complete_upload("k", upload, parts, exclusive=True)
        self.assertEqual((self.root / "k").read_bytes(), b"xxxxxx")
        self.assertEqual(list((self.root / ".s3o/uploads").iterdir()), [])
        self.assertEqual(self.temporary(), [])

    async def test_pruned(self) -> None:
        """Directories go with their last object, and only then."""
        await self.put("a/b/c/d", b"")
        await self.put("a/e", b"")
        await self.backend.delete("a/b/c/d")
        self.assertEqual(self.files(), ["a", "a/e"])
        await self.backend.delete("a/e")
        self.assertEqual(self.files(), [])

    async def test_beside(self) -> None:
        """A file that is in a directory's way becomes another; one that comes later is that other at once."""
        await self.put("a", b"first")
        await self.put("a/b", b"below")
        self.assertEqual(self.files(), ["a", "a%file", "a/b"])
        await self.put("c/d", b"below")
        await self.put("c", b"later")
        self.assertEqual((self.root / "c%file").read_bytes(), b"later")
        await self.backend.delete("c/d")
        self.assertEqual(await self.read("c"), b"later")

    async def test_empty_directory_in_the_way(self) -> None:
        """A directory that somebody left behind empty does not cost an object its name."""
        await self.backend.open()
        (self.root / "a/b").mkdir(parents=True)
        await self.put("a/b", b"x", exclusive=True)
        self.assertEqual(self.files(), ["a", "a/b"])

    async def test_strangers(self) -> None:
        """Files that somebody else put there are objects if their names can be; the rest is not looked at."""
        await self.backend.open()
        (self.root / "d").mkdir()
        (self.root / "d/mine.txt").write_bytes(b"mine")
        (self.root / "d/%zz").write_bytes(b"no name")
        (self.root / "d/link").symlink_to("/etc/passwd")
        (self.root / "d/loop").symlink_to("..")
        os.mkfifo(self.root / "d/pipe")
        with open(os.fsencode(self.root) + b"/d/\xff", "wb"):
            pass
        self.assertEqual([found.name for found in await self.backend.list_objects()], ["d/mine.txt"])
        self.assertEqual(await self.read("d/mine.txt"), b"mine")
        found = await self.backend.head("d/mine.txt")
        self.assertEqual((found.content_type, dict(found.meta)), ("", {}))
        for name in ("d/link", "d/pipe"):
            with self.assertRaises(NoSuchBlob):
                await self.backend.get(name)
            with self.assertRaises(NameTaken):
                await self.put(name, b"x", exclusive=True)

    async def test_links_in_the_way(self) -> None:
        """Nothing outside the root is read, written, removed or listed, wherever in a name the link is."""
        await self.put("photos/x", b"x")
        outside = self.parent / "outside"
        (outside / "in").mkdir(parents=True)
        (outside / "secret").write_bytes(b"secret")
        (outside / "in/secret").write_bytes(b"secret")
        before = sorted(outside.rglob("*"))
        (self.root / "photos/link").symlink_to(outside)
        (self.root / "top").symlink_to("../outside", target_is_directory=True)
        for name in (
            "photos/link/secret",
            "photos/link/in/secret",
            "photos/link/a/b/c",
            "top/secret",
            "top/new",
        ):
            for attempt in (
                self.put(name, b"evil"),
                self.put(name, b"evil", exclusive=True),
                self.put(name, b"evil" * 100_000, exclusive=True),
                self.backend.get(name),
                self.backend.head(name),
                self.backend.delete(name),
                self.backend.copy(name, "photos/copy", PLAIN, exclusive=False),
                self.backend.copy("photos/x", name, PLAIN, exclusive=False),
            ):
                with self.assertRaises(BackendRefused) as caught:
                    await attempt
                self.assertIn("is a symbolic link", str(caught.exception))
        for prefix in ("", "photos/link/", "photos/link/in/", "top/", "top/in/s"):
            listed = [found.name for found in await self.backend.list_objects(prefix)]
            self.assertEqual(listed, ["photos/x"] if not prefix else [])
        self.assertEqual(sorted(outside.rglob("*")), before)
        self.assertEqual((outside / "secret").read_bytes(), b"secret")
        self.assertEqual(self.temporary(), [])

    async def test_root_is_a_link(self) -> None:
        """The directory that is configured may be a link, which an operator chose."""
        (self.parent / "real").mkdir()
        self.root.symlink_to("real")
        await self.put("a/b", b"x")
        self.assertEqual((self.parent / "real/a/b").read_bytes(), b"x")
        self.assertEqual(await self.read("a/b"), b"x")

    async def test_own_area_is_a_link(self) -> None:
        """What is ours must be below the root as well."""
        self.root.mkdir()
        (self.parent / "elsewhere").mkdir()
        (self.root / ".s3o").symlink_to("../elsewhere")
        with self.assertRaises(BackendUnavailable) as caught:
            await self.backend.open()
        self.assertIn("is a symbolic link", str(caught.exception))
        self.assertEqual(list((self.parent / "elsewhere").iterdir()), [])

    async def test_stranger_in_the_way(self) -> None:
        """A file of somebody else's that no object can be stays, even if an object needs its place."""
        await self.backend.open()
        (self.root / ("x" * 240 + "%more")).write_bytes(b"somebody's")
        with self.assertRaises(BackendRefused):
            await self.put("x" * 300, b"x")
        self.assertEqual(self.temporary(), [])

    async def test_edited(self) -> None:
        """An edit behind our back is another ETag, so nobody takes it for what was stored."""
        stored = await self.put("k", b"bytes")
        with open(self.root / "k", "r+b") as file:
            file.write(b"BYTES")
        self.assertNotEqual((await self.backend.head("k")).etag, stored.etag)

    async def test_restored(self) -> None:
        """A copy that keeps times keeps ETags, and with extended attributes also descriptions."""
        stored = await self.put("k", b"bytes")
        await self.backend.close()
        shutil.copytree(self.root, self.parent / "backup")
        shutil.rmtree(self.root)
        shutil.move(self.parent / "backup", self.root)
        self.backend = self.make(adopt=False)
        found = await self.backend.head("k")
        self.assertEqual((found.etag, dict(found.meta)), (stored.etag, dict(PLAIN.meta)))

    async def test_large_description(self) -> None:
        """A description too large for the file system's attributes is kept, and goes with its object."""
        large = Description("text/plain", {"s3o": "x" * 100_000})
        await self.backend.put("k", BytesBody(b"1"), large, exclusive=True)
        with self.assertRaises(NameTaken):
            await self.backend.put("k", BytesBody(b"2"), large, exclusive=True)
        self.assertEqual(dict((await self.backend.head("k")).meta), dict(large.meta))
        await self.backend.put("k", BytesBody(b"3"), large, exclusive=False)
        self.assertEqual(dict((await self.backend.head("k")).meta), dict(large.meta))
        self.assertEqual(len(self.described()), 1)
        await self.put("k", b"small")
        self.assertEqual(dict((await self.backend.head("k")).meta), dict(PLAIN.meta))
        self.assertEqual(self.described(), [])

    def described(self) -> list[Path]:
        return [path for path in (self.root / ".s3o/attributes").rglob("*") if path.is_file()]


class RootTests(DirectoryCase):
    """Whether it is the right directory."""

    async def test_made(self) -> None:
        """A directory that is missing is made, if it may be; its parents too."""
        self.root = self.parent / "some/where"
        await self.make().open()
        self.assertTrue((self.root / ".s3o/identity").is_file())

    async def test_not_mounted_at_start(self) -> None:
        """Where objects are expected, a directory without identity is a mount point without its disk."""
        self.root.mkdir()
        for backend in (self.make(adopt=False), self.make(adopt=False)):
            with self.assertRaises(BackendUnavailable) as caught:
                await backend.open()
            self.assertIn("mounted", str(caught.exception))
        self.assertEqual(list(self.root.iterdir()), [])
        shutil.rmtree(self.root)
        with self.assertRaises(BackendUnavailable):
            await self.make(adopt=False).open()
        self.assertFalse(self.root.exists())

    async def test_unmounted_while_running(self) -> None:
        """While the disk is away nothing is done; when it is back everything goes on."""
        await self.put("k", b"on disk")
        self.root.rename(self.parent / "disk")
        with self.assertRaises(BackendUnavailable) as caught:
            await self.put("l", b"x")
        self.assertFalse(caught.exception.sent)
        self.root.mkdir()
        for verb in (self.put("l", b"x"), self.backend.head("k"), self.backend.delete("k"), self.read("k")):
            with self.assertRaises(BackendUnavailable):
                await verb
        self.assertEqual(list(self.root.iterdir()), [])
        self.root.rmdir()
        (self.parent / "disk").rename(self.root)
        self.assertEqual(await self.read("k"), b"on disk")
        await self.put("l", b"x")

    async def test_remounted(self) -> None:
        """The same objects on another file system, as after a repair, are taken for the same disk."""
        await self.put("k", b"on disk")
        shutil.copytree(self.root, self.parent / "repaired")
        self.root.rename(self.parent / "broken")
        (self.parent / "repaired").rename(self.root)
        self.assertEqual(await self.read("k"), b"on disk")
        await self.put("l", b"x")
        self.assertTrue((self.root / "l").exists())
        self.assertFalse((self.parent / "broken/l").exists())

    async def test_another_disk(self) -> None:
        """Another backend's directory is not written to, though it has an identity."""
        await self.backend.open()
        self.root.rename(self.parent / "ours")
        await self.make().open()
        with self.assertRaises(BackendUnavailable) as caught:
            await self.put("k", b"x")
        self.assertIn("another directory", str(caught.exception))
        self.assertEqual(self.files(), [])

    async def test_unknown_identity(self) -> None:
        """What a later version has made is left alone."""
        (self.root / ".s3o").mkdir(parents=True)
        (self.root / ".s3o/identity").write_text("s3orchestrator directory 2\n")
        with self.assertRaises(BackendUnavailable):
            await self.backend.open()

    async def test_a_file(self) -> None:
        """A path that is no directory is told as such."""
        self.root.write_text("file")
        with self.assertRaises(BackendUnavailable) as caught:
            await self.backend.open()
        self.assertIn(str(self.root), str(caught.exception))

    async def test_left_behind(self) -> None:
        """What a crashed process left is removed at start; what a living one is writing stays."""
        await self.backend.open()
        left = self.root / ".s3o/tmp/0123456789abcdef"
        (left / "7").mkdir(parents=True)
        (left / "7/name").write_bytes(b"half an upload")
        (left / "8").write_bytes(b"half an object")
        body = PiecesBody([b"x" * 600_000, None], self.reactor, length=1_000_000)
        putting = start(self.backend.put("k", body, PLAIN, exclusive=True))
        await body.at_hang
        while not (living := [path for path in self.temporary() if path.parent != left]):
            await deferLater(self.reactor, 0.001)
        await self.make(adopt=False).open()
        self.assertFalse(left.exists())
        self.assertTrue(all(path.exists() for path in living))
        putting.cancel()
        await DeferredList([putting], consumeErrors=True)

    async def test_closed(self) -> None:
        """A closed backend leaves nothing temporary, and does nothing more."""
        await self.put("k", b"x")
        await self.backend.close()
        self.assertEqual(list((self.root / ".s3o/tmp").iterdir()), [])
        with self.assertRaises(BackendUnavailable):
            await self.backend.head("k")
        await self.backend.close()

    async def test_closed_in_mid_body(self) -> None:
        """Closing fails what is still being written, and removes it."""
        body = PiecesBody([b"x" * 600_000, b"y" * 600_000], self.reactor, length=1_200_000)
        putting = start(self.backend.put("k", body, PLAIN, exclusive=True))
        await self.backend.close()
        ((success, failure),) = await DeferredList([putting], consumeErrors=True)
        self.assertFalse(success)
        failure.trap(BackendUnavailable)
        self.assertEqual(list((self.root / ".s3o/tmp").iterdir()), [])
        self.assertEqual(self.files(), [])


class TroubleTests(DirectoryCase):
    """What a disk's errors become."""

    async def fails_with(self, function: str, code: int, size: int = 10) -> BackendUnavailable:
        await self.backend.open()

        def fail(*_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        with patch.object(os, function, fail), self.assertRaises(BackendUnavailable) as caught:
            await self.put("a/k", b"x" * size, exclusive=True)
        self.assertEqual(self.temporary(), [])
        self.assertNotIn("a/k", self.files())
        return caught.exception

    async def test_full(self) -> None:
        """A full disk is unavailable, says so, and keeps nothing of what did not fit."""
        for size in (10, 1_000_000):
            error = await self.fails_with("writev", errno.ENOSPC, size)
            self.assertEqual(str(error), "disk: no space left on the disk")
            self.assertFalse(error.sent)

    async def test_broken(self) -> None:
        """An object that could not be synced does not appear."""
        error = await self.fails_with("fsync", errno.EIO)
        self.assertEqual(str(error), "disk: the disk reports an error")
        self.assertFalse(error.sent)

    async def test_read_only(self) -> None:
        """A read-only file system is unavailable for writing, and can be read."""
        await self.put("k", b"x")
        await self.fails_with("link", errno.EROFS)
        self.assertEqual(await self.read("k"), b"x")

    async def test_body_of_failing_put_is_stopped(self) -> None:
        """A body is stopped when the disk fails in its middle."""
        await self.backend.open()

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "")

        body = PiecesBody([b"x" * 100_000] * 100, self.reactor, length=10_000_000)
        with patch.object(os, "writev", fail), self.assertRaises(BackendUnavailable):
            await self.backend.put("k", body, PLAIN, exclusive=True)
        self.assertTrue(body.stopped)
        self.assertLess(body.written, 2_000_000)

    async def test_body_of_refused_put_is_not_started(self) -> None:
        """A large body is not started if the directory is gone, so that it can go elsewhere."""
        await self.backend.open()
        shutil.rmtree(self.root)
        body = PiecesBody([b"x" * 1_000_000], self.reactor, length=1_000_000)
        with self.assertRaises(BackendUnavailable):
            await self.backend.put("k", body, PLAIN, exclusive=False)
        self.assertFalse(body.started)

    async def test_nothing_left(self) -> None:
        """Failed bodies leave no temporary file behind."""
        for size in (10, 600_000):
            body = PiecesBody([b"x" * size, BodyAborted("gone")], self.reactor, length=2 * size)
            with self.assertRaises(BodyAborted):
                await self.backend.put("k", body, PLAIN, exclusive=True)
            with self.assertRaises(NoSuchBlob):
                await self.backend.copy("nothing", "k", PLAIN, exclusive=True)
        self.assertEqual(self.temporary(), [])
        self.assertEqual(self.files(), [])

    async def test_no_descriptors_leak(self) -> None:
        """Whatever fails or is given up, no descriptor stays open."""
        await self.put("k", b"x" * 1_000_000)
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(30):
            reading = start(self.backend.get("k"))
            if turn % 2:
                reading.cancel()
                await DeferredList([reading], consumeErrors=True)
            else:
                (await reading).body.stopProducing()
            copying = start(self.backend.copy("k", f"copy{turn}", PLAIN, exclusive=True))
            copying.cancel()
            await DeferredList([copying], consumeErrors=True)
        await DeferredList([start(self.backend.head("k")) for _ in range(8)])
        await self.backend.close()
        self.assertLess(len(os.listdir("/proc/self/fd")), before)


class ConcurrencyTests(DirectoryCase):
    """Several operations, and several processes, on the same names."""

    async def test_pruning_races(self) -> None:
        """Puts into a directory and deletes that empty it do not trip over each other."""

        async def come_and_go(number: int) -> None:
            for turn in range(15):
                name = f"a/b/{number}" if turn % 2 else f"a/b/c/{number}"
                await self.put(name, b"x", exclusive=True)
                await self.backend.delete(name)

        results = await DeferredList([start(come_and_go(number)) for number in range(8)], consumeErrors=True)
        self.assertEqual([failure for success, failure in results if not success], [])
        self.assertEqual(self.files(), [])

    async def test_beside_races(self) -> None:
        """`a` and `a/b` come and go beside each other, and each finds what it put."""

        async def come_and_go(name: str) -> None:
            for turn in range(25):
                data = f"{name} {turn}".encode()
                await self.put(name, data, exclusive=True)
                with self.assertRaises(NameTaken):
                    await self.put(name, b"other", exclusive=True)
                self.assertEqual(await self.read(name), data)
                await self.backend.delete(name)
                with self.assertRaises(NoSuchBlob):
                    await self.read(name)

        names = ["a", "a/b", "a/b/c", "a/", "a/b/"]
        results = await DeferredList([start(come_and_go(name)) for name in names], consumeErrors=True)
        self.assertEqual([failure for success, failure in results if not success], [])
        self.assertEqual(self.files(), [])

    async def test_readers_of_a_moving_file(self) -> None:
        """A reader finds an object while it is moved out of a directory's way."""
        await self.put("a", b"here")

        async def read() -> None:
            for _ in range(200):
                self.assertEqual(await self.read("a"), b"here")

        reading = start(read())
        for turn in range(20):
            await self.put(f"a/{turn}", b"")
        await reading
        self.assertEqual(self.files()[:2], ["a", "a%file"])

    async def test_two_processes(self) -> None:
        """Exclusive creation holds between processes, also for names beside directories."""
        program = (
            "import sys\n"
            "from s3orchestrator.backends.disk import Disk\n"
            "from s3orchestrator.backends.roots import Root\n"
            "from s3orchestrator.errors import NameTaken\n"
            "from s3orchestrator.interfaces import Description\n"
            "import time\n"
            "disk = Disk('disk', Root('disk', sys.argv[1], True), time.monotonic)\n"
            "for turn in range(150):\n"
            "    for name in (f'd{turn}', f'd{turn}/x'):\n"
            "        file = disk.new_file()\n"
            "        disk.write(file, [b'x'])\n"
            "        try:\n"
            "            disk.store(file, name, Description(''), exclusive=True)\n"
            "            print(name)\n"
            "        except NameTaken:\n"
            "            file.discard()\n"
        )
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(self.root)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        won = [process.communicate(timeout=60)[0].split() for process in started]
        self.assertEqual([process.returncode for process in started], [0, 0])
        expected = sorted(f"d{turn}{end}" for turn in range(150) for end in ("", "/x"))
        self.assertEqual(sorted(won[0] + won[1]), expected)
        self.assertEqual([found.name for found in await self.backend.list_objects()], expected)
