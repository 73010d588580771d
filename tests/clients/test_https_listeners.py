"""Clients over HTTPS, with an authority of our own: what TLS changes for them, and what it must not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from socket import create_connection
from typing import Any
from unittest.mock import patch

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ConnectionClosedError, SSLError

from tests.clients.boto import PART, encoded, etag, etag_of_parts, parts_of
from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import MIB, SECRETS, Clients, content, deploy, digest
from tests.running import PATIENCE, DirectoryStorage, fetch
from tests.secured import OTHER_HOST, Secured
from tests.unit.web.certificates import Authority

TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class SecuredClients(Clients):
    """A deployment that is `secured`."""

    secured: Secured


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredClients]:
    """Instead of the one that all clients share: two directories, and listeners of every kind."""
    directory = tmp_path_factory.mktemp("https")
    plain = deploy(directory, [], driver="sqlite")
    second = directory / "second"
    configuration = plain.config_path.read_text()
    more = f'backends:\n  - {{name: second, type: directory, path: "{second}", quota_bytes: 3GB}}\n'
    plain.config_path.write_text(configuration.replace("backends:\n", more))
    storage = {**plain.storage, "second": DirectoryStorage(second)}
    deployed = SecuredClients(plain.config_path, plain.daemon, plain.ledger, storage, directory)
    deployed.secured = Secured(directory / "tls", deployed.daemon.port)
    deployed.secured.secure(deployed.config_path)
    deployed.daemon.start()
    yield deployed
    deployed.daemon.stop()


class HttpsCase(ClientCase):
    deployment: SecuredClients

    def setUp(self) -> None:
        super().setUp()
        self.secured = self.deployment.secured
        self.endpoint = f"https://127.0.0.1:{self.secured.tls}"
        environment = patch.dict(os.environ, AWS_CA_BUNDLE=self.secured.ca_file)
        environment.start()
        self.addCleanup(environment.stop)


class BotoTests(HttpsCase):
    """boto3, which finds our authority through AWS_CA_BUNDLE."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.deployment.boto3(endpoint=self.endpoint, signature_version="s3v4")
        self.hashes: list[bytes] = []  # what each request says of its body
        self.client.meta.events.register("before-send.s3", self._note)

    def _note(self, request: Any, **more: Any) -> None:
        value = request.headers.get("X-Amz-Content-SHA256")
        self.hashes.append(value if isinstance(value, bytes) else str(value).encode())

    def test_object(self) -> None:
        """
        An object is put, as over HTTPS by an unsigned body with a checksum behind it; read whole and in
        ranges; copied.
        """
        data = content("https", 3 * MIB + 17)
        reply = self.client.put_object(Bucket="photos", Key="one", Body=data)
        self.wrote("photos", "one", data)
        self.assertEqual((self.hashes, reply["ETag"]), ([TRAILER], etag(data)))
        self.assertTrue(reply["ChecksumCRC32"])
        for wanted, expected in (
            ("bytes=0-0", data[:1]),
            ("bytes=1000-2000999", data[1000:2001000]),
            ("bytes=-17", data[-17:]),
            (f"bytes={3 * MIB}-", data[3 * MIB :]),
        ):
            got = self.client.get_object(Bucket="photos", Key="one", Range=wanted)["Body"].read()
            self.assertEqual(got, expected, wanted)
        self.client.copy_object(Bucket="documents", Key="copy", CopySource="photos/one")
        self.wrote("documents", "copy", data)
        self.assertEqual(self.client.get_object(Bucket="documents", Key="copy")["Body"].read(), data)

    def test_wrong_checksum(self) -> None:
        """
        A body that is not what its checksum says is refused, although nobody has signed it.
        """
        error = self.assertRaises(
            self.client.exceptions.ClientError,
            self.client.put_object,
            Bucket="photos",
            Key="wrong",
            Body=b"data",
            ChecksumCRC32=encoded(b"nope"),
        )
        self.assertEqual(error.response["Error"]["Code"], "BadDigest")

    def test_large(self) -> None:
        """
        A large file goes up in parts at once, comes down in ranges at once.
        """
        path, back = self.large(), self.home / "back"
        settings = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=4)
        self.client.upload_file(str(path), "photos", "large", Config=settings)
        self.wrote("photos", "large", path)
        self.assertGreaterEqual(self.hashes.count(TRAILER), LARGE // (8 * MIB))
        self.client.download_file("photos", "large", str(back), Config=settings)
        self.assertEqual(digest(back), digest(path))

    def test_parts(self) -> None:
        """
        Parts that are sent one by one are the object, and can be copied as ranges.
        """
        parts = parts_of("https", 3)
        place = {"Bucket": "photos", "Key": "parts"}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        done = [
            {
                "PartNumber": number,
                "ETag": self.client.upload_part(**place, PartNumber=number, Body=part)["ETag"],
            }
            for number, part in enumerate(parts, 1)
        ]
        reply = self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": done})
        self.wrote("photos", "parts", b"".join(parts))
        self.assertEqual(reply["ETag"], etag_of_parts(parts))
        self.client.copy(
            {"Bucket": "photos", "Key": "parts"},
            "photos",
            "parts copied",
            Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
        )
        self.wrote("photos", "parts copied", b"".join(parts))

    def test_presigned(self) -> None:
        """
        Whoever has a presigned URL needs no keys: the URL is good over HTTPS, and for what it says.
        """
        for method, body in (("put_object", b"presigned"), ("get_object", None)):
            url = self.client.generate_presigned_url(method, Params={"Bucket": "photos", "Key": "given away"})
            self.assertTrue(url.startswith(f"{self.endpoint}/photos/given%20away?X-Amz-Algorithm="), url)
            verb = method.partition("_")[0].upper()
            self.assertEqual(self._asked(verb, url, body), (200, b"" if body else b"presigned"))
            self.assertEqual(self._asked("DELETE", url)[0], 403)
        self.wrote("photos", "given away", b"presigned")

    def _asked(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        context = self.secured.context()
        with closing(HTTPSConnection(url.split("/")[2], timeout=PATIENCE, context=context)) as connection:
            connection.request(method, url.removeprefix(self.endpoint), body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def test_stranger(self) -> None:
        """
        A client that does not know our authority sends us nothing.
        """
        with patch.dict(os.environ, AWS_CA_BUNDLE=Authority().write(self.home / "other.crt")):
            client = self.deployment.boto3(endpoint=self.endpoint)
            self.assertRaises(SSLError, client.list_buckets)

    def test_both_listeners(self) -> None:
        """
        What is written through one listener is read through any other.
        """
        data = content("both", 100_000)
        self.client.put_object(Bucket="photos", Key="both", Body=data)
        self.wrote("photos", "both", data)
        self.assertEqual(self.stored("photos", "both"), data)  # by the plain one
        modern = self.deployment.boto3(endpoint=f"https://127.0.0.1:{self.secured.modern}")
        self.assertEqual(modern.get_object(Bucket="photos", Key="both")["Body"].read(), data)

    def test_certificate_of_the_client(self) -> None:
        """
        Where clients must have a certificate, boto3 is served with one, and without cannot even ask.
        """
        endpoint = f"https://127.0.0.1:{self.secured.mutual}"
        refused = self.deployment.boto3(endpoint=endpoint)
        self.assertRaises((SSLError, ConnectionClosedError), refused.list_buckets)
        for authority, is_served in ((self.secured.authority, True), (Authority("other"), False)):
            pair = authority.issue("friend", self.home)
            client = self.deployment.boto3(endpoint=endpoint, client_cert=pair)
            if is_served:
                names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
                self.assertIn("photos", names)
            else:
                self.assertRaises((SSLError, ConnectionClosedError), client.list_buckets)


class ToolTests(HttpsCase):
    """Programs, told of our authority as docs/operating/tls.rst says."""

    def test_aws_cli(self) -> None:
        """
        The AWS CLI: a file up in parts, listed, copied and down again.
        """
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CA_BUNDLE": self.secured.ca_file,
            **self.credentials("photos"),
        }
        path = self.file("cli.bin", 20 * MIB + 5)
        self.run_tool("aws", "s3", "cp", "--no-progress", path, "s3://photos/cli/one.bin")
        self.wrote("photos", "cli/one.bin", path)
        self.run_tool("aws", "s3", "cp", "--no-progress", "s3://photos/cli/one.bin", "back.bin")
        self.assertEqual(digest(self.home / "back.bin"), digest(path))

    def test_rclone(self) -> None:
        """
        rclone: a file up in parts, checked and down again.
        """
        key, secret = SECRETS["photos"]
        remote = f":s3,provider=Other,endpoint='{self.endpoint}',access_key_id={key},force_path_style=true"
        self.environment = {"RCLONE_S3_SECRET_ACCESS_KEY": secret, "RCLONE_S3_REGION": "us-east-1"}
        path = self.file("up/rclone.bin", 20 * MIB + 5)
        common = ["rclone", "--config", "", "--ca-cert", self.secured.ca_file, "--retries", "1"]
        for command in (
            ["--s3-upload-cutoff", "8M", "copy", "up", f"{remote}:photos/rclone"],
            ["check", "up", f"{remote}:photos/rclone"],
            ["copy", f"{remote}:photos/rclone", "down"],
        ):
            self.run_tool(*common, *command)
        self.wrote("photos", "rclone/rclone.bin", path)
        self.assertEqual(digest(self.home / "down/rclone.bin"), digest(path))


class ListenerTests(HttpsCase):
    """What a client sees of the listeners."""

    def test_server_names(self) -> None:
        """
        Clients are shown the certificate for the name they ask for, and else the first.
        """
        for host, name in ((OTHER_HOST, "second"), ("127.0.0.1", "first")):
            context = self.secured.context()
            with (
                create_connection(("127.0.0.1", self.secured.tls), timeout=PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=host) as connection,
            ):
                subject: Any = connection.getpeercert()
                self.assertEqual(subject["subject"][0][0][1], name)
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200 "))

    def test_plain_beside_it(self) -> None:
        """
        The plain listener serves beside the others, and no certificate is asked for there.
        """
        self.assertEqual(fetch(f"{self.deployment.daemon.endpoint}/health/ready").status, 200)


class AftermathTests(HttpsCase, Aftermath):
    """What is left of all of it."""
