"""Objects as clients put, read and delete them: every byte and header comes back."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5, sha1, sha256
from random import Random
from urllib.parse import quote
from zlib import crc32

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire, etag, head
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
