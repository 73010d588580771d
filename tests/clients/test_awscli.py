"""The AWS CLI."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import content
from tests.clients.oddities import CONTROL, ODD_KEYS, WHITE_SPACE
from tests.running import fetch

# In files' names, so that one `sync` carries all of them.
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
    "tab\tnew\nline\rreturn",
    "bell\x07 escape\x1b first\x01 delete\x7f",
    "k" * 250,
    "/".join("d" * 200 for _ in range(4)),
)

# What no file can be called.
NO_FILES = {name: (ODD_KEYS | WHITE_SPACE | CONTROL)[name] for name in (
    "double slash", "leading slash", "slash", "parent", "dot", "only dots",
    "trailing slash", "file beside folder", "inside folder", "long unicode", "carriage return",
)}  # fmt: skip


class AwsCliCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.act_as("photos")

    def act_as(self, who: str) -> None:
        self.environment = {"AWS_ENDPOINT_URL": self.endpoint, **self.credentials(who)}

    def s3(self, *arguments: object, given: bytes = b"", status: int = 0) -> bytes:
        command = ["aws", "s3", *map(str, arguments)]
        return self.run_tool(*command, given=given, status=status).stdout

    def s3api(self, *arguments: object, status: int = 0) -> Any:
        ended = self.run_tool("aws", "s3api", *map(str, arguments), status=status)
        return json.loads(ended.stdout) if ended.stdout else ended.stderr.decode()


class CopyTests(AwsCliCase):
    """`aws s3 cp`, `mv` and `rm`."""

    def test_round_trip(self) -> None:
        """
        A file that is uploaded, listed and downloaded again is the same file.
        """
        path = self.file("report.txt", 4000)
        self.s3("cp", path, "s3://photos/cli/report.txt")
        self.wrote("photos", "cli/report.txt", path)
        self.assertRegex(self.s3("ls", "s3://photos/cli/").decode(), r"\s4000 report\.txt\n$")
        self.s3("cp", "s3://photos/cli/report.txt", "back.txt")
        self.assertEqual((self.home / "back.txt").read_bytes(), path.read_bytes())

    def test_large(self) -> None:
        """
        A large file goes up in parts, is copied in parts, and comes down in ranges.
        """
        path = self.large()
        self.s3("cp", "--no-progress", path, "s3://photos/cli/large.bin")
        self.wrote("photos", "cli/large.bin", path)
        self.s3("cp", "--no-progress", "s3://photos/cli/large.bin", "s3://photos/cli/large copy.bin")
        self.wrote("photos", "cli/large copy.bin", path)
        shown = self.s3api("head-object", "--bucket", "photos", "--key", "cli/large.bin")
        self.assertEqual((shown["ContentLength"], shown["ETag"][-3:]), (LARGE, '-9"'))
        self.s3("cp", "--no-progress", "s3://photos/cli/large copy.bin", "back.bin")
        self.assertEqual((self.home / "back.bin").read_bytes(), path.read_bytes())

    def test_streams(self) -> None:
        """
        What is piped in, of a length nobody knows, is piped out again.
        """
        data = content("piped", 9_000_000)
        self.s3("cp", "-", "s3://photos/cli/piped", given=data)
        self.wrote("photos", "cli/piped", data)
        self.assertEqual(self.s3("cp", "s3://photos/cli/piped", "-"), data)

    def test_between_buckets(self) -> None:
        """
        Who may use two buckets can copy and move from one to the other; metadata goes along.
        """
        self.act_as("alice")
        # This CLI copies what is larger than 8 MB in parts, and then without its metadata.
        for key, size in (("small", 12_000), ("in parts", 12_000_000)):
            data = content(key, size)
            self.s3("cp", "-", f"s3://photos/cli/{key}", "--metadata", "colour=blue", given=data)
            self.s3("cp", f"s3://photos/cli/{key}", f"s3://documents/cli/{key} copied")
            self.wrote("documents", f"cli/{key} copied", data)
            self.s3("mv", f"s3://photos/cli/{key}", f"s3://documents/cli/{key} moved")
            self.wrote("documents", f"cli/{key} moved", data)
        for key in ("cli/small copied", "cli/small moved"):
            shown = self.s3api("head-object", "--bucket", "documents", "--key", key)
            self.assertEqual(shown["Metadata"], {"colour": "blue"})

    def test_removed(self) -> None:
        """
        `rm --recursive` removes everything below a prefix and nothing beside it.
        """
        for key in ("cli/gone/a", "cli/gone/b/c", "cli/gone-not"):
            self.s3("cp", "-", f"s3://photos/{key}", given=b"here")
        self.wrote("photos", "cli/gone-not", b"here")
        self.s3("rm", "--recursive", "s3://photos/cli/gone/")
        self.assertEqual(self.s3("ls", "--recursive", "s3://photos/cli/gone/", status=1), b"")
        self.assertIn(b"gone-not", self.s3("ls", "s3://photos/cli/gone"))


class SyncTests(AwsCliCase):
    def test_odd_names(self) -> None:
        """
        A tree of oddly named files goes up and down again; then there is nothing left to do.
        """
        self.act_as("documents")
        tree = self.tree("tree", ODD_FILES)
        self.s3("sync", "--quiet", "tree", "s3://documents/tree")
        for name, data in tree.items():
            self.wrote("documents", f"tree/{name}", data)
        self.assertEqual(self.s3("sync", "tree", "s3://documents/tree"), b"")
        self.s3("sync", "--quiet", "s3://documents/tree", "back")
        self.assertEqual(self.read_tree("back"), tree)

    def test_delete(self) -> None:
        """
        `sync --delete` takes away what is not in the tree any more.
        """
        self.tree("shrinking", ("kept", "lost & found"))
        self.s3("sync", "--quiet", "shrinking", "s3://photos/cli/shrinking")
        (self.home / "shrinking" / "lost & found").unlink()
        self.s3("sync", "--quiet", "--delete", "shrinking", "s3://photos/cli/shrinking")
        self.wrote("photos", "cli/shrinking/kept", self.home / "shrinking" / "kept")


class ObjectTests(AwsCliCase):
    """`aws s3api`."""

    def test_keys_no_file_has(self) -> None:
        """
        Keys that are no paths are stored, found and read under exactly that name.
        """

        def there_and_back(number: int, key: str) -> tuple[bytes, bytes]:
            path = self.file(f"object {number}", 1000 + number)
            place = ["--bucket", "photos", "--key", key]
            self.s3api("put-object", *place, "--body", path)
            self.s3api("get-object", *place, self.home / f"back {number}")
            return path.read_bytes(), (self.home / f"back {number}").read_bytes()

        with ThreadPoolExecutor(2) as pool:
            for key, (sent, received) in zip(
                NO_FILES.values(),
                pool.map(there_and_back, range(len(NO_FILES)), NO_FILES.values()),
                strict=True,
            ):
                self.assertEqual(received, sent, repr(key))
                self.wrote("photos", key, sent)
        listed = self.s3api("list-objects-v2", "--bucket", "photos", "--query", "Contents[].Key")
        self.assertLessEqual(set(NO_FILES.values()), set(listed))

    def test_conditions(self) -> None:
        """
        A write that wants the key to be free is refused when it is not, and changes nothing.
        """
        first, second = self.file("first", 10), self.file("second", 10)
        place = ["--bucket", "photos", "--key", "cli/condition"]
        self.s3api("put-object", *place, "--body", first, "--if-none-match", "*")
        self.wrote("photos", "cli/condition", first)
        said = self.s3api("put-object", *place, "--body", second, "--if-none-match", "*", status=255)
        self.assertIn("PreconditionFailed", said)
        self.assertEqual(self.s3("cp", "s3://photos/cli/condition", "-"), first.read_bytes())

    def test_range(self) -> None:
        """
        A range is that range.
        """
        data = content("ranged", 3000)
        self.s3("cp", "-", "s3://photos/cli/ranged", given=data)
        self.wrote("photos", "cli/ranged", data)
        shown = self.s3api(
            "get-object", "--bucket", "photos", "--key", "cli/ranged", "--range", "bytes=1000-1999", "range"
        )
        self.assertEqual(shown["ContentRange"], "bytes 1000-1999/3000")
        self.assertEqual((self.home / "range").read_bytes(), data[1000:2000])

    def test_presigned(self) -> None:
        """
        A presigned address works for anybody, as it is.
        """
        data = content("presigned", 5000)
        self.s3("cp", "-", "s3://photos/cli/pre signed+%.bin", given=data)
        self.wrote("photos", "cli/pre signed+%.bin", data)
        url = (
            self.s3("presign", "--region", "eu-central-1", "s3://photos/cli/pre signed+%.bin")
            .decode()
            .strip()
        )
        answer = fetch(url)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.body, data)
        self.assertEqual(fetch(url[:-1] + ("0" if url[-1] != "0" else "1")).status, 403)


class BucketTests(AwsCliCase):
    def test_made_and_removed(self) -> None:
        """
        Who may create buckets makes one and removes it with all that is in it.
        """
        self.act_as("alice")
        self.s3("mb", "s3://cli-bucket")
        self.s3("cp", "-", "s3://cli-bucket/one", given=b"1")
        self.s3("cp", "-", "s3://cli-bucket/two/three", given=b"2")
        self.assertIn(b" cli-bucket\n", self.s3("ls"))
        self.s3("rb", "--force", "s3://cli-bucket")
        self.assertNotIn(b"cli-bucket", self.s3("ls"))

    def test_not_allowed(self) -> None:
        """
        A bucket's own key pair opens no other bucket, and makes none.
        """
        for arguments in (("ls", "s3://documents"), ("mb", "s3://cli-other"), ("cp", "-", "s3://backups/x")):
            ended = self.run_tool(
                "aws", "s3", *arguments, given=b"x", status=1 if arguments[0] != "ls" else 255
            )
            self.assertIn(b"AccessDenied", ended.stderr)


class AwsCliAftermath(Aftermath, AwsCliCase):
    """After all of the above."""
