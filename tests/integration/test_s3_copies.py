"""CopyObject over HTTP."""

from __future__ import annotations

import time
from base64 import b64encode
from hashlib import sha256
from zlib import crc32

from tests.integration.asking import Answer, Headers, Wire, etag
from tests.integration.s3_server import DIRECTORIES, ServerCase


class CopyTests(ServerCase):
    """CopyObject."""

    def copy(self, target: str, source: str, headers: Headers | None = None) -> Answer:
        return self.alice.ask("PUT", target, headers={"x-amz-copy-source": source, **(headers or {})})

    def setUp(self) -> None:
        super().setUp()
        sent = {"content-type": "text/plain", "x-amz-meta-a": "1", "cache-control": "no-store"}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a%20b%2Bc", b"data", sent))

    def test_copy(self) -> None:
        """Data and metadata are the source's, in the same bucket or another."""
        for target in ("/photos/copy", "/documents/copy"):
            for source in (
                "photos/a%20b%2Bc",
                "/photos/a+b%2Bc",
                "photos%2Fa%20b%2Bc",
                "/photos/a%20b%2bc?versionId=null",
            ):
                with self.subTest(f"{source} to {target}"):
                    answer = self.assertSucceeded(self.copy(target, source, {"x-amz-meta-b": "ignored"}))
                    self.assertEqual(answer.text("ETag"), etag(b"data"))
                    self.assertRegex(answer.text("LastModified") or "", r"^\d{4}-.*T.*\.000Z$")
                    got = self.alice.ask("GET", target)
                    self.assertEqual((got.body, got.header("x-amz-meta-a")), (b"data", "1"))
                    self.assertEqual(got.header("content-type"), "text/plain")
                    self.assertEqual(got.header("cache-control"), "no-store")
                    self.assertIsNone(got.header("x-amz-meta-b"))

    def test_replace(self) -> None:
        """With REPLACE all metadata is the request's; so an object may be copied to itself."""
        before = self.alice.ask("HEAD", "/photos/a%20b%2Bc").header("last-modified")
        new = {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-b": "2"}
        deadline = time.monotonic() + 5
        while self.alice.ask("HEAD", "/photos/a%20b%2Bc").header("last-modified") == before:
            self.assertLess(time.monotonic(), deadline)
            self.assertSucceeded(self.copy("/photos/a%20b%2Bc", "photos/a%20b%2Bc", new))
            time.sleep(0.1)
        got = self.alice.ask("GET", "/photos/a%20b%2Bc")
        self.assertEqual((got.body, got.header("x-amz-meta-b")), (b"data", "2"))
        self.assertIsNone(got.header("x-amz-meta-a"))
        self.assertIsNone(got.header("cache-control"))
        self.assertEqual(got.header("content-type"), "binary/octet-stream")

    def test_checksum(self) -> None:
        """A copy has its source's checksum, or the one that is asked for."""
        value = b64encode(crc32(b"data").to_bytes(4, "big")).decode()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/s", b"data", {"x-amz-checksum-crc32": value}))
        kept = self.assertSucceeded(self.copy("/photos/copy", "photos/s"))
        self.assertEqual(kept.text("ChecksumCRC32"), value)
        made = self.assertSucceeded(
            self.copy("/photos/copy", "photos/s", {"x-amz-checksum-algorithm": "SHA256"})
        )
        expected = b64encode(sha256(b"data").digest()).decode()
        self.assertEqual(made.text("ChecksumSHA256"), expected)
        asked = self.alice.ask("HEAD", "/photos/copy", headers={"x-amz-checksum-mode": "ENABLED"})
        self.assertEqual(asked.header("x-amz-checksum-sha256"), expected)

    def test_source_conditions(self) -> None:
        """They let a copy pass that they should."""
        modified = self.alice.ask("HEAD", "/photos/a%20b%2Bc").header("last-modified") or ""
        past = "Fri, 01 Jan 2021 00:00:00 GMT"
        for name, value in (
            ("if-match", etag(b"data")),
            ("if-none-match", '"0123"'),
            ("if-modified-since", past),
            ("if-unmodified-since", modified),
        ):
            with self.subTest(name):
                header = {f"x-amz-copy-source-{name}": value}
                self.assertSucceeded(self.copy("/photos/copy", "photos/a%20b%2Bc", header))
        both = {"x-amz-copy-source-if-match": etag(b"data"), "x-amz-copy-source-if-unmodified-since": past}
        self.assertSucceeded(self.copy("/photos/copy", "photos/a%20b%2Bc", both))

    def test_empty(self) -> None:
        """Nothing can be copied, too."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/empty"))
        self.assertSucceeded(self.copy("/photos/copy", "photos/empty"))
        self.assertEqual(self.alice.ask("GET", "/photos/copy").body, b"")

    def test_without_length(self) -> None:
        """A copy needs no word about a body it does not have."""
        sent = self.alice.request("PUT", "/photos/copy", headers={"x-amz-copy-source": "photos/a%20b%2Bc"})
        with Wire(self.server.address) as wire:
            wire.send(sent.replace(b"content-length: 0\r\n", b""))
            self.assertSucceeded(wire.answer())


class CopiesOnDirectoriesTests(CopyTests):
    """The same, with objects in files."""

    backends = DIRECTORIES
