"""Objects as clients put, read, copy and delete them: every byte and header comes back."""

from __future__ import annotations

import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5, sha1, sha256
from random import Random
from urllib.parse import quote
from zlib import crc32

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire, head
from tests.integration.s3_server import DIRECTORIES, ServerCase

BIG = Random(1).randbytes(3_000_001)
HUNDRED = bytes(range(100))

ODD_KEYS = (
    "plain",
    "a",
    "a/",
    "a/b",
    "a//b",
    "/",
    "//",
    "/leading",
    "trailing/",
    ".",
    "..",
    "../..",
    "a/../b",
    "a/./b",
    "with space",
    "with+plus",
    "with%percent",
    "with%2Fescape",
    "question?mark",
    "hash#tag",
    "a&b=c;d",
    "quote'\"<xml>&amp;",
    "tab\tnew\nline\r",
    "control\x01\x1f\x7f",
    "é",
    "e\u0301",
    "日本語",
    "😀",
    "\ufffe\uffff",
    "~s3o/pretender",
    "*(!)[]{}|\\^`$,@:",
    "k" * 1024,
    "é" * 512,
    "d/" * 512,
    "health",
    "uploads",
)


def etag(data: bytes) -> str:
    """The ETag of an object that was put whole."""
    return f'"{md5(data).hexdigest()}"'


def target_of(key: str, bucket: str = "photos") -> str:
    return f"/{bucket}/{quote(key, safe='')}"


class ObjectTests(ServerCase):
    """Put, get, head, delete."""

    def put(self, target: str, data: bytes, headers: Headers | None = None) -> Answer:
        return self.assertSucceeded(self.alice.ask("PUT", target, data, headers))

    def test_round_trip(self) -> None:
        """What was put comes back byte for byte, its ETag the MD5, until it is deleted."""
        for data in (b"", b"x", HUNDRED, BIG):
            with self.subTest(len(data)):
                put = self.put("/photos/a", data)
                self.assertEqual((put.header("etag"), put.body), (etag(data), b""))
                self.assertEqual(put.header("content-length"), "0")
                got = self.assertSucceeded(self.alice.ask("GET", "/photos/a"))
                self.assertEqual(got.body, data)
                for answer in (got, self.alice.ask("HEAD", "/photos/a")):
                    self.assertEqual(answer.header("content-length"), str(len(data)))
                    self.assertEqual(answer.header("etag"), etag(data))
                    self.assertEqual(answer.header("accept-ranges"), "bytes")
                    self.assertEqual(answer.header("content-type"), "binary/octet-stream")
                    self.assertRegex(
                        answer.header("last-modified") or "", r"^\w{3}, \d\d \w{3} \d{4} .* GMT$"
                    )
                    self.assertIsNone(answer.header("x-amz-storage-class"))
                deleted = self.assertSucceeded(self.alice.ask("DELETE", "/photos/a"), 204)
                self.assertEqual((deleted.body, deleted.header("content-length")), (b"", None))
                self.assertRefused(self.alice.ask("GET", "/photos/a"), 404, "NoSuchKey")
                self.assertSucceeded(self.alice.ask("DELETE", "/photos/a"), 204)

    def test_odd_keys(self) -> None:
        """Any key is a key of its own, whatever a path would make of it."""
        for bucket in ("odd", "odd-copies"):
            self.assertSucceeded(self.alice.ask("PUT", f"/{bucket}"))
        with Wire(self.server.address) as wire:
            for number, key in enumerate(ODD_KEYS):
                answer = self.alice.ask("PUT", target_of(key, "odd"), b"%d" % number, wire=wire)
                self.assertEqual(answer.status, 200, key)
            for number, key in enumerate(ODD_KEYS):
                with self.subTest(key):
                    self.assertEqual(
                        self.alice.ask("GET", target_of(key, "odd"), wire=wire).body, b"%d" % number
                    )
            listed = self.alice.ask("GET", "/odd?list-type=2&encoding-type=url", wire=wire)
            expected = sorted(ODD_KEYS, key=lambda key: key.encode())
            self.assertEqual(listed.texts("Contents/Key"), [quote(key, safe="/") for key in expected])
            for key in ODD_KEYS:
                copied = self.alice.ask(
                    "PUT",
                    target_of(key, "odd-copies"),
                    headers={"x-amz-copy-source": target_of(key, "odd")},
                    wire=wire,
                )
                self.assertEqual(copied.status, 200, (key, copied.body))
            for number, key in enumerate(ODD_KEYS):
                with self.subTest(f"copy of {key}"):
                    got = self.alice.ask("GET", target_of(key, "odd-copies"), wire=wire)
                    self.assertEqual(got.body, b"%d" % number)
                    for bucket in ("odd", "odd-copies"):
                        answer = self.alice.ask("DELETE", target_of(key, bucket), wire=wire)
                        self.assertEqual(answer.status, 204)
            for bucket in ("odd", "odd-copies"):
                listed = self.alice.ask("GET", f"/{bucket}?list-type=2", wire=wire)
                self.assertEqual(listed.text("KeyCount"), "0")

    def test_metadata(self) -> None:
        """Headers that belong to the object come back as the bytes that were sent."""
        sent: dict[str, str | bytes] = {
            "content-type": "text/plain; charset=utf-8",
            "cache-control": "max-age=60",
            "content-disposition": 'attachment; filename="ä.txt"'.encode(),
            "content-encoding": "gzip",
            "content-language": "de, en",
            "expires": "whenever",
            "x-amz-meta-plain": "value",
            "x-amz-meta-empty": "",
            "x-amz-meta-utf8": "grüße 😀".encode(),
            "x-amz-meta-latin": b"gr\xfc\xdfe",
            "x-amz-meta-MiXed-Case": "kept",
            "x-amz-meta-spaces": "a  b",
            "x-amz-meta-mtime": "1700000000.123",
        }
        self.put("/photos/a", b"data", sent)
        for method in ("GET", "HEAD"):
            answer = self.alice.ask(method, "/photos/a")
            for name, value in sent.items():
                with self.subTest(f"{method} {name}"):
                    expected = value if isinstance(value, bytes) else value.encode()
                    self.assertEqual((answer.header(name.lower()) or "").encode("latin-1"), expected)
        self.put("/photos/a", b"data")
        replaced = self.alice.ask("HEAD", "/photos/a")
        self.assertEqual([name for name, _ in replaced.headers if name.startswith("x-amz-meta-")], [])
        self.assertEqual(replaced.header("content-type"), "binary/octet-stream")
        self.assertIsNone(replaced.header("expires"))

    def test_metadata_twice(self) -> None:
        """A name that comes twice has both values, and blanks around values go."""
        sent = self.alice.request("PUT", "/photos/a", b"x", {"x-amz-meta-a": "1,2"})
        with Wire(self.server.address) as wire:
            wire.send(sent.replace(b"x-amz-meta-a: 1,2", b"X-Amz-Meta-A:   1 \t\r\nx-amz-meta-A: 2"), b"x")
            self.assertSucceeded(wire.answer())
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").header("x-amz-meta-a"), "1,2")

    def test_metadata_limit(self) -> None:
        """Two kibibytes are not too much."""
        self.put("/photos/a", b"x", {"x-amz-meta-abcd": "b" * 2044})
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").header("x-amz-meta-abcd"), "b" * 2044)

    def test_storage_class(self) -> None:
        """A known class is accepted, and there is only one."""
        self.put("/photos/a", b"x", {"x-amz-storage-class": "STANDARD_IA"})
        self.assertIsNone(self.alice.ask("HEAD", "/photos/a").header("x-amz-storage-class"))

    def test_harmless_headers(self) -> None:
        """What changes nothing is accepted."""
        self.put(
            "/photos/a", b"x", {"x-amz-acl": "bucket-owner-full-control", "x-amz-request-payer": "requester"}
        )
        self.put("/photos/a", b"x", {"x-amz-tagging": "", "accept-encoding": "gzip", "content-type": ""})
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").header("content-type"), "binary/octet-stream")

    def test_digests(self) -> None:
        """Declared digests are verified, and checksums told again to those who ask."""
        data = b"123456789"
        for name, value in (
            ("crc32", crc32(data).to_bytes(4, "big")),
            ("crc32c", bytes.fromhex("e3069283")),
            ("crc64nvme", bytes.fromhex("ae8b14860a799888")),
            ("sha1", sha1(data).digest()),
            ("sha256", sha256(data).digest()),
        ):
            with self.subTest(name):
                header, text = f"x-amz-checksum-{name}", b64encode(value).decode()
                put = self.put(
                    "/photos/a", data, {header: text, "x-amz-sdk-checksum-algorithm": name.upper()}
                )
                asked = self.alice.ask("GET", "/photos/a", headers={"x-amz-checksum-mode": "ENABLED"})
                for answer in (put, asked):
                    self.assertEqual(answer.header(header), text)
                    self.assertEqual(answer.header("x-amz-checksum-type"), "FULL_OBJECT")
                self.assertIsNone(self.alice.ask("GET", "/photos/a").header(header))
                ranged = {"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-1"}
                self.assertIsNone(self.alice.ask("GET", "/photos/a", headers=ranged).header(header))
                listed = self.alice.ask("GET", "/photos?list-type=2")
                self.assertEqual(listed.texts("Contents/ChecksumAlgorithm"), [name.upper()])
        self.put("/photos/a", data, {"content-md5": b64encode(md5(data).digest())})

    def test_ranges(self) -> None:
        """One range is served, whatever else is ignored."""
        self.put("/photos/a", HUNDRED)
        for value, first, last in (
            ("bytes=0-9", 0, 9),
            ("bytes=00-09", 0, 9),
            ("bytes=90-", 90, 99),
            ("bytes=90-500", 90, 99),
            (f"bytes=90-{10**25}", 90, 99),
            ("bytes=-10", 90, 99),
            ("bytes=-500", 0, 99),
            ("bytes=0-", 0, 99),
            ("bytes=99-99", 99, 99),
        ):
            for method in ("GET", "HEAD"):
                with self.subTest(f"{method} {value}"):
                    answer = self.alice.ask(method, "/photos/a", headers={"range": value})
                    self.assertEqual(answer.status, 206)
                    self.assertEqual(answer.header("content-range"), f"bytes {first}-{last}/100")
                    self.assertEqual(answer.header("content-length"), str(last - first + 1))
                    self.assertEqual(answer.header("etag"), etag(HUNDRED))
                    if method == "GET":
                        self.assertEqual(answer.body, HUNDRED[first : last + 1])
        for value in (
            "bytes=9-0",
            "bytes=a-b",
            "bytes=",
            "bytes=--1",
            "bytes= 0-1",
            "chars=0-1",
            "bytes=0-0,5-6",
            "",
        ):
            with self.subTest(value):
                answer = self.alice.ask("GET", "/photos/a", headers={"range": value})
                self.assertEqual((answer.status, answer.body), (200, HUNDRED))
                self.assertIsNone(answer.header("content-range"))

    def test_large_ranges(self) -> None:
        """Ranges of a large object are the right bytes."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/big", BIG, payload_hash=UNSIGNED))
        for first, last in ((0, 0), (65535, 65536), (1_000_000, 2_999_999), (3_000_000, 3_000_000)):
            with self.subTest(f"{first}-{last}"):
                answer = self.alice.ask("GET", "/photos/big", headers={"range": f"bytes={first}-{last}"})
                self.assertEqual(answer.body, BIG[first : last + 1])

    def test_part_of_a_whole(self) -> None:
        """An object that was put whole is its own first part."""
        self.put("/photos/a", HUNDRED)
        answer = self.alice.ask("GET", "/photos/a?partNumber=1")
        self.assertEqual((answer.status, answer.body), (206, HUNDRED))
        self.assertEqual(answer.header("content-range"), "bytes 0-99/100")
        self.assertIsNone(answer.header("x-amz-mp-parts-count"))

    def test_versions(self) -> None:
        """The only version has the name `null`."""
        self.put("/photos/a", b"data")
        self.assertEqual(self.alice.ask("GET", "/photos/a?versionId=null").body, b"data")
        self.assertEqual(self.alice.ask("HEAD", "/photos/a?versionId=null").status, 200)
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/a?versionId=null"), 204)
        self.assertRefused(self.alice.ask("GET", "/photos/a"), 404, "NoSuchKey")

    def test_overwriting(self) -> None:
        """After an overwrite everybody sees the new object; who has begun to read sees the old one whole."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", BIG, payload_hash=UNSIGNED))
        with Wire(self.server.address, receive_buffer=65536) as wire:
            wire.send(self.alice.request("GET", "/photos/a"))
            self.assertEqual(dict(wire.head()[1])["etag"], etag(BIG))
            self.put("/photos/a", b"new")
            self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"new")
            self.assertEqual(wire._exactly(len(BIG)), BIG)

    def test_attributes(self) -> None:
        """GetObjectAttributes tells what it is asked for, and nothing else."""
        value = b64encode(sha256(b"data").digest()).decode()
        self.put("/photos/a", b"data", {"x-amz-checksum-sha256": value})
        words = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"
        answer = self.alice.ask("GET", "/photos/a?attributes", headers={"x-amz-object-attributes": words})
        self.assertSucceeded(answer)
        self.assertEqual(answer.text("ETag"), md5(b"data").hexdigest())
        self.assertEqual(answer.text("Checksum/ChecksumSHA256"), value)
        self.assertEqual(answer.text("Checksum/ChecksumType"), "FULL_OBJECT")
        self.assertEqual(answer.text("StorageClass"), "STANDARD")
        self.assertEqual(answer.text("ObjectSize"), "4")
        self.assertIsNone(answer.text("ObjectParts"))
        self.assertTrue(answer.header("last-modified"))
        one = self.alice.ask("GET", "/photos/a?attributes", headers={"x-amz-object-attributes": "ObjectSize"})
        self.assertEqual([child.tag.partition("}")[2] for child in one.document], ["ObjectSize"])

    def test_delete_many(self) -> None:
        """A list of keys is deleted, missing ones too, and told in the order of the list."""
        for key in ("a", "b/c", "d&e"):
            self.put(target_of(key), b"x")
        document = (
            b'<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b"<Object><Key>b/c</Key></Object><Object><Key>missing</Key></Object>"
            b"<Object><VersionId>null</VersionId><Key>a</Key></Object><Object><Key>d&amp;e</Key></Object>"
            b"<Object><Key>d&amp;e</Key></Object></Delete>"
        )
        answer = self.assertSucceeded(self.alice.ask("POST", "/photos?delete", document))
        self.assertEqual(answer.texts("Deleted/Key"), ["b/c", "missing", "a", "d&e", "d&e"])
        self.assertEqual(answer.texts("Deleted/VersionId"), ["null"])
        self.assertEqual(self.alice.ask("GET", "/photos?list-type=2").text("KeyCount"), "0")

    def test_delete_thousand(self) -> None:
        """A thousand at once, quietly; most of them were never there."""
        keys = [f"many/{number:04}" for number in range(1000)]
        with Wire(self.server.address) as wire:
            for key in keys[::20]:
                self.assertSucceeded(self.alice.ask("PUT", f"/photos/{key}", b"x", wire=wire))
        entries = b"".join(b"<Object><Key>%b</Key></Object>" % key.encode() for key in keys)
        document = b"<Delete>" + entries + b"<Quiet>true</Quiet></Delete>"
        answer = self.assertSucceeded(self.alice.ask("POST", "/photos?delete", document))
        self.assertEqual(len(answer.document), 0)
        self.assertEqual(self.alice.ask("GET", "/photos?list-type=2&prefix=many/").text("KeyCount"), "0")

    def test_nothing_left(self) -> None:
        """Once everything is deleted nothing is on the backends, and nothing is counted."""
        before = self.server.settled()
        for number in range(5):
            self.put("/photos/same", b"x" * number)
        self.put("/photos/other", BIG[:500_000])
        for key in ("same", "other"):
            self.assertSucceeded(self.alice.ask("DELETE", f"/photos/{key}"), 204)
        self.assertEqual(self.server.settled(), before)


class ObjectsOnDirectoriesTests(ObjectTests):
    """The same, with objects in files."""

    backends = DIRECTORIES


class ConditionTests(ServerCase):
    """Conditional requests."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(
            self.alice.ask("PUT", "/photos/a", b"data", {"cache-control": "no-cache", "expires": "0"})
        )
        self.etag = etag(b"data")
        self.modified = self.alice.ask("HEAD", "/photos/a").header("last-modified") or ""

    def test_reads(self) -> None:
        """The order of RFC 9110."""
        past, future = "Fri, 01 Jan 2021 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        hit, miss = self.etag, '"0123"'
        for headers, status in (
            ({"if-match": hit}, 200),
            ({"if-match": "*"}, 200),
            ({"if-match": f'"other", {hit}'}, 200),
            ({"if-match": hit.strip('"')}, 200),
            ({"if-match": f"W/{hit}"}, 200),
            ({"if-match": miss}, 412),
            ({"if-none-match": hit}, 304),
            ({"if-none-match": f"W/{hit}"}, 304),
            ({"if-none-match": "*"}, 304),
            ({"if-none-match": miss}, 200),
            ({"if-modified-since": self.modified}, 304),
            ({"if-modified-since": past}, 200),
            ({"if-modified-since": future}, 200),
            ({"if-modified-since": "yesterday"}, 200),
            ({"if-unmodified-since": self.modified}, 200),
            ({"if-unmodified-since": past}, 412),
            ({"if-unmodified-since": "tomorrow"}, 200),
            ({"if-match": hit, "if-unmodified-since": past}, 200),
            ({"if-match": miss, "if-none-match": miss}, 412),
            ({"if-none-match": hit, "if-modified-since": past}, 304),
            ({"if-none-match": miss, "if-modified-since": self.modified}, 200),
            ({"if-match": hit, "if-none-match": hit}, 304),
            ({"if-none-match": hit, "range": "bytes=90-"}, 304),
            ({"if-match": miss, "range": "bytes=90-"}, 412),
            ({"if-range": miss, "range": "bytes=0-1"}, 206),
        ):
            for method in ("GET", "HEAD"):
                with self.subTest(f"{method} {headers}"):
                    answer = self.alice.ask(method, "/photos/a", headers=headers)
                    self.assertEqual(answer.status, status)

    def test_not_modified(self) -> None:
        """304 has what a cache needs, and neither body nor type nor length."""
        with Wire(self.server.address) as wire:
            answer = self.alice.ask("GET", "/photos/a", headers={"if-none-match": self.etag}, wire=wire)
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertEqual(answer.header("etag"), self.etag)
            self.assertEqual(answer.header("last-modified"), self.modified)
            self.assertEqual(answer.header("cache-control"), "no-cache")
            self.assertEqual(answer.header("expires"), "0")
            self.assertIsNone(answer.header("content-type"))
            self.assertIsNone(answer.header("content-length"))
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"data")

    def test_writes(self) -> None:
        """A write happens only if its condition holds."""
        for headers, status in (
            ({"if-none-match": '"0123"'}, 200),
            ({"if-match": etag(b"new")}, 200),
            ({"if-match": self.etag}, 412),
            ({"if-match": "*"}, 200),
            ({"if-none-match": "*"}, 412),
            ({"if-none-match": etag(b"new")}, 412),
        ):
            with self.subTest(headers):
                self.assertEqual(self.alice.ask("PUT", "/photos/a", b"new", headers).status, status)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/fresh", b"x", {"if-none-match": "*"}))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/fresh", headers={"if-match": etag(b"x")}), 204)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/fresh", b"x", {"if-none-match": "*"}))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/fresh", headers={"if-match": "*"}), 204)

    def test_copies(self) -> None:
        """A copy's condition is about its target."""
        source = {"x-amz-copy-source": "photos/a"}
        once = {**source, "if-none-match": "*"}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/once", headers=once))
        self.assertRefused(self.alice.ask("PUT", "/photos/once", headers=once), 412, "PreconditionFailed")
        again = {**source, "if-match": self.etag}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/once", headers=again))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/once"), 204)
        self.assertRefused(self.alice.ask("PUT", "/photos/once", headers=again), 404, "NoSuchKey")

    def test_one_of_fifty(self) -> None:
        """Of fifty who create the same object at once exactly one succeeds, and it is its bytes that stay."""
        for size in (10, 300_000):
            with self.subTest(size):
                bodies = [bytes([number]) * size for number in range(50)]

                def create(body: bytes) -> int:
                    return self.alice.ask("PUT", "/photos/once", body, {"if-none-match": "*"}).status

                with ThreadPoolExecutor(50) as threads:
                    statuses = list(threads.map(create, bodies))
                self.assertEqual(sorted(statuses), [200, *49 * [412]])
                winner = bodies[statuses.index(200)]
                self.assertEqual(self.alice.ask("GET", "/photos/once").body, winner)
                self.assertSucceeded(self.alice.ask("DELETE", "/photos/once"), 204)
        left = self.server.settled()
        self.assertEqual([version for version in left["versions"] if "once" in version], [])

    def test_swap(self) -> None:
        """Of twenty who replace the same version exactly one succeeds."""

        def replace(number: int) -> int:
            body = b"replacement %d" % number
            return self.alice.ask("PUT", "/photos/a", body, {"if-match": self.etag}).status

        with ThreadPoolExecutor(20) as threads:
            statuses = list(threads.map(replace, range(20)))
        self.assertEqual(sorted(statuses), [200, *19 * [412]])

    def test_last_writer(self) -> None:
        """Of many unconditional writers any may be last, but it is whole."""
        bodies = [bytes([number]) * 10_000 for number in range(20)]
        with ThreadPoolExecutor(20) as threads:
            for answer in threads.map(lambda body: self.alice.ask("PUT", "/photos/a", body), bodies):
                self.assertEqual(answer.status, 200)
        self.assertIn(self.alice.ask("GET", "/photos/a").body, bodies)
        self.assertEqual(len(self.server.settled()["objects on a"]), len(self.server.settled()["blobs"]))


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


class RestartTests(ServerCase):
    """What there was is there again after a stop and a start."""

    backends = DIRECTORIES

    def test_restart(self) -> None:
        """Buckets that users made, objects and their metadata, and uploads that are not complete."""
        bob = self.server.caller("bob")
        self.assertSucceeded(bob.ask("PUT", "/lasting"))
        self.assertSucceeded(bob.ask("PUT", "/lasting/a", BIG, {"x-amz-meta-a": "b"}))
        upload = bob.ask("POST", "/lasting/up?uploads").text("UploadId")
        tag = bob.ask("PUT", f"/lasting/up?partNumber=1&uploadId={upload}", b"part").header("etag")
        before = self.server.settled()
        self.server.restart()
        self.assertEqual(self.server.settled(), before)
        bob = self.server.caller("bob")
        self.assertEqual(bob.ask("GET", "/").texts("Buckets/Bucket/Name"), ["lasting"])
        got = bob.ask("GET", "/lasting/a")
        self.assertEqual((got.body, got.header("x-amz-meta-a")), (BIG, "b"))
        listed = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        done = self.assertSucceeded(bob.ask("POST", f"/lasting/up?uploadId={upload}", body))
        self.server.restart()
        bob = self.server.caller("bob")
        again = self.assertSucceeded(bob.ask("POST", f"/lasting/up?uploadId={upload}", body))
        self.assertEqual(again.text("ETag"), done.text("ETag"))
        self.assertEqual(bob.ask("GET", "/lasting/up").body, b"part")
        self.assertRefused(self.server.caller().ask("GET", "/lasting"), 403, "AccessDenied")


class TokenTests(ServerCase):
    """`X-Proxy-Token`, for older clients."""

    def test_plain_curl(self) -> None:
        """No signature, no hash: a plain upload and download."""
        token = ("X-Proxy-Token", b"photos-token")
        with Wire(self.server.address) as wire:
            host = ("Host", b"localhost")
            wire.send(head("PUT /photos/t HTTP/1.1", [host, token, ("Content-Length", b"4")]), b"data")
            self.assertEqual(wire.answer().header("etag"), etag(b"data"))
            wire.send(head("GET /photos/t HTTP/1.1", [host, token]))
            self.assertEqual(wire.answer().body, b"data")
