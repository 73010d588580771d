"""What HTTP allows and what it does not: requests that are refused before anybody looks who sent them."""

from __future__ import annotations

from attrs import Factory, frozen

from tests.integration.asking import Answer, Hangup, Wire
from tests.integration.s3_server import ServerCase

HOST = b"Host: s3.example.net\r\n"


@frozen
class Bad:
    """Bytes, the answer they get, and what it must say besides."""

    name: str
    sent: bytes
    status: int
    code: str
    details: dict[str, str] = Factory(dict)
    headers: dict[str, str] = Factory(dict)
    closes: bool = True


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """A request with a Host header."""
    return b"\r\n".join([line, HOST[:-2], *headers]) + b"\r\n\r\n" + body


MALFORMED = (
    Bad("no host", b"GET /photos HTTP/1.1\r\n\r\n", 400, "BadRequest"),
    Bad("two hosts", request(b"GET /photos HTTP/1.1", b"Host: other"), 400, "BadRequest"),
    Bad("host with a blank", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "BadRequest"),
    Bad(
        "two lengths",
        request(b"PUT /photos/a HTTP/1.1", b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
        400,
        "BadRequest",
    ),
    Bad(
        "two equal lengths",
        request(b"PUT /photos/a HTTP/1.1", b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
        400,
        "BadRequest",
    ),
    Bad(
        "a list of lengths",
        request(b"PUT /photos/a HTTP/1.1", b"Content-Length: 3, 3", body=b"abc"),
        400,
        "BadRequest",
    ),
    Bad(
        "length with chunking",
        request(
            b"PUT /photos/a HTTP/1.1",
            b"Content-Length: 3",
            b"Transfer-Encoding: chunked",
            body=b"3\r\nabc\r\n0\r\n\r\n",
        ),
        400,
        "BadRequest",
    ),
    Bad("negative length", request(b"PUT /photos/a HTTP/1.1", b"Content-Length: -1"), 400, "BadRequest"),
    Bad("length with a plus", request(b"PUT /photos/a HTTP/1.1", b"Content-Length: +1"), 400, "BadRequest"),
    Bad("length in words", request(b"PUT /photos/a HTTP/1.1", b"Content-Length: three"), 400, "BadRequest"),
    Bad("empty length", request(b"PUT /photos/a HTTP/1.1", b"Content-Length:"), 400, "BadRequest"),
    Bad(
        "length of Arabic digits",
        request(b"PUT /photos/a HTTP/1.1", "Content-Length: ٣".encode()),
        400,
        "BadRequest",
    ),
    Bad(
        "unknown coding",
        request(b"PUT /photos/a HTTP/1.1", b"Transfer-Encoding: gzip, chunked"),
        501,
        "NotImplemented",
        {"Header": "Transfer-Encoding"},
    ),
    Bad(
        "chunked, and chunked again",
        request(b"PUT /photos/a HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        501,
        "NotImplemented",
    ),
    Bad("bare line feeds", b"GET /photos HTTP/1.1\nHost: x\n\n", 400, "BadRequest"),
    Bad("one bare line feed", b"GET /photos HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400, "BadRequest"),
    Bad("bare carriage return", b"GET /photos HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 400, "BadRequest"),
    Bad("folded header", request(b"GET /photos HTTP/1.1", b"A: b", b"  c"), 400, "BadRequest"),
    Bad("folded with a tab", request(b"GET /photos HTTP/1.1", b"A: b", b"\tc"), 400, "BadRequest"),
    Bad("blank before the colon", request(b"GET /photos HTTP/1.1", b"A : b"), 400, "BadRequest"),
    Bad("no colon", request(b"GET /photos HTTP/1.1", b"Nothing"), 400, "BadRequest"),
    Bad("no name", request(b"GET /photos HTTP/1.1", b": b"), 400, "BadRequest"),
    Bad("control character", request(b"GET /photos HTTP/1.1", b"A: b\x00c"), 400, "BadRequest"),
    Bad("no version", b"GET /photos\r\nHost: x\r\n\r\n", 400, "BadRequest"),
    Bad("another version", request(b"GET /photos HTTP/2.0"), 400, "BadRequest"),
    Bad("version in lower case", request(b"GET /photos http/1.1"), 400, "BadRequest"),
    Bad("blank in the target", request(b"GET /pho tos HTTP/1.1"), 400, "BadRequest"),
    Bad("no slash", request(b"GET photos HTTP/1.1"), 400, "BadRequest"),
    Bad("asterisk", request(b"OPTIONS * HTTP/1.1"), 400, "BadRequest"),
    Bad("method that is no word", request(b"GE(T /photos HTTP/1.1"), 400, "BadRequest"),
    Bad("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "BadRequest"),
    Bad(
        "long head",
        request(b"GET /photos HTTP/1.1", b"A: " + 16384 * b"b"),
        400,
        "RequestHeaderSectionTooLarge",
        {"MaxSizeAllowed": "16384"},
    ),
    Bad("endless head", b"GET /" + 20000 * b"a", 400, "RequestHeaderSectionTooLarge"),
    Bad(
        "many headers",
        request(b"GET /photos HTTP/1.1", *[b"A%d: b" % number for number in range(3000)]),
        400,
        "RequestHeaderSectionTooLarge",
    ),
)

ADDRESSES = (
    Bad("bad escape", request(b"GET /photos/%zz HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("half an escape", request(b"GET /photos/a%4 HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("no UTF-8", request(b"PUT /photos/%ff HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("no UTF-8, plain", request(b"PUT /photos/\xff HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("surrogate", request(b"PUT /photos/%ed%a0%80 HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("overlong UTF-8", request(b"PUT /photos/%c0%af HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("nought", request(b"PUT /photos/a%00b HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad(
        "bad escape in the query", request(b"GET /photos?prefix=%q HTTP/1.1"), 400, "InvalidURI", closes=False
    ),
    Bad("query that is no UTF-8", request(b"GET /photos?a=%ff HTTP/1.1"), 400, "InvalidURI", closes=False),
    Bad("no bucket", request(b"GET //a HTTP/1.1"), 400, "InvalidBucketName", closes=False),
    Bad(
        "long key",
        request(b"PUT /photos/" + 1025 * b"k" + b" HTTP/1.1"),
        400,
        "KeyTooLongError",
        {"Size": "1025", "MaxSizeAllowed": "1024"},
        closes=False,
    ),
    Bad(
        "long key in UTF-8",
        request(b"PUT /photos/" + 513 * b"%C3%A9" + b" HTTP/1.1"),
        400,
        "KeyTooLongError",
        {"Size": "1026"},
        closes=False,
    ),
)

BUCKET_METHODS = {"Allow": "GET, HEAD, PUT, POST, DELETE"}
METHODS = (
    Bad(
        "unknown method for an object",
        request(b"BREW /photos/a HTTP/1.1"),
        405,
        "MethodNotAllowed",
        {"Method": "BREW", "ResourceType": "OBJECT"},
        BUCKET_METHODS,
        closes=False,
    ),
    Bad(
        "unknown method for a bucket",
        request(b"PATCH /photos HTTP/1.1"),
        405,
        "MethodNotAllowed",
        {"Method": "PATCH", "ResourceType": "BUCKET"},
        BUCKET_METHODS,
        closes=False,
    ),
    Bad(
        "writing to the service",
        request(b"PUT / HTTP/1.1", b"Content-Length: 0"),
        405,
        "MethodNotAllowed",
        {"Method": "PUT", "ResourceType": "SERVICE"},
        {"Allow": "GET"},
        closes=False,
    ),
    Bad(
        "method in lower case",
        request(b"get /photos/a HTTP/1.1"),
        405,
        "MethodNotAllowed",
        {"Method": "get"},
        closes=False,
    ),
    Bad(
        "method with a body",
        request(b"BREW /photos/a HTTP/1.1", b"Content-Length: 5", body=b"water"),
        405,
        "MethodNotAllowed",
        closes=False,
    ),
    Bad(
        "posting to a key",
        request(b"POST /photos/a HTTP/1.1", b"Content-Length: 0"),
        405,
        "MethodNotAllowed",
        {"ResourceType": "OBJECT"},
        {"Allow": "GET, HEAD, PUT, DELETE"},
        closes=False,
    ),
    Bad(
        "form upload",
        request(b"POST /photos HTTP/1.1", b"Content-Length: 0"),
        501,
        "NotImplemented",
        closes=False,
    ),
    Bad("preflight", request(b"OPTIONS /photos HTTP/1.1"), 400, "BadRequest", closes=False),
    Bad(
        "preflight without rules",
        request(b"OPTIONS /photos/a HTTP/1.1", b"Origin: http://a", b"Access-Control-Request-Method: GET"),
        403,
        "AccessForbidden",
        closes=False,
    ),
)

CONFIGURATIONS = (
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
    "abac",
    "metadataTable",
)
SUBRESOURCES = (
    *(
        Bad(
            f"PUT ?{name}",
            request(b"PUT /photos?%b HTTP/1.1" % name.encode()),
            501,
            "NotImplemented",
            closes=False,
        )
        for name in CONFIGURATIONS
    ),
    *(
        Bad(
            f"{method} /key?{name}",
            request(f"{method} /photos/a?{name} HTTP/1.1".encode()),
            501,
            "NotImplemented",
            closes=False,
        )
        for method, name in (
            ("PUT", "acl"),
            ("PUT", "tagging"),
            ("PUT", "tagging="),
            ("DELETE", "tagging"),
            ("PUT", "retention"),
            ("PUT", "legal-hold"),
            ("PUT", "renameObject"),
            ("PUT", "append"),
            ("POST", "restore"),
            ("POST", "select&select-type=2"),
            ("GET", "torrent"),
            ("GET", "retention"),
            ("GET", "legal-hold"),
            ("PUT", "uploads"),
        )
    ),
    *(
        Bad(
            f"GET ?{name}",
            request(f"GET /photos?{name} HTTP/1.1".encode()),
            501,
            "NotImplemented",
            closes=False,
        )
        for name in ("inventory", "analytics", "metrics", "intelligent-tiering", "metadataTable", "session")
    ),
    Bad("GET /key?uploads", request(b"GET /photos/a?uploads HTTP/1.1"), 400, "InvalidRequest", closes=False),
    Bad("two subresources", request(b"GET /photos?acl&policy HTTP/1.1"), 400, "InvalidRequest", closes=False),
    Bad(
        "a third kind of list",
        request(b"GET /photos?list-type=3 HTTP/1.1"),
        400,
        "InvalidArgument",
        closes=False,
    ),
    Bad(
        "a part without upload",
        request(b"PUT /photos/a?partNumber=1 HTTP/1.1"),
        400,
        "InvalidArgument",
        closes=False,
    ),
)

ALL = (*MALFORMED, *ADDRESSES, *METHODS, *SUBRESOURCES)


class RefusedRequestsTests(ServerCase):
    """Nobody has said who they are in any of these."""

    def test_table(self) -> None:
        """
        Every bad request gets its own answer, whole and in XML; nothing is stored.

        What cannot be understood ends the connection; what can does not.
        """
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))
        before = self.server.settled()
        for bad in ALL:
            with self.subTest(bad.name), Wire(self.server.address) as wire:
                wire.send(bad.sent)
                answer = wire.answer()
                self.assertRefused(answer, bad.status, bad.code)
                for name, value in bad.details.items():
                    self.assertEqual(answer.detail(name), value)
                for name, value in bad.headers.items():
                    self.assertEqual(answer.header(name.lower()), value)
                self._check_connection(wire, bad, answer)
        self.assertEqual(self.server.settled(), before)

    def _check_connection(self, wire: Wire, bad: Bad, answer: Answer) -> None:
        if bad.closes:
            self.assertEqual(answer.header("connection"), "close")
            self.assertTrue(wire.is_closed())
        else:
            self.assertIsNone(answer.header("connection"))
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"kept")

    def test_heads_byte_by_byte(self) -> None:
        """A refusal does not depend on how the bytes are cut."""
        for bad in (MALFORMED[3], MALFORMED[15], MALFORMED[17], METHODS[0]):
            with self.subTest(bad.name), Wire(self.server.address) as wire:
                for at in range(len(bad.sent)):
                    wire.send(bad.sent[at : at + 1])
                self.assertRefused(wire.answer(), bad.status, bad.code)

    def test_head_requests_without_documents(self) -> None:
        """Errors of HEAD have the headers of the document and no document."""
        for target, status in (
            ("/photos/missing", 404),
            ("/documents", 200),
            ("/nowhere", 404),
            ("/photos/a%zz", 400),
            ("/photos/" + 1025 * "k", 400),
            ("/photos?acl", 501),
        ):
            with self.subTest(target), Wire(self.server.address) as wire:
                answer = self.alice.ask("HEAD", target, wire=wire)
                self.assertEqual((answer.status, answer.body), (status, b""))
                # Another answer, not a document, is what comes next.
                self.assertEqual(self.alice.ask("HEAD", "/photos", wire=wire).status, 200)

    def test_silent_clients(self) -> None:
        """A head that never ends is refused after a while; who says nothing at all is left without a word."""
        with Wire(self.server.address) as half, Wire(self.server.address) as nothing:
            half.send(b"GET /photos HTTP/1.1\r\nHost:")
            self.assertRefused(half.answer(), 400, "RequestTimeout")
            self.assertTrue(half.is_closed())
            self.assertRaises(Hangup, nothing.answer)

    def test_leading_line_break(self) -> None:
        """An empty line before a request is tolerated."""
        with Wire(self.server.address) as wire:
            wire.send(b"\r\n" + self.alice.request("HEAD", "/photos"))
            self.assertEqual(wire.answer("HEAD").status, 200)

    def test_absolute_target(self) -> None:
        """A target as for a proxy is the same request."""
        with Wire(self.server.address) as wire:
            sent = self.alice.request("HEAD", "/photos").replace(
                b" /photos",
                b" http://%b:%d/photos" % (self.server.address[0].encode(), self.server.address[1]),
                1,
            )
            wire.send(sent)
            self.assertEqual(wire.answer("HEAD").status, 200)

    def test_http_1_0(self) -> None:
        """An older client is served, and its connection closed."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))
        with Wire(self.server.address) as wire:
            wire.send(self.alice.request("GET", "/photos/a").replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            self.assertEqual(wire.answer().body, b"kept")
            self.assertTrue(wire.is_closed())
