"""rclone."""

from __future__ import annotations

import json

from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import SECRETS, content
from tests.running import fetch

# rclone's names are paths: no `//`, no `..`, nothing after a trailing slash.
ODD_FILES = (
    "a b  c",
    " edges ",
    "a+b+c",
    "100%",
    "%2F%20%zz",
    "grüße/日本語/😀",
    "e\u0301 is not \u00e9",
    "\"double\" 'single' `back`",
    '<a href="x">&amp;<',
    "a?b=c&d=e#f",
    "!$&'()*,;:=@[]{}|\\^~-_.",
    "$HOME ${x} %(key)s",
    "tab\tnew\nline",
    "k" * 250,
    "/".join("d" * 200 for _ in range(4)),
)


class RcloneCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.act_as("photos")

    def act_as(self, who: str) -> None:
        key, secret = SECRETS[who]
        settings = {
            "type": "s3",
            "provider": "Other",
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": key,
            "secret_access_key": secret,
            "force_path_style": "true",
            # Parts instead of one body from 16 MiB on, as it does by itself from 200 MiB on.
            "upload_cutoff": "16M",
            "chunk_size": "8M",
        }
        self.environment = {
            f"RCLONE_CONFIG_ORCHESTRATOR_{name.upper()}": value for name, value in settings.items()
        }

    def rclone(self, *arguments: object, given: bytes = b"", status: int = 0) -> bytes:
        command = ["rclone", "--config", "", "--retries", "1", "--low-level-retries", "1"]
        return self.run_tool(*command, *map(str, arguments), given=given, status=status).stdout


class TreeTests(RcloneCase):
    def test_odd_names(self) -> None:
        """
        A tree of oddly named files goes up and down again, and rclone's own check finds no difference.
        """
        tree = self.tree("tree", ODD_FILES)
        self.rclone("copy", "tree", "orchestrator:photos/tree")
        for name, data in tree.items():
            self.wrote("photos", f"tree/{name}", data)
        self.rclone("check", "tree", "orchestrator:photos/tree")
        self.rclone("check", "--download", "tree", "orchestrator:photos/tree")
        self.rclone("copy", "orchestrator:photos/tree", "back")
        self.assertEqual(self.read_tree("back"), tree)

    def test_nothing_twice(self) -> None:
        """
        What is there already, with its time, is not copied again; a new time alone moves no data.
        """
        path = self.file("once/file", 5000)
        self.wrote("photos", "once/file", path)
        self.rclone("copy", "once", "orchestrator:photos/once")
        self.rclone("copy", "--immutable", "once", "orchestrator:photos/once")
        path.touch()
        self.rclone("copy", "once", "orchestrator:photos/once")
        (listed,) = json.loads(self.rclone("lsjson", "orchestrator:photos/once"))
        self.assertEqual(self.modified(listed["ModTime"]), int(path.stat().st_mtime))

    def test_sync(self) -> None:
        """
        `sync` takes away what has gone.
        """
        self.tree("shrinking", ("kept", "sub/kept", "sub/lost"))
        self.rclone("sync", "shrinking", "orchestrator:photos/shrinking")
        (self.home / "shrinking/sub/lost").unlink()
        self.rclone("sync", "shrinking", "orchestrator:photos/shrinking")
        for name in ("kept", "sub/kept"):
            self.wrote("photos", f"shrinking/{name}", self.home / "shrinking" / name)
        listed = self.rclone("lsf", "--recursive", "--files-only", "orchestrator:photos/shrinking")
        self.assertEqual(set(listed.decode().split()), {"kept", "sub/kept"})

    def modified(self, written: str) -> int:
        """Seconds since the epoch of one of rclone's times."""
        return int(self.run_tool("date", "--date", written, "+%s").stdout)


class ObjectTests(RcloneCase):
    def test_large(self) -> None:
        """
        A large file goes up in parts, is copied and renamed on the server, and comes down.
        """
        path = self.large()
        self.rclone("copyto", path, "orchestrator:photos/large")
        self.wrote("photos", "large", path)
        self.rclone("copyto", "orchestrator:photos/large", "orchestrator:photos/large copied")
        self.rclone("moveto", "orchestrator:photos/large copied", "orchestrator:photos/large moved")
        self.wrote("photos", "large moved", path)
        self.rclone("copyto", "orchestrator:photos/large moved", "back")
        self.assertEqual((self.home / "back").read_bytes(), path.read_bytes())
        self.assertEqual(self.rclone("size", "--json", "orchestrator:photos/large"), self.size_of(LARGE))

    def size_of(self, size: int) -> bytes:
        return b'{"count":1,"bytes":%d,"sizeless":0}\n' % size

    def test_streams(self) -> None:
        """
        What is piped in, of a length nobody knows, can be read in pieces.
        """
        for key, size in (("small stream", 1000), ("large stream", 20_000_000)):
            data = content(key, size)
            self.rclone("rcat", f"orchestrator:photos/{key}", given=data)
            self.wrote("photos", key, data)
            self.assertEqual(self.rclone("cat", f"orchestrator:photos/{key}"), data)
            piece = self.rclone("cat", "--offset", 100, "--count", 50, f"orchestrator:photos/{key}")
            self.assertEqual(piece, data[100:150])

    def test_presigned(self) -> None:
        """
        `rclone link` gives an address that works for anybody.
        """
        data = content("link", 5000)
        self.rclone("rcat", "orchestrator:photos/link me+%", given=data)
        self.wrote("photos", "link me+%", data)
        url = self.rclone("link", "--expire", "1h", "orchestrator:photos/link me+%").decode().strip()
        self.assertEqual(fetch(url).body, data)

    def test_deleted(self) -> None:
        """
        One object, and everything below a prefix, can be removed.
        """
        for key in ("gone/one", "gone/two", "gone/three/four"):
            self.rclone("rcat", f"orchestrator:photos/{key}", given=b"here")
        self.rclone("deletefile", "orchestrator:photos/gone/one")
        self.assertEqual(self.rclone("lsf", "orchestrator:photos/gone"), b"three/\ntwo\n")
        self.rclone("purge", "orchestrator:photos/gone")
        self.assertEqual(self.rclone("lsf", "orchestrator:photos/gone"), b"")


class BucketTests(RcloneCase):
    def test_made_and_removed(self) -> None:
        """
        Who may create buckets makes one by copying into it, and removes it with all that is in it.
        """
        self.act_as("alice")
        self.rclone("copyto", self.file("one", 100), "orchestrator:rclone-bucket/one")
        self.rclone("copyto", self.file("two", 100), "orchestrator:rclone-bucket/two")
        self.assertIn(b"rclone-bucket/\n", self.rclone("lsf", "orchestrator:"))
        self.rclone("purge", "orchestrator:rclone-bucket")
        self.assertNotIn(b"rclone-bucket/\n", self.rclone("lsf", "orchestrator:"))


class RcloneAftermath(Aftermath, RcloneCase):
    """After all of the above."""
