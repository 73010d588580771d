"""Who is asking: every way to sign, and every way to get it wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote

from attrs import Factory, evolve, frozen

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire, head
from tests.integration.s3_server import ServerCase

EMPTY = sha256(b"").hexdigest()
DATE = r"x-amz-date: \S+"
SCOPE = r"Credential=alice/(\d{8})/us-east-1/s3/aws4_request"
HEADER = "AuthorizationHeaderMalformed"
QUERY = "AuthorizationQueryParametersError"
MISMATCH = "SignatureDoesNotMatch"

Change = Callable[[bytes], bytes]


def replaced(pattern: str, by: str) -> Change:
    """What changes a signed request afterwards; the pattern must be found."""

    def change(request: bytes) -> bytes:
        text, count = re.subn(pattern, by, request.decode(), count=1)
        assert count, pattern
        return text.encode()

    return change


@frozen
class Spoiled:
    """A signed PUT that was changed, and its answer."""

    name: str
    change: Change
    status: int
    code: str
    message: str = ""
    details: dict[str, str] = Factory(dict)


def authorization(value: str) -> Change:
    """Replace the whole header."""
    return replaced("authorization: [^\r]+", f"authorization: {value}")


IN_HEADERS = (
    Spoiled("none at all", replaced("authorization: [^\r]+\r\n", ""), 403, "AccessDenied"),
    Spoiled("version 2", authorization("AWS alice:sig="), 400, "InvalidRequest", "AWS4-HMAC-SHA256"),
    Spoiled("SigV4A", replaced("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "), 400, "InvalidRequest"),
    Spoiled("Basic", authorization("Basic YTpi"), 400, "InvalidArgument", "Unsupported Authorization Type"),
    Spoiled("Bearer", authorization("Bearer x"), 400, "InvalidArgument", "Unsupported Authorization Type"),
    Spoiled("empty", authorization(""), 400, "InvalidArgument"),
    Spoiled(
        "no space",
        replaced("AWS4-HMAC-SHA256 Cred", "AWS4-HMAC-SHA256Cred"),
        400,
        "InvalidArgument",
        details={"ArgumentName": "Authorization"},
    ),
    Spoiled("no credential", replaced("Credential=[^,]+, ", ""), 400, HEADER),
    Spoiled("no signed headers", replaced("SignedHeaders=[^,]+, ", ""), 400, HEADER),
    Spoiled("no signature", replaced(", Signature=[^\r]+", ""), 400, HEADER),
    Spoiled("empty signature", replaced("Signature=[^\r]+", "Signature="), 400, HEADER),
    Spoiled("a fourth part", replaced("Credential=", "More=x, Credential="), 400, HEADER),
    Spoiled("four fields", replaced("/s3/", "/"), 400, HEADER),
    Spoiled("six fields", replaced("/s3/", "/s3/s3/"), 400, HEADER),
    Spoiled("date in words", replaced(r"alice/\d{8}", "alice/tomorrow"), 400, HEADER),
    Spoiled("no such date", replaced(r"alice/\d{8}", "alice/20261399"), 400, HEADER),
    Spoiled("another day", replaced(r"alice/\d{8}", "alice/20200101"), 400, HEADER),
    Spoiled("service", replaced("/s3/", "/ec2/"), 400, HEADER),
    Spoiled("terminator", replaced("aws4_request", "aws5_request"), 400, HEADER),
    Spoiled("no region", replaced("us-east-1", ""), 400, HEADER),
    Spoiled(
        "unknown key",
        replaced("alice/", "nobody/"),
        403,
        "InvalidAccessKeyId",
        details={"AWSAccessKeyId": "nobody"},
    ),
    Spoiled("another's key", replaced("alice/", "bob/"), 403, MISMATCH),
    Spoiled(
        "a bit of the signature",
        replaced("Signature=[0-9a-f]{4}", "Signature=0bad"),
        403,
        MISMATCH,
    ),
    Spoiled("short signature", replaced("(Signature=[0-9a-f]{4})[^\r]+", r"\1"), 403, MISMATCH),
    Spoiled("no hexadecimal", replaced("Signature=[0-9a-f]{4}", "Signature=wxyz"), 403, MISMATCH),
    Spoiled("other method", replaced("^PUT", "DELETE"), 403, MISMATCH),
    Spoiled("other key", replaced("/photos/signed", "/photos/sighed"), 403, MISMATCH),
    Spoiled("other query", replaced("/photos/signed", "/photos/signed?x=1"), 403, MISMATCH),
    Spoiled("other metadata", replaced("meta-a: b", "meta-a: c"), 403, MISMATCH),
    Spoiled("other host", replaced("host: [^\r]+", "host: elsewhere"), 403, MISMATCH),
    Spoiled(
        "other payload",
        replaced("content-sha256: [0-9a-f]{4}", "content-sha256: 0000"),
        403,
        MISMATCH,
    ),
    Spoiled(
        "unsigned metadata",
        replaced("host: ", "x-amz-meta-more: x\r\nhost: "),
        403,
        "AccessDenied",
        "not signed",
        {"HeadersNotSigned": "x-amz-meta-more"},
    ),
    Spoiled("host not signed", replaced("SignedHeaders=host;", "SignedHeaders="), 403, "AccessDenied"),
    Spoiled("no time", replaced(f"{DATE}\r\n", ""), 403, "AccessDenied", "valid Date or x-amz-date"),
    Spoiled(
        "time in words", replaced(DATE, "x-amz-date: now"), 403, "AccessDenied", "valid Date or x-amz-date"
    ),
    Spoiled(
        "no payload hash",
        replaced("x-amz-content-sha256: [^\r]+\r\n", ""),
        400,
        "InvalidRequest",
        "x-amz-content-sha256",
    ),
    Spoiled(
        "payload hash in words",
        replaced("x-amz-content-sha256: [^\r]+", "x-amz-content-sha256: whatever"),
        400,
        "InvalidArgument",
        details={"ArgumentName": "x-amz-content-sha256"},
    ),
    Spoiled(
        "payload of SigV4A",
        replaced("content-sha256: [^\r]+", "content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        501,
        "NotImplemented",
    ),
    Spoiled(
        "twice", replaced("host: ", "authorization: AWS4-HMAC-SHA256 x\r\nhost: "), 400, "InvalidArgument"
    ),
    Spoiled(
        "in the query too",
        replaced("/photos/signed", "/photos/signed?X-Amz-Signature=0&X-Amz-Algorithm=AWS4-HMAC-SHA256"),
        400,
        "InvalidArgument",
        "Only one auth mechanism",
    ),
    Spoiled(
        "version 2 in the query too",
        replaced("/photos/signed", "/photos/signed?AWSAccessKeyId=a&Signature=b&Expires=1"),
        400,
        "InvalidArgument",
    ),
)

IN_QUERIES = (
    *(
        Spoiled(f"no {name}", replaced(f"X-Amz-{name}=[^& ]+&?", ""), 400, QUERY)
        for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders")
    ),
    Spoiled("no signature", replaced("&X-Amz-Signature=[^& ]+", ""), 400, QUERY),
    Spoiled("algorithm", replaced("HMAC-SHA256", "HMAC-SHA1"), 400, QUERY),
    Spoiled("date", replaced("X-Amz-Date=[^&]+", "X-Amz-Date=today"), 400, QUERY),
    Spoiled("expires in words", replaced("Expires=600", "Expires=soon"), 400, QUERY),
    Spoiled("expires at once", replaced("Expires=600", "Expires=0"), 403, "AccessDenied"),
    Spoiled("expires in the past", replaced("Expires=600", "Expires=-1"), 403, "AccessDenied"),
    Spoiled("expires in a week and a second", replaced("Expires=600", "Expires=604801"), 403, "AccessDenied"),
    Spoiled("longer than signed", replaced("Expires=600", "Expires=601"), 403, MISMATCH),
    Spoiled(
        "twice",
        replaced("X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Expires=1"),
        400,
        QUERY,
    ),
    Spoiled("credential", replaced("%2Fs3%2F", "%2F"), 400, QUERY),
    Spoiled("service", replaced("%2Fs3%2F", "%2Fec2%2F"), 400, QUERY),
    Spoiled("unknown key", replaced("=alice%2F", "=nobody%2F"), 403, "InvalidAccessKeyId"),
    Spoiled("signature", replaced("Signature=[0-9a-f]{4}", "Signature=0bad"), 403, MISMATCH),
    Spoiled("method", replaced("^PUT", "HEAD"), 403, "(no body)"),
    Spoiled("key", replaced("/photos/signed", "/photos/sighed"), 403, MISMATCH),
    Spoiled("more in the query", replaced(" HTTP", "&versionId=null HTTP"), 403, MISMATCH),
    Spoiled(
        "metadata that is not signed",
        replaced("host: ", "x-amz-meta-more: x\r\nhost: "),
        403,
        "AccessDenied",
        details={"HeadersNotSigned": "x-amz-meta-more"},
    ),
    Spoiled(
        "version 2",
        replaced(r"\?[^ ]+", "?AWSAccessKeyId=alice&Expires=99999999999&Signature=x"),
        400,
        "InvalidRequest",
    ),
)


class BadSignatureTests(ServerCase):
    """None of these writes anything."""

    def test_headers(self) -> None:
        """A signature in the header that is missing, malformed or wrong gets the code of its mistake."""
        before = self.server.settled()
        sent = self.alice.request("PUT", "/photos/signed", b"data", {"x-amz-meta-a": "b"})
        for row in IN_HEADERS:
            with self.subTest(row.name):
                self._check(row, sent)
        self.assertEqual(self.server.settled(), before)

    def test_queries(self) -> None:
        """So does one in the query."""
        before = self.server.settled()
        target = self.alice.presigned("PUT", "/photos/signed")
        sent = self.alice.request("PUT", target, b"data", signed=False)
        for row in IN_QUERIES:
            with self.subTest(row.name):
                self._check(row, sent)
        self.assertEqual(self.server.settled(), before)

    def _check(self, row: Spoiled, sent: bytes) -> None:
        spoiled = row.change(sent)
        method = spoiled.split(b" ")[0].decode()
        with Wire(self.server.address) as wire:
            wire.send(spoiled, b"data")
            answer = wire.answer(method)
            if method == "HEAD":
                self.assertEqual(answer.status, row.status)
            else:
                self.assertRefused(answer, row.status, row.code)
                self.assertIn(row.message, answer.detail("Message") or "")
                for name, value in row.details.items():
                    self.assertEqual(answer.detail(name), value)
            # Who was not let in may try again.
            self.assertEqual(self.alice.ask("HEAD", "/photos", wire=wire).status, 200)

    def test_what_was_signed(self) -> None:
        """A wrong signature is answered with what should have been signed, and no secret."""
        answer = evolve(self.alice, secret="wrong").ask("GET", "/photos/a?prefix=b c")
        self.assertRefused(answer, 400, "BadRequest")  # a blank in the target
        answer = evolve(self.alice, secret="wrong").ask("GET", "/photos/a%20b?x=1")
        self.assertRefused(answer, 403, MISMATCH)
        canonical = answer.detail("CanonicalRequest") or ""
        self.assertTrue(canonical.startswith("GET\n/photos/a%20b\nx=1\nhost:"), canonical)
        self.assertTrue((answer.detail("StringToSign") or "").startswith("AWS4-HMAC-SHA256\n"))
        self.assertEqual(answer.detail("AWSAccessKeyId"), "alice")
        self.assertRegex(answer.detail("SignatureProvided") or "", "^[0-9a-f]{64}$")
        octets = bytes.fromhex(answer.detail("CanonicalRequestBytes") or "")
        self.assertEqual(octets.decode(), canonical)
        self.assertTrue(answer.detail("StringToSignBytes"))
        self.assertNotIn(b"alicesecret", answer.body)

    def test_clocks(self) -> None:
        """A clock may be off by a quarter of an hour, in both directions."""
        for ago, status in ((840, 200), (-840, 200), (960, 403), (-960, 403), (86400 * 400, 403)):
            with self.subTest(ago):
                answer = evolve(self.alice, ago=ago).ask("GET", "/photos")
                if status == 200:
                    self.assertSucceeded(answer)
                else:
                    self.assertRefused(answer, 403, "RequestTimeTooSkewed")
                    self.assertEqual(answer.detail("MaxAllowedSkewMilliseconds"), "900000")
                    self.assertRegex(answer.detail("RequestTime") or "", r"^\d{8}T\d{6}Z$")
                    self.assertRegex(answer.detail("ServerTime") or "", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def test_time_in_date_header(self) -> None:
        """`Date` tells the time where `X-Amz-Date` does not: then a wrong one of these is the mistake."""
        sent = replaced("x-amz-date: [^\r]+", "date: Sat, 01 Jan 2022 00:00:00 GMT")(
            self.alice.request("GET", "/photos")
        )
        with Wire(self.server.address) as wire:
            wire.send(replaced(r"alice/\d{8}", "alice/20220101")(sent))
            self.assertRefused(wire.answer(), 403, "RequestTimeTooSkewed")

    def test_expired(self) -> None:
        """A URL is good until it expires, and not a second longer; nor long before it was signed."""
        for ago, expires, message in (
            (100, 90, "Request has expired"),
            (604900, 604800, "Request has expired"),
            (-1000, 600, "Request is not yet valid"),
        ):
            with self.subTest(message):
                caller = evolve(self.alice, ago=ago)
                answer = caller.ask_unsigned("GET", caller.presigned("GET", "/photos/a", expires))
                self.assertRefused(answer, 403, "AccessDenied")
                self.assertEqual(answer.detail("Message"), message)
        caller = evolve(self.alice, ago=100)
        answer = caller.ask_unsigned("GET", caller.presigned("GET", "/photos/a", 90))
        self.assertEqual(answer.detail("X-Amz-Expires"), "90")
        self.assertTrue(answer.detail("Expires"))
        self.assertTrue(answer.detail("ServerTime"))

    def test_token(self) -> None:
        """A token that nobody has, or two, is nobody's."""
        for given in ("", "photos-toke", "photos-tokens", "PHOTOS-TOKEN"):
            with self.subTest(given):
                answer = self.alice.ask_unsigned("GET", "/photos", headers={"x-proxy-token": given})
                self.assertRefused(answer, 403, "AccessDenied")
        with Wire(self.server.address) as wire:
            line = "GET /photos HTTP/1.1"
            token = ("x-proxy-token", b"photos-token")
            wire.send(head(line, [("host", b"x"), token, token]))
            self.assertRefused(wire.answer(), 403, "AccessDenied")

    def test_token_cannot_sign_chunks(self) -> None:
        """Signed chunks need a signed request to begin with."""
        headers: Headers = {
            "x-proxy-token": "photos-token",
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "x-amz-decoded-content-length": "4",
        }
        answer = self.alice.ask_unsigned("PUT", "/photos/a", b"4\r\nabcd\r\n0\r\n\r\n", headers)
        self.assertRefused(answer, 400, "InvalidRequest")


class GoodSignatureTests(ServerCase):
    """Everything that must be let in."""

    def setUp(self) -> None:
        super().setUp()
        self.target = "/photos/a%20b/%C3%A9%2B%28%2A%29%40"
        self.assertSucceeded(self.alice.ask("PUT", self.target, b"kept"))

    def test_spellings(self) -> None:
        """Paths match however the client writes them: escapes in either case, or none."""
        for target in (
            self.target,
            "/photos/a%20b/%c3%a9%2b%28%2a%29%40",
            "/photos/a%20b/%C3%A9+(*)@",
            "/photos/a%20b%2F%C3%A9+(*)@",
            "/%70hotos/a%20b/%C3%A9+(*)@",
        ):
            with self.subTest(target):
                self.assertEqual(self.alice.ask("GET", target).body, b"kept")

    def test_regions(self) -> None:
        """A client may sign for any region."""
        for region in ("us-east-1", "eu-central-1", "auto"):
            with self.subTest(region):
                self.assertSucceeded(evolve(self.alice, region=region).ask("GET", self.target))

    def test_order_and_separators(self) -> None:
        """The three parts may come in any order, with or without a space."""
        sent = self.alice.request("GET", self.target)
        for pattern, by in (
            (r"(Credential=[^,]+), (SignedHeaders=[^,]+), (Signature=\S+)", r"\3,\2,\1"),
            (r"(Credential=[^,]+), (SignedHeaders=[^,]+), (Signature=\S+)", r"\2,   \1, \3"),
        ):
            with self.subTest(by), Wire(self.server.address) as wire:
                wire.send(replaced(pattern, by)(sent))
                self.assertEqual(wire.answer().body, b"kept")

    def test_payload_forms(self) -> None:
        """The hash of the body, or none."""
        digest = sha256(b"data").hexdigest().encode()
        for payload_hash in (digest, UNSIGNED):
            with self.subTest(payload_hash):
                answer = self.alice.ask("PUT", "/photos/b", b"data", payload_hash=payload_hash)
                self.assertSucceeded(answer)

    def test_query_parameters(self) -> None:
        """Parameters nobody knows are signed and ignored; blanks may be written either way."""
        for query in ("x-id=GetObject", "b=2&a=1&a=0", "a=x+y", "a=x%20y", "flag", "a=%2F%3D", "=x"):
            with self.subTest(query):
                self.assertEqual(self.alice.ask("GET", f"{self.target}?{query}").body, b"kept")

    def test_token(self) -> None:
        """A token opens its bucket and nothing else."""
        token = {"x-proxy-token": "photos-token"}
        self.assertEqual(self.alice.ask_unsigned("GET", self.target, headers=token).body, b"kept")
        self.assertSucceeded(self.alice.ask_unsigned("PUT", "/photos/t", b"data", token))
        self.assertRefused(self.alice.ask_unsigned("GET", "/documents", headers=token), 403, "AccessDenied")

    def test_presigned(self) -> None:
        """A URL for a week works from anybody's hand, for every operation."""
        whole_week = self.alice.presigned("GET", self.target, 604800)
        self.assertEqual(self._ask("GET", whole_week).body, b"kept")
        nearly = evolve(self.alice, ago=604700)
        self.assertEqual(self._ask("GET", nearly.presigned("GET", self.target, 604800)).body, b"kept")
        self.assertSucceeded(self._ask("PUT", self.alice.presigned("PUT", "/photos/p"), b"data"))
        self.assertEqual(self._ask("HEAD", self.alice.presigned("HEAD", "/photos/p")).status, 200)
        listed = self._ask("GET", self.alice.presigned("GET", "/photos?list-type=2&prefix=p"))
        self.assertEqual(listed.texts("Contents/Key"), ["p"])
        self.assertSucceeded(self._ask("DELETE", self.alice.presigned("DELETE", "/photos/p")), 204)
        upload = self._ask("POST", self.alice.presigned("POST", "/photos/up?uploads")).text("UploadId")
        for target in (f"/photos/up?partNumber=1&uploadId={upload}", f"/photos/up?uploadId={upload}"):
            method = "PUT" if "partNumber" in target else "DELETE"
            self.assertIn(self._ask(method, self.alice.presigned(method, target), b"part").status, (200, 204))

    def test_presigned_range(self) -> None:
        """Ordinary headers may be added by whoever uses the URL."""
        target = self.alice.presigned("GET", self.target)
        answer = self._ask(
            "GET", target, headers={"range": "bytes=1-2", "if-match": "*", "origin": "http://x"}
        )
        self.assertEqual((answer.status, answer.body), (206, b"ep"))

    def test_presigned_signed_headers(self) -> None:
        """Headers that were signed must come, as they are."""
        signed = {"x-amz-meta-a": "b", "content-type": "text/plain"}
        target = self.alice.presigned("PUT", "/photos/p", headers=signed)
        self.assertRefused(self._ask("PUT", target, b"x"), 403, MISMATCH)
        self.assertRefused(
            self._ask("PUT", target, b"x", {**signed, "content-type": "text/html"}),
            403,
            MISMATCH,
        )
        self.assertSucceeded(self._ask("PUT", target, b"x", signed))
        answer = self.alice.ask("HEAD", "/photos/p")
        self.assertEqual(answer.header("x-amz-meta-a"), "b")
        self.assertEqual(answer.header("content-type"), "text/plain")

    def test_hoisted_headers(self) -> None:
        """What a signer moved into the query counts like headers."""
        query = "x-amz-meta-a=b%20c&X-Amz-Meta-Upper=u&x-amz-acl=private&x-amz-storage-class=STANDARD"
        target = self.alice.presigned("PUT", f"/photos/p?{query}")
        self.assertSucceeded(self._ask("PUT", target, b"data"))
        answer = self.alice.ask("HEAD", "/photos/p")
        self.assertEqual(answer.header("x-amz-meta-a"), "b c")
        self.assertEqual(answer.header("x-amz-meta-upper"), "u")
        for wrong, code in (
            ("acl=public-read", "AccessControlListNotSupported"),
            ("tagging=a%3Db", "NotImplemented"),
        ):
            refused = self.alice.presigned("PUT", f"/photos/p?x-amz-{wrong}")
            self.assertEqual(self._ask("PUT", refused, b"data").code, code)

    def test_hoisted_headers_cannot_split(self) -> None:
        """Nothing in a query becomes more than one header, neither by its name nor by its value."""
        for query in (
            "x-amz-meta-a=b%0d%0aSet-Cookie:x",
            "x-amz-meta-a%0d%0aSet-Cookie=x",
            "x-amz-meta-a%3A%20b=x",
            "x-amz-meta-a%20b=x",
            "x-amz-meta-a=b%00c",
            "x-amz-meta-%C3%A9=x",
        ):
            with self.subTest(query):
                target = self.alice.presigned("PUT", f"/photos/p?{query}")
                answer = self._ask("PUT", target, b"data")
                self.assertEqual((answer.status, answer.code)[0], 400, answer.body)
                self.assertIn(answer.code, ("InvalidArgument", "InvalidURI"))

    def test_presigned_payload_hash(self) -> None:
        """A URL may be good for one body only."""
        digest = sha256(b"data").hexdigest()
        target = self.alice.presigned("PUT", "/photos/p", headers={"x-amz-content-sha256": digest})
        sent = {"x-amz-content-sha256": digest}
        self.assertRefused(self._ask("PUT", target, b"tada", sent), 400, "XAmzContentSHA256Mismatch")
        self.assertSucceeded(self._ask("PUT", target, b"data", sent))

    def test_virtual_hosts(self) -> None:
        """The bucket may be in the host's name: then it is not in the path, and not in the signature."""
        caller = evolve(self.alice, host="photos.s3.example.net")
        self.assertEqual(caller.ask("GET", "/a%20b/%C3%A9+(*)@").body, b"kept")
        self.assertSucceeded(caller.ask("PUT", "/health", b"a key"))
        self.assertEqual(caller.ask("GET", "/health").body, b"a key")
        listed = caller.ask("GET", "/?list-type=2&prefix=heal")
        self.assertEqual((listed.text("Name"), listed.texts("Contents/Key")), ("photos", ["health"]))
        self.assertSucceeded(caller.ask("DELETE", "/health"), 204)
        for host in ("PHOTOS.S3.Example.net:1234", "photos.s3.example.net:80"):
            with self.subTest(host):
                answer = evolve(self.alice, host=host).ask("GET", "/a%20b/%C3%A9+(*)@")
                self.assertEqual(answer.body, b"kept")

    def test_path_style_hosts(self) -> None:
        """A base itself, an address or somebody else's name are path style."""
        for host in (
            "s3.example.net",
            "127.0.0.1:9000",
            "[::1]:9000",
            "photos.example.org",
            "s3.example.net.",
        ):
            with self.subTest(host):
                self.assertEqual(evolve(self.alice, host=host).ask("GET", self.target).body, b"kept")

    def _ask(self, method: str, target: str, body: bytes = b"", headers: Headers | None = None) -> Answer:
        return self.alice.ask_unsigned(method, target, body, headers)


class ResponseOverrideTests(ServerCase):
    """`response-*` parameters."""

    def test_overrides(self) -> None:
        """They replace headers of 200 and 206, and only there."""
        stored = {"content-type": "text/plain", "cache-control": "no-store"}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data", stored))
        wanted = {
            "content-type": "image/png",
            "content-language": "de",
            "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
            "cache-control": "max-age=1",
            "content-disposition": 'attachment; filename="ä b.png"',
            "content-encoding": "gzip",
        }
        query = "&".join(f"response-{name}={quote(value)}" for name, value in wanted.items())
        for method, headers, status in (
            ("GET", {}, 200),
            ("HEAD", {}, 200),
            ("GET", {"range": "bytes=0-1"}, 206),
        ):
            with self.subTest(f"{method} {headers}"):
                answer = self.alice.ask(method, f"/photos/a?{query}", headers=headers)
                self.assertEqual(answer.status, status)
                for name, value in wanted.items():
                    self.assertEqual((answer.header(name) or "").encode("latin-1").decode(), value)
        plain = self.alice.ask("GET", "/photos/a")
        self.assertEqual(plain.header("content-type"), "text/plain")
        missing = self.alice.ask("GET", f"/photos/none?{query}")
        self.assertRefused(missing, 404, "NoSuchKey")

    def test_split_headers(self) -> None:
        """A line break in them is refused."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data"))
        for value in ("a%0d%0aSet-Cookie:b", "a%0ab", "a%0db"):
            with self.subTest(value):
                answer = self.alice.ask("GET", f"/photos/a?response-content-type={value}")
                self.assertRefused(answer, 400, "InvalidArgument")

    def test_unsigned(self) -> None:
        """Without a signature nobody gets so far."""
        answer = self.alice.ask_unsigned("GET", "/photos/a?response-content-type=x")
        self.assertIn(answer.status, (400, 403))
