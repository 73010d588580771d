"""s3cmd."""

from __future__ import annotations

import re

from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import MIB, SECRETS, content
from tests.clients.oddities import ODD_KEYS
from tests.running import fetch

_CONFIGURATION = """\
[default]
access_key = {key}
secret_key = {secret}
host_base = {host}
host_bucket = {host}
use_https = False
signature_v2 = False
multipart_chunk_size_mb = 16
max_retries = 1
"""

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
    "k" * 250,
)

# Those that s3cmd itself leaves as they are.
KEYS = [
    "space",
    "edges",
    "plus",
    "percent",
    "escapes",
    "unicode",
    "decomposed",
    "double slash",
    "parent",
    "file beside folder",
    "inside folder",
    "quotes",
    "markup",
    "query",
    "punctuation",
    "unique name",
    "long",
    "long unicode",
]


class S3cmdCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.act_as("documents")

    def act_as(self, who: str) -> None:
        key, secret = SECRETS[who]
        (self.home / ".s3cfg").write_text(_CONFIGURATION.format(key=key, secret=secret, host=self.host))

    def s3cmd(self, *arguments: object, given: bytes = b"", status: int = 0) -> str:
        ended = self.run_tool("s3cmd", "--no-progress", *map(str, arguments), given=given, status=status)
        return (ended.stdout + ended.stderr).decode()

    def got(self, key: str, bucket: str = "documents") -> bytes:
        """Download an object with s3cmd."""
        self.s3cmd("get", "--force", f"s3://{bucket}/{key}", self.home / "got")
        return (self.home / "got").read_bytes()


class ObjectTests(S3cmdCase):
    def test_round_trip(self) -> None:
        """
        A file that is uploaded, listed and downloaded again is the same file.
        """
        path = self.file("report.txt", 4000)
        self.s3cmd("put", path, "s3://documents/s3cmd/")
        self.wrote("documents", "s3cmd/report.txt", path)
        self.assertRegex(
            self.s3cmd("ls", "s3://documents/s3cmd/"), r" 4000 +s3://documents/s3cmd/report.txt\n"
        )
        self.assertEqual(self.got("s3cmd/report.txt"), path.read_bytes())
        self.assertRegex(self.s3cmd("info", "s3://documents/s3cmd/report.txt"), r"MD5 sum: +[0-9a-f]{32}\n")

    def test_large(self) -> None:
        """
        A large file goes up in parts and is copied on the server.
        """
        path = self.large()
        self.s3cmd("put", path, "s3://documents/s3cmd/large")
        self.wrote("documents", "s3cmd/large", path)
        self.s3cmd("cp", "s3://documents/s3cmd/large", "s3://documents/s3cmd/large copy")
        self.wrote("documents", "s3cmd/large copy", path)
        self.assertEqual(self.got("s3cmd/large copy"), path.read_bytes())
        self.assertRegex(self.s3cmd("du", "s3://documents/s3cmd/large"), rf"^ *{2 * LARGE} +2 objects")

    def test_continued(self) -> None:
        """
        An upload in parts that was left is listed, and can be discarded.
        """
        client = self.deployment.boto3("documents")
        begun = client.create_multipart_upload(Bucket="documents", Key="s3cmd/left")["UploadId"]
        client.upload_part(
            Bucket="documents", Key="s3cmd/left", UploadId=begun, PartNumber=1, Body=content("part", 5 * MIB)
        )
        self.assertIn(begun, self.s3cmd("multipart", "s3://documents"))
        self.assertIn(str(5 * MIB), self.s3cmd("listmp", "s3://documents/s3cmd/left", begun))
        self.s3cmd("abortmp", "s3://documents/s3cmd/left", begun)
        self.assertNotIn(begun, self.s3cmd("multipart", "s3://documents"))

    def test_odd_keys(self) -> None:
        """
        Odd keys are stored and found under exactly that name.
        """
        path = self.file("odd", 3000)
        for name in KEYS:
            self.s3cmd("put", path, f"s3://documents/{ODD_KEYS[name]}")
            self.wrote("documents", ODD_KEYS[name], path)
        listed = self.s3cmd("ls", "--recursive", "s3://documents/")
        for name in KEYS:
            self.assertIn(f" s3://documents/{ODD_KEYS[name]}\n", listed)
        for name in ("double slash", "escapes", "unicode", "long"):
            self.assertEqual(self.got(ODD_KEYS[name]), path.read_bytes())

    def test_metadata(self) -> None:
        """
        `modify` changes what is said of an object, and no byte of it.
        """
        path = self.file("page.html", 100)
        self.s3cmd("put", "--mime-type=text/html", path, "s3://documents/s3cmd/page.html")
        self.wrote("documents", "s3cmd/page.html", path)
        self.s3cmd("modify", "--add-header=Cache-Control:no-store", "s3://documents/s3cmd/page.html")
        shown = self.deployment.boto3().head_object(Bucket="documents", Key="s3cmd/page.html")
        self.assertEqual((shown["CacheControl"], shown["ContentType"]), ("no-store", "text/html"))
        self.assertEqual(self.got("s3cmd/page.html"), path.read_bytes())

    def test_moved_and_deleted(self) -> None:
        """
        `mv`, `del` and `del --recursive` leave nothing where the objects were.
        """
        data = b"moved about"
        for key in ("s3cmd/from", "s3cmd/gone/one", "s3cmd/gone/two", "s3cmd/single"):
            self.s3cmd("put", "-", f"s3://documents/{key}", given=data)
        self.s3cmd("mv", "s3://documents/s3cmd/from", "s3://documents/s3cmd/to")
        self.wrote("documents", "s3cmd/to", data)
        self.s3cmd("del", "s3://documents/s3cmd/single")
        self.s3cmd("del", "--recursive", "--force", "s3://documents/s3cmd/gone/")
        listed = self.s3cmd("ls", "--recursive", "s3://documents/s3cmd/")
        for key in ("from", "gone/one", "gone/two", "single"):
            self.assertNotIn(f"s3cmd/{key}\n", listed)
        self.assertEqual(self.got("s3cmd/to"), data)

    def test_presigned(self) -> None:
        """
        `signurl` makes an address by version 2 of the signature, which is refused in words that say so.
        """
        url = self.s3cmd("signurl", "s3://documents/s3cmd/any", "+60").strip()
        answer = fetch(url)
        self.assertEqual(answer.status, 400)
        self.assertIn(b"AWS4-HMAC-SHA256", answer.body)


class SyncTests(S3cmdCase):
    def test_odd_names(self) -> None:
        """
        A tree of oddly named files goes up and down again; then there is nothing left to do.
        """
        tree = self.tree("tree", ODD_FILES)
        self.s3cmd("sync", "tree/", "s3://documents/tree/")
        for name, data in tree.items():
            self.wrote("documents", f"tree/{name}", data)
        self.assertNotIn("upload:", self.s3cmd("sync", "tree/", "s3://documents/tree/"))
        self.s3cmd("sync", "s3://documents/tree/", "back/")
        self.assertEqual(self.read_tree("back"), tree)


class BucketTests(S3cmdCase):
    def test_made_and_removed(self) -> None:
        """
        Who may create buckets makes one, and removes it with all that is in it.
        """
        self.act_as("alice")
        self.s3cmd("mb", "s3://s3cmd-bucket")
        self.s3cmd("put", "-", "s3://s3cmd-bucket/a/b", given=b"here")
        self.assertTrue(re.search(r" s3://s3cmd-bucket\n", self.s3cmd("ls")))
        self.s3cmd("rb", "--recursive", "--force", "s3://s3cmd-bucket")
        self.assertFalse(re.search(r" s3://s3cmd-bucket\n", self.s3cmd("ls")))


class S3cmdAftermath(Aftermath, S3cmdCase):
    """After all of the above."""
