"""Each client over HTTPS, told of our own authority in the way that docs/operating/tls.rst says."""

from __future__ import annotations

import socket
import ssl
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

from boto3.s3.transfer import TransferConfig

from tests.clients.boto import BotoCase, virtual_hosts
from tests.clients.case import Aftermath
from tests.clients.deployment import DOMAIN, MIB, content, digest
from tests.clients.test_awscli import AwsCliCase
from tests.clients.test_javascript import JavaScriptCase
from tests.clients.test_rclone import RcloneCase
from tests.clients.test_restic import ResticCase
from tests.clients.test_s3cmd import S3cmdCase


class BotoTests(BotoCase):
    """boto3: whether bodies are framed, signed or neither depends on the endpoint's scheme."""

    over_https = True

    def setUp(self) -> None:
        super().setUp()
        self.client = self.secure()
        self.sent: list[dict[str, str]] = []
        self.client.meta.events.register("before-send.s3.*", self._note)

    def secure(self, **settings: Any) -> Any:
        return self.deployment.boto3("photos", self.endpoint, verify=self.deployment.ca_file, **settings)

    def _note(self, request: Any, **_: Any) -> None:
        self.sent.append({name.lower(): _text(value) for name, value in request.headers.items()})

    def test_trailer(self) -> None:
        """
        An upload is not signed but framed, with a checksum behind it, which is checked and kept.
        """
        data = content("https trailer", 3 * MIB + 17)
        self.put("https/trailer", data)
        (sent,) = self.sent
        self.assertEqual(sent["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        self.assertEqual(sent["x-amz-trailer"], "x-amz-checksum-crc32")
        self.assertEqual(sent["content-encoding"], "aws-chunked")
        self.assertEqual(self.get("https/trailer"), data)
        shown = self.client.head_object(Bucket="photos", Key="https/trailer", ChecksumMode="ENABLED")
        self.assertTrue(shown["ChecksumCRC32"])
        self.assertNotIn("ContentEncoding", shown)

    def test_every_trailer(self) -> None:
        """
        So with each checksum that boto3 computes.
        """
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            data = content(algorithm, 200_000)
            self.put(f"https/{algorithm}", data, ChecksumAlgorithm=algorithm)
            self.assertEqual(self.sent[-1]["x-amz-trailer"], f"x-amz-checksum-{algorithm.lower()}")
            self.assertEqual(self.get(f"https/{algorithm}", ChecksumMode="ENABLED"), data)

    def test_without_checksum(self) -> None:
        """
        Without one the body may be sent as it is, and not signed either.
        """
        self.client = self.secure(
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": False},
        )
        self.client.meta.events.register("before-send.s3.*", self._note)
        data = content("https plain", MIB)
        self.put("https/plain", data)
        self.assertEqual(self.sent[0]["x-amz-content-sha256"], "UNSIGNED-PAYLOAD")
        self.assertEqual(self.get("https/plain"), data)

    def test_large(self) -> None:
        """
        A large file goes up in parts at once, each with its trailer, and comes down in ranges at once.
        """
        path = self.large()
        settings = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
        self.client.upload_file(str(path), "photos", "https/large", Config=settings)
        self.wrote("photos", "https/large", path)
        parts = [sent for sent in self.sent if "x-amz-trailer" in sent]
        self.assertEqual(len(parts), -(-path.stat().st_size // (8 * MIB)))
        self.client.download_file("photos", "https/large", str(self.home / "back"), Config=settings)
        self.assertEqual(digest(self.home / "back"), digest(path))

    def test_virtual_host(self) -> None:
        """
        The bucket may be in the host's name, which the certificate is for as well.
        """
        port = self.endpoint.rpartition(":")[2]
        client = self.deployment.boto3(
            "photos",
            f"https://{DOMAIN}:{port}",
            verify=self.deployment.ca_file,
            s3={"addressing_style": "virtual"},
        )
        data = content("https virtual", 5000)
        with patch.object(socket, "getaddrinfo", virtual_hosts()):
            client.put_object(Bucket="photos", Key="https/virtual", Body=data)
            self.assertEqual(client.get_object(Bucket="photos", Key="https/virtual")["Body"].read(), data)
        self.wrote("photos", "https/virtual", data)

    def test_presigned(self) -> None:
        """
        A URL made for HTTPS works for whoever knows the authority.
        """
        data = content("https presigned", 5000)
        self.put("https/presigned", data)
        client = self.secure(signature_version="s3v4")
        url = client.generate_presigned_url("get_object", {"Bucket": "photos", "Key": "https/presigned"})
        context = ssl.create_default_context(cafile=self.deployment.ca_file)
        with urlopen(url, context=context) as answer:
            self.assertEqual(answer.read(), data)


class AwsCliTests(AwsCliCase):
    over_https = True

    def test_tree_and_large_file(self) -> None:
        """
        Files go up and down, a large one in parts.
        """
        self.environment["AWS_CA_BUNDLE"] = self.deployment.ca_file
        path = self.large()
        self.s3("cp", "--no-progress", path, "s3://photos/https/cli")
        self.wrote("photos", "https/cli", path)
        self.s3("cp", "--no-progress", "s3://photos/https/cli", "back")
        self.assertEqual(digest(self.home / "back"), digest(path))
        tree = self.tree("tree", ("one", "two/three"))
        self.s3("sync", "tree", "s3://photos/https/tree")
        for name, data in tree.items():
            self.wrote("photos", f"https/tree/{name}", data)
        self.s3("sync", "s3://photos/https/tree", "tree back")
        self.assertEqual(self.read_tree("tree back"), tree)

    def test_untrusted(self) -> None:
        """
        Without our authority it does not even ask.
        """
        self.environment["AWS_CA_BUNDLE"] = "/etc/ssl/certs/ca-certificates.crt"
        self.run_tool("aws", "s3", "ls", "s3://photos/", status=255)


class RcloneTests(RcloneCase):
    over_https = True

    def test_large(self) -> None:
        """
        A large file goes up in parts and comes down; rclone's own check finds no difference.
        """
        trusting = ("--ca-cert", self.deployment.ca_file)
        path = self.large()
        self.rclone(*trusting, "copyto", path, "orchestrator:photos/https/rclone")
        self.wrote("photos", "https/rclone", path)
        self.rclone(*trusting, "copyto", "orchestrator:photos/https/rclone", "back")
        self.assertEqual(digest(self.home / "back"), digest(path))
        self.rclone("lsf", "orchestrator:photos/https", status=1)


class ResticTests(ResticCase):
    over_https = True

    def test_backup(self) -> None:
        """
        What is backed up and restored is what it was.
        """
        self.use("https")
        trusting = ("--cacert", self.deployment.ca_file)
        tree = self.tree("home", ("one", "two"))
        self.restic(*trusting, "init")
        self.restic(*trusting, "backup", "home")
        self.restic(*trusting, "restore", "latest", "--target", "back")
        self.assertEqual(self.read_tree("back/home"), tree)
        self.run_tool("rm", "-r", self.home / "back")
        # Its files have names of its own; none stays, so that all that is there is known.
        for key in [name for name in self.deployment.listed() if name.startswith("backups/https/")]:
            self.deployment.boto3().delete_object(Bucket="backups", Key=key.removeprefix("backups/"))


class S3cmdTests(S3cmdCase):
    over_https = True

    def test_round_trip(self) -> None:
        """
        A large file goes up in parts and comes down.
        """
        path = self.large()
        trusting = ("s3cmd", "--ssl", f"--ca-certs={self.deployment.ca_file}")
        self.run_tool(*trusting, "put", path, "s3://documents/https/s3cmd")
        self.wrote("documents", "https/s3cmd", path)
        self.run_tool(*trusting, "get", "s3://documents/https/s3cmd", "back")
        self.assertEqual(digest(self.home / "back"), digest(path))


class JavaScriptTests(JavaScriptCase):
    over_https = True

    def test_trailer(self) -> None:
        """
        aws-chunked inside Transfer-Encoding: chunked, and a stream of unknown length in parts.
        """
        self.environment["NODE_EXTRA_CA_CERTS"] = self.deployment.ca_file
        path = self.large()
        self.js("upload", bucket="photos", key="https/js", path=str(path))
        self.wrote("photos", "https/js", path)
        self.assertEqual(self.js("get", bucket="photos", key="https/js")["sha256"], digest(path))
        small = self.file("small", 300_000)
        said = self.js(
            "putStream", bucket="photos", key="https/js small", path=str(small), length=300_000,
            ChecksumAlgorithm="CRC32C",
        )  # fmt: skip
        self.wrote("photos", "https/js small", small)
        sent = {name.lower(): value for name, value in said["sent"].items()}
        self.assertEqual(sent["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER")


class HttpsAftermath(Aftermath, BotoCase):
    """After all of the above."""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
