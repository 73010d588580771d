"""Whatever is sent, nothing answers 500, nothing is logged as a failure, and nothing hangs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from tests.integration.asking import UNSIGNED, Hangup, Wire
from tests.integration.framing import SIGNED_CHUNKS, UNSIGNED_TRAILER, Chunks, http_chunked
from tests.integration.s3_server import ServerCase

ROUNDS = 300
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
BITS = [
    *(b"\x00", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b"\xff\xfe", b"x" * 300),
    *(b"%", b"%00", b"%2F", b"&", b"=", b"?", b"/", b":", b";", b"-1", b"0", b"9" * 20),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Host: photos.s3.example.net\r\n", b"<!DOCTYPE a>", b"&#0;"),
    *(b"uploadId=", b"partNumber=1&", b"versionId=", b"X-Amz-Signature="),
]
WORDS = ["photos", "a", "..", "", "%2F", "%00", "%FF", "+", "*", "%C3%A9", "~", "%0D%0A", "&", ";"]
QUERIES = [
    *("uploads", "uploadId=1", "partNumber=1", "partNumber=99999", "versions", "versionId=null", "delete"),
    *("list-type=2", "max-keys=1", "marker=%FF", "prefix=%01", "delimiter=%0D", "encoding-type=url"),
    *("continuation-token=AAAA", "key-marker=a", "version-id-marker=b", "start-after=%F0%9F%98%80"),
    *("max-uploads=0", "part-number-marker=9999999999", "attributes", "acl", "tagging", "cors", "policy"),
    *("location", "response-content-type=%7F", "response-expires=%C3%A9", "x-id=1"),
]
HEADERS = [
    *(
        ("range", "bytes=0-0"),
        ("if-match", '"'),
        ("if-none-match", '*, ",'),
        ("if-modified-since", "Mon, 99"),
    ),
    *(
        ("x-amz-copy-source", "/photos/a"),
        ("x-amz-copy-source", "%"),
        ("x-amz-copy-source-range", "bytes=1-0"),
    ),
    *(("x-amz-meta-a", "\xe9"), ("content-md5", "AA=="), ("x-amz-checksum-crc32", "AAAA")),
    *(("x-amz-checksum-mode", "ENABLED"), ("x-amz-checksum-algorithm", "CRC32"), ("x-amz-tagging", "")),
    *(
        ("x-amz-object-attributes", "ETag"),
        ("x-amz-storage-class", ""),
        ("x-amz-metadata-directive", "REPLACE"),
    ),
    *(("x-amz-mp-object-size", "1"), ("x-amz-max-parts", "-1"), ("content-encoding", "aws-chunked")),
    *(("x-amz-decoded-content-length", "3"), ("x-amz-trailer", "x-amz-checksum-sha1")),
    *(("expires", "a"), ("content-type", "a/b;c"), ("if-unmodified-since", "0"), ("expect", "100-continue")),
]
BODIES = [
    *(b"", b"x", b"<Delete>", b"<Delete><Object><Key>a</Key></Object></Delete>"),
    *(b"0\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", b"<CompleteMultipartUpload/>"),
]


class FuzzTests(ServerCase):
    """Seeds are fixed, so that what fails fails again; a server of short patience ends every connection."""

    settings = {"read_header_timeout": "500ms", "read_timeout": "500ms", "idle_timeout": "500ms"}

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))

    def test_noise(self) -> None:
        """Bytes that are no request at all."""
        random = Random(1)
        ends = (b"", b"\r\n\r\n", b"\n\n")
        found = self._send_all(
            random.randbytes(random.randrange(1, 200)) + random.choice(ends) for _ in range(ROUNDS)
        )
        self.assertEqual(set(found), {400})

    def test_mutated(self) -> None:
        """Good requests with something cut out, doubled or put in, head and body alike."""
        random = Random(2)
        samples = self._samples()
        found = self._send_all(_mutated(random, random.choice(samples)) for _ in range(ROUNDS))
        self.assertLessEqual({200, 400, 403}, set(found))

    def test_signed(self) -> None:
        """Requests that are signed well, over whatever random targets and headers."""
        random = Random(3)
        found = self._send_all(self._signed(random) for _ in range(ROUNDS))
        self.assertLessEqual({200, 204, 400, 404, 411, 501}, set(found))

    def _signed(self, random: Random) -> bytes:
        path = "/photos/" + "/".join(random.choice(WORDS) for _ in range(random.randrange(3)))
        query = "&".join(random.sample(QUERIES, random.choice((0, 1, 1, 2, 3))))
        method = random.choice(("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"))
        payload_hash = random.choice((None, UNSIGNED, UNSIGNED_TRAILER, SIGNED_CHUNKS))
        headers = dict(random.sample(HEADERS, random.choice((0, 1, 2))))
        body = random.choice(BODIES)
        target = f"{path}?{query}" if query else path
        return self.alice.request(method, target, body, headers, payload_hash=payload_hash) + body

    def _samples(self) -> list[bytes]:
        ask = self.alice.request
        document = b"<Delete><Object><Key>a</Key></Object></Delete>"
        framed = {"transfer-encoding": "chunked", "x-amz-decoded-content-length": "6"}
        signed = ask("PUT", "/photos/b", headers=framed, payload_hash=SIGNED_CHUNKS)
        return [
            ask("GET", "/photos/a?versionId=null&response-content-type=a", headers={"range": "bytes=0-1"}),
            ask("GET", "/photos?list-type=2&prefix=a&delimiter=/&encoding-type=url"),
            ask("PUT", "/photos/b", b"data", {"content-md5": "jXd/OF09/siBXSD3SWAm3A=="}) + b"data",
            ask("PUT", "/photos/b", headers={"x-amz-copy-source": "/photos/a"}),
            ask("POST", "/photos?delete", document) + document,
            signed + http_chunked(Chunks("alicesecret", signed).body([b"abc", b"def"]), 7),
            ask("GET", self.alice.presigned("GET", "/photos/a"), signed=False),
            ask("POST", "/photos/up?uploads", headers={"x-amz-meta-a": "b"}),
        ]

    def _send_all(self, requests: Iterable[bytes]) -> list[int]:
        """
        Send each on a connection of its own, and wait until the server has ended them all.

        Returns the statuses of all answers.
        """
        found = []
        wires = []
        for request in requests:
            wires.append((Wire(self.server.address), request))
            wires[-1][0].send(request)
        for wire, request in wires:
            with wire:
                said = wire.rest()
            statuses = [int(status) for status in STATUS.findall(said)]
            self.assertTrue({500, 503}.isdisjoint(statuses), (request, said))
            found += statuses
        self.assertEqual(self.server.failures, [])
        return found

    def tearDown(self) -> None:
        # It serves as if nothing had happened.
        self.assertEqual(self.alice.ask("GET", "/photos?list-type=2").status, 200)
        self.server.settled()
        super().tearDown()


def _mutated(random: Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(data))
        what = random.randrange(4)
        if what == 0:
            data[at:at] = random.choice(BITS)
        elif what == 1:
            del data[at : at + random.choice((1, 2, 20))]
        elif what == 2:
            data[at:at] = data[at : at + random.randrange(40)]
        else:
            data[at] = random.randrange(256)
    return bytes(data)


class SilentTests(ServerCase):
    """Connections that are opened and left."""

    settings = {"read_header_timeout": "500ms"}

    def test_many(self) -> None:
        """A hundred that say nothing, or half of something, are in nobody's way."""
        wires = [Wire(self.server.address) for _ in range(100)]
        try:
            for number, wire in enumerate(wires):
                wire.send(b"GET /photos HTTP/1.1\r\nHost: x\r\n"[: number % 34])
            self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"x" * 100_000))
            for wire in wires[:10]:
                self.assertRaises((Hangup, AssertionError), self._refuse_success, wire)
        finally:
            for wire in wires:
                wire.close()

    def _refuse_success(self, wire: Wire) -> None:
        if wire.answer().status < 400:
            return
        raise AssertionError("refused, as it should be")
