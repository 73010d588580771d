"""Requests that are signed well and ask for something wrong: each gets its code, and nothing is written."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import md5, sha256

from attrs import Factory, frozen

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire
from tests.integration.s3_server import ServerCase

MD5 = b64encode(md5(b"data").digest()).decode()
BAD_MD5 = b64encode(md5(b"tada").digest()).decode()
MEBI = 1 << 20
CRC32 = "rfPzYw=="  # of b"data"


@frozen
class Bad:
    """A request, the error it gets, and what the error must say besides."""

    name: str
    method: str
    target: str
    status: int
    code: str
    headers: Headers = Factory(dict)
    body: bytes = b"data"
    details: dict[str, str] = Factory(dict)
    payload_hash: bytes | None = None


def put(name: str, headers: Headers, status: int, code: str, body: bytes = b"data", **details: str) -> Bad:
    """A bad upload over an object that is there."""
    return Bad(name, "PUT", "/photos/a", status, code, headers, body, details)


PUTS = (
    put(
        "MD5 of something else",
        {"content-md5": BAD_MD5},
        400,
        "BadDigest",
        ExpectedDigest=BAD_MD5,
        CalculatedDigest=MD5,
    ),
    put("MD5 that is none", {"content-md5": "no MD5"}, 400, "InvalidDigest"),
    put("short MD5", {"content-md5": "AAAA"}, 400, "InvalidDigest"),
    put("empty MD5", {"content-md5": ""}, 400, "InvalidDigest"),
    put("MD5 in hexadecimal", {"content-md5": md5(b"data").hexdigest()}, 400, "InvalidDigest"),
    Bad(
        "another payload",
        "PUT",
        "/photos/a",
        400,
        "XAmzContentSHA256Mismatch",
        details={
            "ClientComputedContentSHA256": sha256(b"tada").hexdigest(),
            "S3ComputedContentSHA256": sha256(b"data").hexdigest(),
        },
        payload_hash=sha256(b"tada").hexdigest().encode(),
    ),
    *(
        put(f"wrong {name}", {f"x-amz-checksum-{name}": b64encode(bytes(size)).decode()}, 400, "BadDigest")
        for name, size in (("crc32", 4), ("crc32c", 4), ("crc64nvme", 8), ("sha1", 20), ("sha256", 32))
    ),
    *(
        put(f"no {name}", {f"x-amz-checksum-{name}": "A" * 6 + "=="}, 400, "InvalidRequest")
        for name in ("crc64nvme", "sha1", "sha256")
    ),
    put("checksum that is no base64", {"x-amz-checksum-crc32": "????"}, 400, "InvalidRequest"),
    put("empty checksum", {"x-amz-checksum-crc32": ""}, 400, "InvalidRequest"),
    put("two spellings", {"x-amz-checksum-crc32": "rfPzYx=="}, 400, "InvalidRequest"),
    put("composite of a whole", {"x-amz-checksum-crc32": f"{CRC32}-1"}, 400, "InvalidRequest"),
    put(
        "two checksums",
        {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha1": b64encode(bytes(20)).decode()},
        400,
        "InvalidRequest",
    ),
    put("unknown checksum", {"x-amz-checksum-crc16": "AAA="}, 400, "InvalidRequest"),
    put("announced and not sent", {"x-amz-sdk-checksum-algorithm": "CRC32"}, 400, "InvalidRequest"),
    put("unknown and announced", {"x-amz-sdk-checksum-algorithm": "CRC16"}, 400, "InvalidRequest"),
    put(
        "another than announced",
        {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": CRC32},
        400,
        "InvalidRequest",
    ),
    put("trailer without one", {"x-amz-trailer": "x-amz-checksum-crc32"}, 400, "InvalidRequest"),
    put("storage class", {"x-amz-storage-class": "CHEAP"}, 400, "InvalidStorageClass"),
    put(
        "metadata",
        {"x-amz-meta-a": "b" * 2048},
        400,
        "MetadataTooLarge",
        Size="2049",
        MaxSizeAllowed="2048",
    ),
    put("ACL", {"x-amz-acl": "public-read"}, 400, "AccessControlListNotSupported"),
    put("no ACL", {"x-amz-acl": "nonsense"}, 400, "InvalidArgument", ArgumentName="x-amz-acl"),
    *(
        put(name, {name: value}, 501, "NotImplemented", Header=name)
        for name, value in (
            ("x-amz-grant-read", "id=1"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-website-redirect-location", "/elsewhere"),
            ("x-amz-write-offset-bytes", "4"),
            ("if-modified-since", "Sat, 21 Nov 2026 02:15:00 GMT"),
        )
    ),
    put("encryption", {"x-amz-server-side-encryption": "ROT13"}, 400, "InvalidEncryptionAlgorithmError"),
    put(
        "range without a copy",
        {"x-amz-copy-source-range": "bytes=0-1"},
        400,
        "InvalidArgument",
        ArgumentName="x-amz-copy-source-range",
    ),
    put(
        "too large for one request",
        {"content-length": str(5 * 1024**3 + 1)},
        400,
        "EntityTooLarge",
        b"",
    ),
    put(
        "too large here",
        {"content-length": str(100 * MEBI + 1)},
        400,
        "EntityTooLarge",
        b"",
        ProposedSize=str(100 * MEBI + 1),
        MaxSizeAllowed=str(100 * MEBI),
    ),
    put(
        "exists",
        {"if-none-match": "*"},
        412,
        "PreconditionFailed",
        Condition="If-None-Match",
    ),
    put("this one exists", {"if-none-match": f'"{md5(b"kept").hexdigest()}"'}, 412, "PreconditionFailed"),
    put("another exists", {"if-match": '"0123"'}, 412, "PreconditionFailed", Condition="If-Match"),
    Bad("none exists", "PUT", "/photos/b", 404, "NoSuchKey", {"if-match": '"0123"'}, details={"Key": "b"}),
    Bad("none of any kind", "PUT", "/photos/b", 404, "NoSuchKey", {"if-match": "*"}),
)


def copy(name: str, source: str, status: int, code: str, headers: Headers | None = None) -> Bad:
    """A bad copy over an object that is there."""
    sent = {"x-amz-copy-source": source, **(headers or {})}
    return Bad(name, "PUT", "/photos/a", status, code, sent, b"")


NO_SOURCES = (
    "",
    "/",
    "photos",
    "photos/",
    "/photos/",
    "photos/%zz",
    "photos/%ff",
    "b d/a",
    "/a",
    "photos/%00",
)
COPIES = (
    *(copy(f"source {name!r}", name, 400, "InvalidArgument") for name in NO_SOURCES),
    copy("source with a long key", "photos/" + 1025 * "k", 400, "InvalidArgument"),
    copy("missing", "photos/none", 404, "NoSuchKey"),
    copy("missing bucket", "nowhere/none", 404, "NoSuchBucket"),
    copy("missing version", "photos/other?versionId=3", 404, "NoSuchVersion"),
    copy("no version", "photos/other?versionId=%20%20", 400, "InvalidArgument"),
    copy("itself", "photos/a", 400, "InvalidRequest"),
    copy("itself, escaped", "/photos/%61", 400, "InvalidRequest"),
    copy("directive", "photos/other", 400, "InvalidArgument", {"x-amz-metadata-directive": "MERGE"}),
    copy("tagging directive", "photos/other", 400, "InvalidArgument", {"x-amz-tagging-directive": "MERGE"}),
    copy(
        "source matches not", "photos/other", 412, "PreconditionFailed", {"x-amz-copy-source-if-match": "x"}
    ),
    copy(
        "source matches",
        "photos/other",
        412,
        "PreconditionFailed",
        {"x-amz-copy-source-if-none-match": "*"},
    ),
    copy(
        "source is older",
        "photos/other",
        412,
        "PreconditionFailed",
        {
            "x-amz-copy-source-if-modified-since": "Fri, 01 Jan 2021 00:00:00 GMT",
            "x-amz-copy-source-if-match": "x",
        },
    ),
    copy(
        "source is newer",
        "photos/other",
        412,
        "PreconditionFailed",
        {"x-amz-copy-source-if-unmodified-since": "Fri, 01 Jan 2021 00:00:00 GMT"},
    ),
    copy("target exists", "photos/other", 412, "PreconditionFailed", {"if-none-match": "*"}),
    copy("other target", "photos/other", 412, "PreconditionFailed", {"if-match": '"0123"'}),
    copy("unknown checksum", "photos/other", 400, "InvalidRequest", {"x-amz-checksum-algorithm": "CRC16"}),
    copy("range", "photos/other", 400, "InvalidArgument", {"x-amz-copy-source-range": "bytes=0-1"}),
    copy(
        "encrypted",
        "photos/other",
        501,
        "NotImplemented",
        {"x-amz-copy-source-server-side-encryption-customer-algorithm": "AES256"},
    ),
)


def get(
    name: str, target: str, status: int, code: str, headers: Headers | None = None, **details: str
) -> Bad:
    """A bad read."""
    return Bad(name, "GET", target, status, code, headers or {}, b"", details)


READS = (
    get("missing", "/photos/none", 404, "NoSuchKey", Key="none"),
    get("odd and missing", "/photos/a%26%3Cb%3E%0Dc", 404, "NoSuchKey", Key="a&<b>\rc"),
    get("missing version", "/photos/a?versionId=3", 404, "NoSuchVersion", Key="a", VersionId="3"),
    get("no version", "/photos/a?versionId=a%20b", 400, "InvalidArgument", ArgumentName="versionId"),
    get("empty version", "/photos/a?versionId=", 400, "InvalidArgument", ArgumentName="versionId"),
    get(
        "range past the end",
        "/photos/a",
        416,
        "InvalidRange",
        {"range": "bytes=4-"},
        RangeRequested="bytes=4-",
        ActualObjectSize="4",
    ),
    get("range far past the end", "/photos/a", 416, "InvalidRange", {"range": f"bytes={10**30}-"}),
    get("no byte at the end", "/photos/a", 416, "InvalidRange", {"range": "bytes=-0"}),
    get("range of nothing", "/photos/empty", 416, "InvalidRange", {"range": "bytes=0-0"}),
    get("end of nothing", "/photos/empty", 416, "InvalidRange", {"range": "bytes=-1"}),
    get("part 0", "/photos/a?partNumber=0", 400, "InvalidArgument", ArgumentName="partNumber"),
    get("part 10001", "/photos/a?partNumber=10001", 400, "InvalidArgument"),
    get("part in words", "/photos/a?partNumber=one", 400, "InvalidArgument"),
    get("part 2 of one", "/photos/a?partNumber=2", 416, "InvalidPartNumber"),
    get("part and range", "/photos/a?partNumber=1", 400, "InvalidRequest", {"range": "bytes=0-1"}),
    get("matches not", "/photos/a", 412, "PreconditionFailed", {"if-match": '"0123"'}, Condition="If-Match"),
    get(
        "modified since",
        "/photos/a",
        412,
        "PreconditionFailed",
        {"if-unmodified-since": "Fri, 01 Jan 2021 00:00:00 GMT"},
        Condition="If-Unmodified-Since",
    ),
    get("missing, whatever it matches", "/photos/none", 404, "NoSuchKey", {"if-none-match": "*"}),
    get("no attributes", "/photos/a?attributes", 400, "InvalidRequest"),
    get("empty attributes", "/photos/a?attributes", 400, "InvalidRequest", {"x-amz-object-attributes": " "}),
    get(
        "unknown attribute",
        "/photos/a?attributes",
        400,
        "InvalidArgument",
        {"x-amz-object-attributes": "Colour"},
    ),
    get(
        "attributes of none", "/photos/none?attributes", 404, "NoSuchKey", {"x-amz-object-attributes": "ETag"}
    ),
    get(
        "encryption key for a read",
        "/photos/a",
        501,
        "NotImplemented",
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ),
)

LISTS = (
    *(
        get(f"{name}={value}", f"/photos?{query}{name}={value}", 400, "InvalidArgument", ArgumentName=name)
        for query, name in (
            ("", "max-keys"),
            ("list-type=2&", "max-keys"),
            ("versions&", "max-keys"),
            ("uploads&", "max-uploads"),
        )
        for value in ("-1", "one", "1.5", "99999999999", "%20", "0x10")
    ),
    *(
        get(f"{query} encoding", f"/photos?{query}encoding-type=URL", 400, "InvalidArgument")
        for query in ("", "list-type=2&", "versions&", "uploads&")
    ),
    *(
        get(f"token {token}", f"/photos?list-type=2&continuation-token={token}", 400, "InvalidArgument")
        for token in ("x", "%20", "YQ==", "1" * 5000, "%C3%A9")
    ),
    get("version marker alone", "/photos?versions&version-id-marker=null", 400, "InvalidArgument"),
)


class RefusalTests(ServerCase):
    """An object `a` and an empty one are there, and stay as they are."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept", {"x-amz-meta-kept": "yes"}))
        self.assertSucceeded(self.alice.ask("PUT", "/photos/other", b"other"))
        self.assertSucceeded(self.alice.ask("PUT", "/photos/empty"))

    def test_copies_with_bodies(self) -> None:
        """Who sends bytes along with a copy may mean an upload: neither is done."""
        upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId")
        before = self.server.settled()
        for target in ("/photos/a", f"/photos/up?partNumber=1&uploadId={upload}"):
            with self.subTest(target), Wire(self.server.address) as wire:
                headers = {"x-amz-copy-source": "photos/other"}
                answer = self.alice.ask("PUT", target, b"data", headers, wire=wire)
                self.assertRefused(answer, 400, "UnexpectedContent")
                self._check_connection(wire, answer)
        self.assertEqual(self.server.settled(), before)

    def test_longer_than_announced(self) -> None:
        """What comes behind the announced length is no part of the body, and no request either."""
        before = self.server.settled()
        with Wire(self.server.address) as wire:
            sent = self.alice.request("PUT", "/photos/a", b"data, and more", {"content-length": "4"})
            wire.send(sent, b"data, and more")
            self.assertRefused(wire.answer(), 400, "XAmzContentSHA256Mismatch")
            wire.send(b"\r\n\r\n")
            self.assertRefused(wire.answer(), 400, "BadRequest")
            self.assertTrue(wire.is_closed())
        self.assertEqual(self.server.settled(), before)

    def _try(self, table: Iterable[Bad]) -> None:
        """Each on a connection of its own, which goes on to be of use unless the answer says otherwise."""
        before = self.server.settled()
        for bad in table:
            with self.subTest(bad.name), Wire(self.server.address) as wire:
                answer = self.alice.ask(
                    bad.method, bad.target, bad.body, bad.headers, payload_hash=bad.payload_hash, wire=wire
                )
                self.assertRefused(answer, bad.status, bad.code)
                for name, value in bad.details.items():
                    self.assertEqual(answer.detail(name), value)
                self._check_connection(wire, answer)
        self.assertEqual(self.server.settled(), before)

    def _check_connection(self, wire: Wire, answer: Answer) -> None:
        if answer.header("connection") == "close":
            self.assertTrue(wire.is_closed())
        else:
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"kept")

    def test_uploads(self) -> None:
        """A bad PUT leaves the object that is there as it is, metadata included."""
        self._try(PUTS)
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").header("x-amz-meta-kept"), "yes")

    def test_copies(self) -> None:
        """So does a bad copy."""
        self._try(COPIES)

    def test_reads(self) -> None:
        """A bad read says what is wrong with it."""
        self._try(READS)

    def test_lists(self) -> None:
        """So does a bad listing."""
        self._try(LISTS)

    def test_range_header(self) -> None:
        """416 tells the size in a header too, on HEAD as well."""
        for method in ("GET", "HEAD"):
            answer = self.alice.ask(method, "/photos/a", headers={"range": "bytes=9-"})
            self.assertEqual((answer.status, answer.header("content-range")), (416, "bytes */4"))

    def test_same_on_head(self) -> None:
        """Whatever a GET is refused with is HEAD's status, without a document."""
        for bad in READS:
            if "?attributes" in bad.target:
                continue
            with self.subTest(bad.name):
                answer = self.alice.ask("HEAD", bad.target, headers=bad.headers)
                self.assertEqual((answer.status, answer.body), (bad.status, b""))

    def test_large_uploads(self) -> None:
        """What turns out to be wrong at the end of a large body, sent on already, leaves nothing behind."""
        data = b"0123456789abcdef" * 65536  # four times what is kept
        before = self.server.settled()
        for name, headers, payload_hash, code in (
            ("MD5", {"content-md5": BAD_MD5}, UNSIGNED, "BadDigest"),
            ("CRC", {"x-amz-checksum-crc32": CRC32}, UNSIGNED, "BadDigest"),
            ("SHA", {}, sha256(b"").hexdigest().encode(), "XAmzContentSHA256Mismatch"),
        ):
            with self.subTest(name):
                answer = self.alice.ask("PUT", "/photos/a", data, headers, payload_hash=payload_hash)
                self.assertRefused(answer, 400, code)
                self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"kept")
        self.assertEqual(self.server.settled(), before)

    def test_no_length(self) -> None:
        """A PUT that does not say how long its body is is 411, also in HTTP's chunks."""
        before = self.server.settled()
        with Wire(self.server.address) as wire:
            sent = self.alice.request("PUT", "/photos/a").replace(b"content-length: 0\r\n", b"")
            wire.send(sent)
            self.assertRefused(wire.answer(), 411, "MissingContentLength")
        answer = self.alice.ask(
            "PUT",
            "/photos/a",
            b"4\r\ndata\r\n0\r\n\r\n",
            {"transfer-encoding": "chunked"},
            payload_hash=UNSIGNED,
        )
        self.assertRefused(answer, 411, "MissingContentLength")
        self.assertEqual(self.server.settled(), before)

    def test_no_room(self) -> None:
        """What fits on no backend is 507, before its body is wanted."""
        before = self.server.settled()
        upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId")
        self._limit(1000)
        for target in ("/photos/big", f"/photos/up?partNumber=1&uploadId={upload}"):
            with self.subTest(target), Wire(self.server.address) as wire:
                headers = {"content-length": "90000000", "expect": "100-continue"}
                wire.send(self.alice.request("PUT", target, headers=headers))
                answer = wire.answer()
                self.assertRefused(answer, 507, "InsufficientStorage")
                self.assertEqual(answer.interim, ())
        self.assertSucceeded(self.alice.ask("PUT", "/photos/small", bytes(100)))
        self._limit(300_000_000)
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/small"), 204)
        self.assertSucceeded(self.alice.ask("DELETE", f"/photos/up?uploadId={upload}"), 204)
        self.assertEqual({**self.server.settled(), "uploads": before["uploads"]}, before)

    def _limit(self, size: int) -> None:
        limits = {"a": size, "b": size}
        self.server.run(lambda: self.server.orchestrator.core.ledger.blobs.set_limits(limits))
