"""Who is asking: every way to get a signature wrong."""

from __future__ import annotations

from attrs import Factory, evolve, frozen

from tests.integration.asking import Headers, Wire, head
from tests.integration.changing import Change, replaced
from tests.integration.s3_server import ServerCase

DATE = r"x-amz-date: \S+"
HEADER = "AuthorizationHeaderMalformed"
QUERY = "AuthorizationQueryParametersError"
MISMATCH = "SignatureDoesNotMatch"


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
