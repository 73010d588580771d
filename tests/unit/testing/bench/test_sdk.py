"""Requests as an SDK makes them."""

from __future__ import annotations

from hashlib import sha256

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol import sigv4
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.testing.bench.sdk import REGION, Sdk

NOW = 1_750_000_000.0


@frozen
class Received:
    """A request as the other side reads it."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes

    @classmethod
    def parse(cls, sent: bytes) -> Received:
        head, _, body = sent.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        path, _, query = target.partition(b"?")
        fields = (line.split(b": ", 1) for line in lines)
        return cls(method, path, query, {name.lower(): [value] for name, value in fields}, body)


class SdkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sdk = Sdk(b"127.0.0.1:9000", "key", "secret", lambda: NOW)

    def assertSigned(self, request: Received) -> None:
        """Our own verifier lets it in, 14 minutes later too."""
        claim = sigv4.parse(request)
        assert claim is not None
        sigv4.verify(claim, request, "secret", now=NOW + 840, region=REGION, keys=SigningKeys())

    def test_get(self) -> None:
        """A GET is signed, its query too, and has the headers that SDKs add."""
        request = Received.parse(self.sdk.request(b"GET", b"/bench", b"list-type=2&max-keys=10"))
        self.assertSigned(request)
        self.assertGreaterEqual(len(request.headers), 7)

    def test_put(self) -> None:
        """A small body comes with its hash."""
        request = Received.parse(self.sdk.request(b"PUT", b"/bench/k", body=b"hello"))
        self.assertSigned(request)
        self.assertEqual(request.body, b"hello")
        self.assertEqual(request.headers[b"content-length"], [b"5"])
        self.assertEqual(request.headers[b"x-amz-content-sha256"], [sha256(b"hello").hexdigest().encode()])

    def test_upload(self) -> None:
        """The head of a large upload says how much follows."""
        request = Received.parse(self.sdk.upload(b"/bench/k", 1 << 30))
        self.assertSigned(request)
        self.assertEqual(request.headers[b"content-length"], [b"1073741824"])
        self.assertEqual(request.headers[b"x-amz-content-sha256"], [b"UNSIGNED-PAYLOAD"])
