"""The JavaScript SDK, version 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import MIB, SECRETS, content, digest
from tests.clients.oddities import CONTROL, EVERY_KEY
from tests.running import fetch

PROGRAM = Path(__file__).parent / "js" / "client.cjs"


class JavaScriptCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.act_as("photos")

    def act_as(self, who: str) -> None:
        key, secret = SECRETS[who]
        self.environment = {"ENDPOINT": self.endpoint, "KEY": key, "SECRET": secret}

    def js(self, command: str, **arguments: Any) -> Any:
        """Run one command of client.cjs."""
        return json.loads(self.run_tool("node", PROGRAM, command, json.dumps(arguments)).stdout)

    def send(self, operation: str, **parameters: Any) -> Any:
        return self.js("send", operation=operation, input=parameters)


class UploadTests(JavaScriptCase):
    def test_round_trip(self) -> None:
        """
        What is uploaded, with metadata, comes back, with metadata.
        """
        path = self.file("report", 4000)
        sent = {"ContentType": "text/plain", "Metadata": {"colour": "blue"}}
        self.js("put", bucket="photos", key="js/report", path=str(path), **sent)
        self.wrote("photos", "js/report", path)
        got = self.js("get", bucket="photos", key="js/report")
        self.assertEqual(got["sha256"], digest(path))
        self.assertEqual((got["ContentType"], got["Metadata"]), ("text/plain", {"colour": "blue"}))

    def test_unknown_length(self) -> None:
        """
        A stream of unknown length goes up in parts and comes down as one.
        """
        path = self.large()
        self.js("upload", bucket="photos", key="js/large", path=str(path))
        self.wrote("photos", "js/large", path)
        got = self.js("get", bucket="photos", key="js/large")
        self.assertEqual((got["ContentLength"], got["sha256"]), (LARGE, digest(path)))
        self.js("save", bucket="photos", key="js/large", path=str(self.home / "back"))
        self.assertEqual(digest(self.home / "back"), digest(path))

    def test_short_of_unknown_length(self) -> None:
        """
        A stream that turns out to be short, or empty, is one upload.
        """
        for size in (0, 1, 5 * MIB):
            path = self.file(f"stream {size}", size)
            self.js("upload", bucket="photos", key=f"js/stream {size}", path=str(path))
            self.wrote("photos", f"js/stream {size}", path)

    def test_chunked_twice(self) -> None:
        """
        aws-chunked inside Transfer-Encoding: chunked, with every checksum the SDK has.
        """
        for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
            path = self.file(f"chunked {algorithm}", 300_000)
            key = f"js/chunked {algorithm}"
            said = self.js(
                "putStream",
                bucket="photos",
                key=key,
                path=str(path),
                length=300_000,
                ChecksumAlgorithm=algorithm,
            )
            self.wrote("photos", key, path)
            sent = {name.lower(): value for name, value in said["sent"].items()}
            self.assertEqual(sent["transfer-encoding"], "chunked")
            self.assertNotIn("content-length", sent)
            self.assertEqual(sent["x-amz-trailer"], f"x-amz-checksum-{algorithm.lower()}")
            got = self.js("get", bucket="photos", key=key, ChecksumMode="ENABLED")
            self.assertEqual(got["sha256"], digest(path))
            self.assertTrue(got[f"Checksum{algorithm}"])
            self.assertNotIn("ContentEncoding", got)

    def test_other_length(self) -> None:
        """
        A stream that is shorter or longer than announced is refused, and nothing is stored.
        """
        path = self.file("liar", 200_000)
        for length in (199_999, 200_001):
            said = self.js("putStream", bucket="photos", key="js/liar", path=str(path), length=length)
            self.assertEqual(said, {"failed": "IncompleteBody", "status": 400})
        self.assertEqual(self.send("HeadObject", Bucket="photos", Key="js/liar")["status"], 404)


class ObjectTests(JavaScriptCase):
    def test_odd_keys(self) -> None:
        """
        Every odd key is stored, found and read under exactly that name.
        """
        # This SDK asks for no encoding of names, and XML has no way to write most control characters.
        keys = [key for name, key in EVERY_KEY.items() if name not in CONTROL]
        self.act_as("documents")
        path = self.file("odd", 2000)
        said = self.js("keys", bucket="documents", keys=keys, path=str(path))
        for key in keys:
            self.assertEqual(said["read"][key], digest(path), repr(key))
            self.wrote("documents", key, path)
        self.assertEqual(said["listed"], sorted(keys, key=str.encode))

    def test_control_characters(self) -> None:
        """
        Keys that XML cannot carry can be stored and read.
        """
        path = self.file("control", 500)
        for key in CONTROL.values():
            self.js("put", bucket="photos", key=key, path=str(path))
            self.wrote("photos", key, path)
            self.assertEqual(self.js("get", bucket="photos", key=key)["sha256"], digest(path))

    def test_copied(self) -> None:
        """
        A copy has the same bytes, whatever its source is called.
        """
        path = self.file("source", 3000)
        self.js("put", bucket="photos", key="js/source + %.bin", path=str(path))
        self.wrote("photos", "js/source + %.bin", path)
        source = "photos/js/source%20%2B%20%25.bin"
        self.send("CopyObject", Bucket="photos", Key="js/copy", CopySource=source)
        self.wrote("photos", "js/copy", path)
        self.assertEqual(self.js("get", bucket="photos", key="js/copy")["sha256"], digest(path))

    def test_range(self) -> None:
        """
        A range is that range.
        """
        path = self.file("ranged", 3000)
        self.js("put", bucket="photos", key="js/ranged", path=str(path))
        self.wrote("photos", "js/ranged", path)
        got = self.js("get", bucket="photos", key="js/ranged", Range="bytes=1000-1999")
        self.assertEqual(got["sha256"], digest(path.read_bytes()[1000:2000]))
        self.assertEqual(got["ContentRange"], "bytes 1000-1999/3000")

    def test_conditions(self) -> None:
        """
        A write that wants the key to be free is refused when it is not, and changes nothing.
        """
        first, second = self.file("first", 10), self.file("second", 10)
        for path, expected in ((first, None), (second, "PreconditionFailed")):
            said = self.js("put", bucket="photos", key="js/condition", path=str(path), IfNoneMatch="*")
            self.assertEqual(said.get("failed"), expected)
        self.wrote("photos", "js/condition", first)
        self.assertEqual(self.stored("photos", "js/condition"), first.read_bytes())

    def test_presigned(self) -> None:
        """
        Presigned addresses serve for reading and for writing.
        """
        data = content("presigned", 5000)
        place = {"Bucket": "photos", "Key": "js/pre signed+%"}
        upload = self.js("presign", operation="PutObject", input={**place, "ContentType": "image/png"})["url"]
        answer = fetch(upload, "PUT", data, {"Content-Type": "image/png"})
        self.assertEqual(answer.status, 200, answer.body)
        self.wrote("photos", "js/pre signed+%", data)
        answer = fetch(self.js("presign", operation="GetObject", input=place)["url"])
        self.assertEqual((answer.status, answer.body), (200, data))

    def test_missing(self) -> None:
        """
        What is not there is reported with the SDK's own names.
        """
        self.assertEqual(
            self.js("get", bucket="photos", key="js/missing"), {"failed": "NoSuchKey", "status": 404}
        )
        self.assertEqual(
            self.send("HeadObject", Bucket="photos", Key="js/missing"), {"failed": "NotFound", "status": 404}
        )
        self.assertEqual(self.js("list", bucket="documents"), {"failed": "AccessDenied", "status": 403})


class BucketTests(JavaScriptCase):
    def test_emptied(self) -> None:
        """
        A bucket is made, filled, emptied a page at a time, and removed.
        """
        self.act_as("alice")
        self.send("CreateBucket", Bucket="js-bucket")
        path = self.file("filling", 10)
        keys = [f"folder {number}/file" for number in range(12)]
        self.assertEqual(
            self.js("keys", bucket="js-bucket", keys=keys, path=str(path))["listed"], sorted(keys)
        )
        self.assertEqual(self.send("DeleteBucket", Bucket="js-bucket")["failed"], "BucketNotEmpty")
        self.assertEqual(self.js("empty", bucket="js-bucket"), {"removed": 12})
        self.send("DeleteBucket", Bucket="js-bucket")
        self.assertEqual(self.send("HeadBucket", Bucket="js-bucket")["status"], 404)


class JavaScriptAftermath(Aftermath, JavaScriptCase):
    """After all of the above."""
