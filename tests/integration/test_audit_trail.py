"""What a real daemon writes about what it does: two lines for each request, and their fields."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.clients.deployment import boto3_client
from tests.integration.administering import TOKEN, AdminCase
from tests.integration.disks import BUCKET
from tests.running import COMMAND, fetch, wait_until
from tests.workers import CHOSEN

TWISTD = [str(Path(COMMAND).parent / "twistd"), "--nodaemon", "--pidfile=", "s3orchestrator"]
ALWAYS = {"time", "level", "component", "msg", "request_id", "audit", "event", "duration_ms"} | (
    {"worker"} if CHOSEN > 1 else set()
)
HTTP = {"operation", "method", "path", "remote", "bucket", "status", "user", "access_key_id"}
OBJECT = {"bucket", "key", "backend", "size"}
Line = dict[str, Any]
Call = Callable[[Any], Any]


def _upload(client: Any) -> str:
    upload: str = client.create_multipart_upload(Bucket=BUCKET, Key="u")["UploadId"]
    return upload


class TrailCase(AdminCase):
    maxDiff = None

    def lines(self) -> list[Line]:
        """Everything that was logged; every line must be one of JSON."""
        return [json.loads(line) for line in self.texts()]

    def texts(self) -> list[str]:
        """The lines themselves, without what is told to people on standard error."""
        return [text for text in self.daemon.logged() if not text.startswith("s3orchestrator: warning: ")]

    def trail(self, request_id: str | None = None, events: int = 1) -> list[Line]:
        """The audit lines of a request, once they are there."""
        found: list[Line] = []

        def look() -> bool:
            found[:] = [
                line
                for line in self.lines()
                if line.get("audit") and request_id in (None, line.get("request_id"))
            ]
            return len(found) >= events

        wait_until(look, f"{events} lines of the audit trail")
        return found

    def of(self, event: str) -> list[Line]:
        """The lines of an event, once there is one."""
        found: list[Line] = []

        def look() -> bool:
            found[:] = [line for line in self.lines() if line.get("event") == event]
            return bool(found)

        wait_until(look, f"no line of {event}")
        return found


class OperationTests(TrailCase):
    settings = f"""\
ui: {{admin_token: "{TOKEN}"}}
users:
  - {{name: alice, credentials: [{{access_key_id: photosuser, secret_access_key: photossecret}}],
     create_buckets: true, buckets: [photos]}}
"""

    def alice(self) -> Any:
        return boto3_client(self.daemon.endpoint, "photosuser", "photossecret")

    def table(self) -> list[tuple[str, Call, dict[str, set[str]]]]:
        """Each operation, how to ask for it, and the fields of its lines beside those that all have."""
        part: dict[str, Any] = {}

        def completed(client: Any) -> Any:
            upload = _upload(client)
            etag = client.upload_part(Bucket=BUCKET, Key="u", UploadId=upload, PartNumber=1, Body=b"p")
            parts = {"Parts": [{"PartNumber": 1, "ETag": etag["ETag"]}]}
            return client.complete_multipart_upload(
                Bucket=BUCKET, Key="u", UploadId=upload, MultipartUpload=parts
            )

        upload = _upload(self.client)
        multipart = {"bucket", "key", "backend", "upload_id"}
        listing = {"bucket", "prefix", "key_count", "truncated"}
        sent, got, both = {"request_size"}, {"response_size"}, {"key", "request_size", "response_size"}
        return [
            ("ListBuckets", lambda c: c.list_buckets(), {"s3": got}),
            ("HeadBucket", lambda c: c.head_bucket(Bucket=BUCKET), {"s3": set()}),
            ("GetBucketLocation", lambda c: c.get_bucket_location(Bucket=BUCKET), {"s3": got}),
            ("GetBucketVersioning", lambda c: c.get_bucket_versioning(Bucket=BUCKET), {"s3": got}),
            (
                "PutObject",
                lambda c: c.put_object(Bucket=BUCKET, Key="k", Body=b"data"),
                {"s3": {"key"} | sent, "storage": OBJECT},
            ),
            (
                "GetObject",
                lambda c: c.get_object(Bucket=BUCKET, Key="k"),
                {"s3": {"key"} | got, "storage": OBJECT},
            ),
            (
                "HeadObject",
                lambda c: c.head_object(Bucket=BUCKET, Key="k"),
                {"s3": {"key"}, "storage": {"bucket", "key", "size"}},
            ),
            (
                "CopyObject",
                lambda c: c.copy_object(Bucket=BUCKET, Key="l", CopySource=f"{BUCKET}/k"),
                {
                    "s3": {"key"} | got,
                    "storage": {"source_bucket", "source_key", "source_backend", "size"}
                    | {"dest_bucket", "dest_key", "dest_backend", "backend"},
                },
            ),
            (
                "ListObjectsV1",
                lambda c: c.list_objects(Bucket=BUCKET, Prefix="k"),
                {"s3": got, "storage.ListObjects": listing},
            ),
            (
                "ListObjectsV2",
                lambda c: c.list_objects_v2(Bucket=BUCKET),
                {"s3": got, "storage.ListObjects": listing},
            ),
            (
                "ListObjectVersions",
                lambda c: c.list_object_versions(Bucket=BUCKET),
                {"s3": got, "storage": listing},
            ),
            (
                "DeleteObject",
                lambda c: c.delete_object(Bucket=BUCKET, Key="k"),
                {"s3": {"key"}, "storage": {"bucket", "key", "copies_deleted"}},
            ),
            (
                "DeleteObjects",
                lambda c: c.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "l"}, {"Key": "m"}]}),
                {
                    "s3": got | sent,
                    "storage": {"bucket", "total_keys", "deleted", "errors"},
                    "storage.deleted_keys": {"bucket", "keys"},
                },
            ),
            (
                "CreateMultipartUpload",
                lambda c: c.create_multipart_upload(Bucket=BUCKET, Key="v"),
                {"s3": {"key"} | got, "storage": multipart},
            ),
            (
                "UploadPart",
                lambda c: (
                    part.update(
                        c.upload_part(Bucket=BUCKET, Key="u", UploadId=upload, PartNumber=1, Body=b"p")
                    )
                    or part
                ),
                {"s3": {"key"} | sent, "storage": multipart | {"part_number", "size"}},
            ),
            (
                "ListParts",
                lambda c: c.list_parts(Bucket=BUCKET, Key="u", UploadId=upload),
                {
                    "s3": {"key"} | got,
                    "storage": {"bucket", "key", "upload_id", "part_count", "truncated"},
                },
            ),
            (
                "ListMultipartUploads",
                lambda c: c.list_multipart_uploads(Bucket=BUCKET),
                {"s3": got, "storage": listing},
            ),
            (
                "AbortMultipartUpload",
                lambda c: c.abort_multipart_upload(Bucket=BUCKET, Key="u", UploadId=upload),
                {"s3": {"key"}, "storage": multipart | {"parts_cleaned"}},
            ),
            (
                "CompleteMultipartUpload",
                completed,
                {"s3": both, "storage": multipart | {"total_size", "parts_count"}},
            ),
            (
                "UploadPartCopy",
                lambda c: c.upload_part_copy(
                    Bucket=BUCKET,
                    Key="w",
                    UploadId=c.create_multipart_upload(Bucket=BUCKET, Key="w")["UploadId"],
                    PartNumber=1,
                    CopySource=f"{BUCKET}/u",
                ),
                {
                    "s3": {"key"} | got,
                    "storage": multipart
                    | {"part_number", "size", "source_bucket", "source_key", "source_backend"},
                },
            ),
            (
                "CreateBucket",
                lambda c: c.create_bucket(Bucket="albums"),
                {"s3": set(), "storage": {"bucket"}},
            ),
            (
                "DeleteBucket",
                lambda c: c.delete_bucket(Bucket="albums"),
                {"s3": set(), "storage": {"bucket"}},
            ),
        ]

    def test_every_operation(self) -> None:
        """
        An operation is one line of what was asked and, if the engine had to do with it, one of what it did.
        """
        client = self.alice()
        for operation, call, expected in self.table():
            request_id = call(client)["ResponseMetadata"]["RequestId"]
            wanted = {}
            for level, fields in expected.items():
                event = level if "." in level else f"{level}.{operation}"
                wanted[event] = sorted(ALWAYS | fields | (HTTP if level == "s3" else set()))
            if "storage.deleted_keys" in wanted:
                wanted["storage.deleted_keys"].remove("duration_ms")
            found = self.trail(request_id, len(wanted))
            self.assertEqual({line["event"]: sorted(line) for line in found}, wanted, operation)
            self.assertEqual(len(found), len(wanted), operation)
            (line,) = (line for line in found if line["event"] == f"s3.{operation}")
            self.assertEqual(line["operation"], operation)
            self.assertEqual((line["remote"], line["access_key_id"]), ("127.0.0.1", "photosuser"))
            self.assertIn(line["status"], (200, 204))

    def test_values(self) -> None:
        """
        Lines tell where the bytes went, how many there were, and what they displaced.
        """
        self.client.put_object(Bucket=BUCKET, Key="a b", Body=b"old")
        reply = self.client.put_object(Bucket=BUCKET, Key="a b", Body=b"data")
        asked, done, displaced = (
            next(line for line in self.trail(reply["ResponseMetadata"]["RequestId"], 3) if line["event"] == e)
            for e in ("s3.PutObject", "storage.PutObject", "storage.overwrite_displaced")
        )
        self.assertEqual((asked["path"], asked["key"], asked["method"]), ("/photos/a%20b", "a b", "PUT"))
        self.assertEqual((done["key"], done["size"]), ("a b", 4))
        self.assertIn(done["backend"], ("disk1", "disk2"))
        self.assertEqual((displaced["new_backend"], displaced["displaced_copies"]), (done["backend"], 1))

    def test_aborted(self) -> None:
        """
        Giving an upload up tells how many parts went with it.
        """
        upload = _upload(self.client)
        for number in (1, 2):
            self.client.upload_part(Bucket=BUCKET, Key="u", UploadId=upload, PartNumber=number, Body=b"p")
        reply = self.client.abort_multipart_upload(Bucket=BUCKET, Key="u", UploadId=upload)
        done, _ = self.trail(reply["ResponseMetadata"]["RequestId"], 2)
        self.assertEqual((done["event"], done["parts_cleaned"]), ("storage.AbortMultipartUpload", 2))

    def test_not_modified(self) -> None:
        """
        That a client has an object already is no error.
        """
        etag = self.client.put_object(Bucket=BUCKET, Key="k", Body=b"data")["ETag"]
        with self.assertRaises(ClientError) as caught:
            self.client.get_object(Bucket=BUCKET, Key="k", IfNoneMatch=etag)
        for line in self.trail(caught.exception.response["ResponseMetadata"]["RequestId"], 2):
            self.assertNotIn("error", line)

    def test_refused(self) -> None:
        """
        What fails is two lines with the code that the client was told; who is turned away is one.
        """
        with self.assertRaises(ClientError) as caught:
            self.client.get_object(Bucket=BUCKET, Key="nothing")
        lines = self.trail(caught.exception.response["ResponseMetadata"]["RequestId"], 2)
        self.assertEqual([line["error"] for line in lines], ["NoSuchKey", "NoSuchKey"])
        answer = fetch(
            f"{self.daemon.endpoint}/photos/k?X-Amz-Signature=hush", headers={"X-Request-Id": "AB"}
        )
        self.assertEqual(answer.status // 100, 4)
        (line,) = self.trail("AB")
        self.assertEqual((line["path"], line["status"]), ("/photos/k", answer.status))
        self.assertNotIn("hush", self.daemon.log.read_text())

    def test_no_request(self) -> None:
        """
        What is no HTTP is a line as well, under the id that the answer bears.
        """
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port))) as client:
            client.sendall(b"what is this\r\n\r\n")
            answer = client.recv(65536)
        (line,) = self.of("s3.Refused")
        self.assertIn(f"x-amz-request-id: {line['request_id']}".encode(), answer)
        self.assertEqual((line["status"], line["remote"]), (400, "127.0.0.1"))

    def test_hangs_up(self) -> None:
        """
        A client that leaves half-way has not been sent everything, and the line says so.
        """
        size = 64 << 20
        self.client.put_object(Bucket=BUCKET, Key="large", Body=bytes(size))
        url = self.client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "large"})
        path = url.partition(str(self.daemon.port))[2]
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port))) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.daemon.port}\r\n\r\n".encode())
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 "))
        (line,) = self.of("s3.GetObject")
        self.assertEqual((line["status"], line["error"]), (200, "ClientLeft"))
        self.assertLess(line["response_size"], size)
        self.assertNotIn("Signature", self.daemon.log.read_text())

    def test_leaves_while_uploading(self) -> None:
        """
        Of an upload that ends half-way it is told how much came, and that it was not all.
        """
        fields = {"Bucket": BUCKET, "Key": "large"}
        path = self.client.generate_presigned_url("put_object", fields).partition(str(self.daemon.port))[2]
        head = (
            f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.daemon.port}\r\nContent-Length: 50000000\r\n\r\n"
        )
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port))) as client:
            client.sendall(head.encode() + bytes(1 << 20))
            wait_until(lambda: self.deployment.ledger.unsettled(), "the upload to begin")
        asked, done = *self.of("s3.PutObject"), *self.of("storage.PutObject")
        self.assertEqual((asked["error"], done["error"]), ("IncompleteBody", "IncompleteBody"))
        self.assertEqual(done["size"], 50_000_000)
        self.assertLessEqual(asked.get("request_size", 0), 1 << 20)

    def test_injection(self) -> None:
        """
        Whatever a client puts into a key or a header, a line remains a line.
        """
        nasty = 'a\n{"audit": true}\r\x1b[31m\x7f\x85\u2028\u2029"\\ü☃'
        self.client.put_object(Bucket=BUCKET, Key=nasty, Body=b"x", Metadata={"a": "b"})
        self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "b\x85\u2028"}]})
        head = b"GET /photos/\x1b%%0a\xff HTTP/1.1\r\nHost: \x1b[0m\r\nX-Request-Id: A\x0bB\r\n\r\n"
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port))) as client:
            client.sendall(head)
            client.recv(65536)
        (line,) = self.of("storage.PutObject")
        self.assertEqual(line["key"], nasty)
        for text in self.texts():
            self.assertTrue(text.isprintable(), text)


class QuietTests(TrailCase):
    settings = f'ui: {{admin_token: "{TOKEN}"}}\n'

    def setUp(self) -> None:
        super().setUp()
        text = self.config.read_text().replace("server: {", "server: {log_level: error, ")
        with self.deployment.stopped():
            self.config.write_text(text)
            self.daemon.log.write_text("")

    def test_audit(self) -> None:
        """
        A log that only tells of errors still has the audit trail, and nothing else.
        """
        reply = self.client.put_object(Bucket=BUCKET, Key="k", Body=b"data")
        self.trail(reply["ResponseMetadata"]["RequestId"], 2)
        self.assertTrue(all(line.get("audit") for line in self.lines()), self.lines())

    def test_killed(self) -> None:
        """
        The line of a request that was answered survives the end of the process.
        """
        reply = self.client.put_object(Bucket=BUCKET, Key="k", Body=b"data")
        self.daemon.kill()
        request_id = reply["ResponseMetadata"]["RequestId"]
        found = [line["event"] for line in self.lines() if line.get("request_id") == request_id]
        self.assertIn("storage.PutObject", found)


class StalledTests(TrailCase):
    def test_nobody_reads(self) -> None:
        """
        A daemon whose output nobody reads serves on, and what it had to say is read later, in order.
        """
        self.daemon.stop()
        with subprocess.Popen([COMMAND, *self.daemon.arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            self.addCleanup(process.kill)
            wait_until(self.is_ready, "not ready")
            keys = [f"{number:04}" for number in range(300)]  # thrice what a pipe holds
            for key in keys:
                self.client.put_object(Bucket=BUCKET, Key=key, Body=b"data")
            process.terminate()
            written = process.stdout.read().decode()
            self.assertEqual(process.wait(30), 0)
        lines = [json.loads(line) for line in written.splitlines()]
        for event in ("s3.PutObject", "storage.PutObject"):
            self.assertEqual([line["key"] for line in lines if line.get("event") == event], keys)

    def is_ready(self) -> bool:
        try:
            return fetch(f"{self.daemon.endpoint}/health/ready").status == 200
        except OSError:
            return False


class LogsTests(TrailCase):
    def test_logs(self) -> None:
        """
        The daemon tells its latest lines, for machines and for people.
        """
        reply = self.client.put_object(Bucket=BUCKET, Key="cat.jpg", Body=b"data")
        request_id = reply["ResponseMetadata"]["RequestId"]
        self.trail(request_id, 2)
        status, document = self.ask(f"/admin/api/logs?text={request_id}&component=audit")
        self.assertEqual(status, 200)
        events = [entry["event"] for entry in document["entries"]]
        self.assertEqual(events, ["storage.PutObject", "s3.PutObject"])
        self.assertGreaterEqual(document["newest"], document["entries"][-1]["id"])
        shown = self.told("logs", "--text", request_id, "--limit", "2")
        self.assertRegex(shown, r"(?m)^\S+Z info  audit: s3\.PutObject .*key=cat\.jpg.*\[" + request_id)
        line = json.loads(self.told("logs", "--json", "--component", "audit", "--limit", "1"))
        self.assertEqual(line["event"], "admin.Logs")
        self.assertNotIn(TOKEN, self.daemon.log.read_text())

    def test_refused(self) -> None:
        """
        What makes no sense is refused, and says what would.
        """
        for query in (
            "level=loud",
            "since=yesterday",
            "since=2026-01-01T00:00:00",
            "limit=0",
            "after=x",
            "k=1",
        ):
            status, document = self.ask(f"/admin/api/logs?{query}")
            self.assertEqual(status, 400, query)
            self.assertTrue(document["error"])
        self.assertEqual(self.ask("/admin/api/logs", token=None)[0], 401)
        self.assertIn("--limit", self.told("logs", "--limit", "many", status=2))

    def test_follow(self) -> None:
        """
        What is logged later is shown as it comes, each line once.
        """
        with subprocess.Popen(
            [COMMAND, "admin", "logs", "--follow", "--json", "--config", str(self.config)],
            stdout=subprocess.PIPE,
            text=True,
        ) as following:
            assert following.stdout is not None
            self.addCleanup(following.kill)
            json.loads(following.stdout.readline())
            for key in ("one", "two"):
                self.client.put_object(Bucket=BUCKET, Key=key, Body=b"data")
            seen = []
            while "two" not in seen:
                entry = json.loads(following.stdout.readline())
                if entry.get("event") == "s3.PutObject":
                    seen.append(entry["key"])
            self.assertEqual(seen, ["one", "two"])
            following.kill()


class StartTests(TrailCase):
    def test_cannot_be_used(self) -> None:
        """
        A daemon that cannot start says why as it logs: a line of JSON for each reason.
        """
        self.config.write_text("server: {}\nbackendz: []\n")
        for command in (
            [COMMAND, "serve", "--config", str(self.config)],
            [*TWISTD, "--config", str(self.config)],
        ):
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=60, check=False, cwd=self.directory
            )
            self.assertEqual(ended.returncode, 1, ended.stderr)
            lines = [json.loads(line) for line in ended.stdout.splitlines()]
            self.assertTrue(lines, ended.stderr)
            for line in lines:
                self.assertEqual((line["level"], line["component"]), ("critical", "main"))
                self.assertIn("cannot be used", line["msg"])
