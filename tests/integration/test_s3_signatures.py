"""Everything that must be let in: signatures in headers and URLs, tokens, virtual hosts."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

from attrs import evolve

from tests.integration.asking import UNSIGNED, Answer, Headers, Wire
from tests.integration.changing import replaced
from tests.integration.s3_server import ServerCase

MISMATCH = "SignatureDoesNotMatch"


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
