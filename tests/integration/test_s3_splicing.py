"""Which requests have their bodies spliced, and that it makes no difference to what clients are told."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from tempfile import mkdtemp

from prometheus_client import REGISTRY, generate_latest

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire
from tests.integration.framing import FORMS, UNSIGNED_FORM, crc_of, http_chunked, with_length
from tests.integration.s3_server import ServerCase
from tests.running import wait_until
from tests.servers import SERVERS
from tests.unit.web.certificates import Authority

MIB = 1024 * 1024
DATA = bytes(range(256)) * (3 * MIB // 256)
SMALL = DATA[: 200 * 1024]


def spliced() -> dict[str, float]:
    """Bytes that were spliced so far, as the metrics tell."""
    found = re.findall(
        r's3o_spliced_bytes_total{direction="(\w+)"} (\S+)', generate_latest(REGISTRY).decode()
    )
    return {direction: float(count) for direction, count in found}


class OnService(ServerCase):
    """A server whose only backend is an S3 service."""

    @classmethod
    def setUpClass(cls) -> None:
        service = SERVERS["moto"]()
        cls.backends = (
            f'[{{name: a, endpoint: "{service.endpoint}", bucket: "{service.make_bucket()}", '
            f"force_path_style: true, access_key_id: {service.access_key_id}, "
            f"secret_access_key: {service.secret_access_key}, quota_bytes: 300MB}}]"
        )
        super().setUpClass()
        # Of a backend that nobody knows yet the ETags are not believed: what it is sent is hashed.
        wait_until(lambda: cls.server.orchestrator.core.backends["a"].traits is not None, "no traits")

    def difference(self, act: Callable[[], Answer]) -> tuple[Answer, dict[str, float]]:
        """Do something; return its answer, and how many bytes were spliced meanwhile."""
        before = spliced()
        answer = act()
        return answer, {name: after - before[name] for name, after in spliced().items()}

    def put(self, data: bytes = DATA, headers: Headers | None = None, key: str = "a") -> Answer:
        return self.alice.ask("PUT", f"/photos/{key}", data, headers, payload_hash=UNSIGNED)

    def get(self, headers: Headers | None = None, key: str = "a") -> Answer:
        return self.alice.ask("GET", f"/photos/{key}", headers=headers)


class SplicedRequestsTests(OnService):
    """With nothing said about it in the configuration."""

    def test_upload(self) -> None:
        """Nearly all of an upload that nobody has to look at."""
        answer, moved = self.difference(self.put)
        self.assertSucceeded(answer)
        self.assertEqual(answer.header("etag"), f'"{md5(DATA).hexdigest()}"')
        self.assertGreater(moved["upload"], len(DATA) / 2)
        self.assertEqual(self.get().body, DATA)

    def test_part(self) -> None:
        """A part is an upload like any other."""
        started = self.alice.ask("POST", "/photos/parts?uploads")
        target = f"/photos/parts?partNumber=1&uploadId={started.text('UploadId')}"
        answer, moved = self.difference(
            lambda: self.alice.ask("PUT", target, DATA, payload_hash=UNSIGNED),
        )
        self.assertEqual(answer.header("etag"), f'"{md5(DATA).hexdigest()}"')
        self.assertGreater(moved["upload"], len(DATA) / 2)

    def test_downloads(self) -> None:
        """Nearly all of an object, and of a long range of it."""
        self.put()
        for headers, expected in (
            ({}, DATA),
            ({"range": f"bytes=77-{2 * MIB}"}, DATA[77 : 2 * MIB + 1]),
            ({"x-amz-checksum-mode": "ENABLED"}, DATA),
        ):
            with self.subTest(headers):
                answer, moved = self.difference(lambda headers=headers: self.get(headers))  # type: ignore[misc]
                self.assertEqual(answer.body, expected)
                self.assertGreater(moved["download"], len(expected) / 2)

    def test_counted(self) -> None:
        """Usage and metrics count bytes that nobody saw like all others."""
        counters = self.server.orchestrator.core.counters

        def used() -> tuple[int, int]:
            now = self.server.run(lambda: counters.used("a"))
            return now.ingress_bytes, now.egress_bytes

        def sizes() -> list[float]:
            names = ("s3o_request_size_bytes_sum", "s3o_response_size_bytes_sum")
            return [
                REGISTRY.get_sample_value(name, {"method": method}) or 0.0
                for name, method in zip(names, ("PUT", "GET"), strict=True)
            ]

        before, sizes_before = used(), sizes()
        self.assertSucceeded(self.put())
        self.assertSucceeded(self.get())
        after = used()
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (len(DATA), len(DATA)))
        wait_until(lambda: sizes() == [size + len(DATA) for size in sizes_before], "sizes are not counted")

    def test_looked_at(self) -> None:
        """Uploads that are verified, or framed, are read; and what is wrong with them is found."""
        hashed = b64encode(md5(DATA).digest())
        rows: dict[str, Callable[[], Answer]] = {
            "small": lambda: self.put(SMALL),
            "signed": lambda: self.alice.ask("PUT", "/photos/a", DATA),
            "Content-MD5": lambda: self.put(headers={"content-md5": hashed}),
            "checksum": lambda: self.put(headers={"x-amz-checksum-crc32": crc_of(DATA)}),
            "aws-chunked": lambda: self._framed(with_a_length=True),
            "aws-chunked in HTTP's chunks": lambda: self._framed(with_a_length=False),
        }
        for name, act in rows.items():
            with self.subTest(name):
                answer, moved = self.difference(act)
                self.assertSucceeded(answer)
                self.assertEqual(moved["upload"], 0)
        for name, headers in (
            ("Content-MD5", {"content-md5": b64encode(md5(b"other").digest())}),
            ("checksum", {"x-amz-checksum-crc32": crc_of(b"other")}),
        ):
            with self.subTest(name):
                self.assertRefused(self.put(headers=headers), 400, "BadDigest")

    def _framed(self, *, with_a_length: bool) -> Answer:
        form = FORMS[UNSIGNED_FORM]
        request = form.request(self.alice, DATA)
        body = form.body(self.alice, request, DATA, 65536)
        with Wire(self.server.address) as wire:
            if with_a_length:
                wire.send(with_length(request, body), body)
            else:
                wire.send(request, http_chunked(body, 65536))
            return wire.answer()

    def test_small_download(self) -> None:
        """A small object is read and written."""
        self.put(SMALL)
        answer, moved = self.difference(self.get)
        self.assertEqual((answer.body, moved["download"]), (SMALL, 0))

    def test_head(self) -> None:
        """A HEAD has no body."""
        self.put()
        answer, moved = self.difference(lambda: self.alice.ask("HEAD", "/photos/a"))
        self.assertEqual((answer.header("content-length"), moved["download"]), (str(len(DATA)), 0))

    def test_same_connection(self) -> None:
        """Uploads and downloads follow each other on one connection."""
        with Wire(self.server.address) as wire:
            for _ in range(3):
                self.assertSucceeded(
                    self.alice.ask("PUT", "/photos/a", DATA, payload_hash=UNSIGNED, wire=wire)
                )
                self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, DATA)


class NotSplicedTests(OnService):
    """Switched off."""

    settings = {"splice": False}

    def test_copied(self) -> None:
        """Nothing is spliced, and all is as it was."""
        answer, moved = self.difference(self.put)
        self.assertSucceeded(answer)
        self.assertEqual(moved, {"upload": 0, "download": 0})
        answer, moved = self.difference(self.get)
        self.assertEqual(answer.body, DATA)
        self.assertEqual(moved, {"upload": 0, "download": 0})


class EncryptedTests(OnService):
    """A client that speaks TLS."""

    @classmethod
    def setUpClass(cls) -> None:
        directory = Path(mkdtemp())
        authority = Authority()
        cert_file, key_file = authority.issue("ours", directory)
        cls.context = ssl.create_default_context(cafile=authority.write(directory / "ca.crt"))
        cls.settings = {
            "listen_addr": "127.0.0.1:0",
            "tls": {"cert_file": cert_file, "key_file": key_file},
        }
        super().setUpClass()

    def ask(self, method: str, body: bytes = b"") -> Answer:
        with Wire(self.address) as wire:
            wire.socket = self.context.wrap_socket(wire.socket, server_hostname="127.0.0.1")
            return self.alice.ask(method, "/photos/a", body, payload_hash=UNSIGNED, wire=wire)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.server.orchestrator.endpoint.removeprefix("https://").rpartition(":")
        return host, int(port)

    def setUp(self) -> None:
        super().setUp()
        self.alice.address = self.address

    def test_copied(self) -> None:
        """The bytes must be encrypted, so they are read."""
        answer, moved = self.difference(lambda: self.ask("PUT", DATA))
        self.assertSucceeded(answer)
        self.assertEqual(moved, {"upload": 0, "download": 0})
        answer, moved = self.difference(lambda: self.ask("GET"))
        self.assertEqual(answer.body, DATA)
        self.assertEqual(moved, {"upload": 0, "download": 0})
