"""A daemon with listeners of every kind, plain and TLS, with names and for clients with certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from socket import create_connection
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ConnectionClosedError, SSLError

from tests.clients.boto import encoded
from tests.clients.case import Aftermath, ClientCase
from tests.clients.deployment import Clients, content, deploy
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
    deployed = SecuredClients(plain.config_path, plain.daemon, plain.ledger, storage, directory, "")
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
