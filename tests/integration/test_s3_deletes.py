"""Deletes that must not happen, of one object and of many."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5, sha256

from tests.integration.asking import UNSIGNED, Wire
from tests.integration.s3_server import ServerCase

BAD_MD5 = b64encode(md5(b"tada").digest()).decode()
CRC32 = "rfPzYw=="  # of b'data'


class DeleteRefusalTests(ServerCase):
    """Deletes, of one and of many."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))

    def test_one(self) -> None:
        """A condition that does not hold keeps the object."""
        before = self.server.settled()
        for target, headers, status, code in (
            ("/photos/a", {"if-match": '"0123"'}, 412, "PreconditionFailed"),
            ("/photos/none", {"if-match": "*"}, 404, "NoSuchKey"),
            ("/photos/a", {"if-none-match": "*"}, 501, "NotImplemented"),
            ("/photos/a", {"x-amz-if-match-size": "4"}, 501, "NotImplemented"),
            ("/photos/a", {"if-unmodified-since": "Fri, 01 Jan 2021 00:00:00 GMT"}, 501, "NotImplemented"),
            ("/photos/a?versionId=", {}, 400, "InvalidArgument"),
        ):
            with self.subTest(f"{target} {headers}"):
                self.assertRefused(self.alice.ask("DELETE", target, headers=headers), status, code)
        self.assertEqual(self.server.settled(), before)
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/a?versionId=nothing"), 204)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"kept")

    def test_many(self) -> None:
        """A list that cannot be understood deletes nothing of it."""
        before = self.server.settled()
        one = b"<Object><Key>a</Key></Object>"
        for name, body, code in (
            ("nothing", b"", "MissingRequestBodyError"),
            ("no XML", b"a, b, c", "MalformedXML"),
            ("not closed", b"<Delete>" + one, "MalformedXML"),
            ("another root", b"<Remove>" + one + b"</Remove>", "MalformedXML"),
            ("no object", b"<Delete></Delete>", "MalformedXML"),
            ("no key", b"<Delete><Object></Object></Delete>", "MalformedXML"),
            ("empty key", b"<Delete><Object><Key></Key></Object></Delete>", "MalformedXML"),
            ("one without key", b"<Delete>" + one + b"<Object/></Delete>", "MalformedXML"),
            ("two keys", b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", "MalformedXML"),
            ("too many", b"<Delete>" + 1001 * one + b"</Delete>", "MalformedXML"),
            ("quietly what", b"<Delete><Quiet>perhaps</Quiet>" + one + b"</Delete>", "MalformedXML"),
            ("no UTF-8", b"<Delete><Object><Key>\xff</Key></Object></Delete>", "MalformedXML"),
            ("control character", b"<Delete><Object><Key>\x01</Key></Object></Delete>", "MalformedXML"),
            ("document type", b"<!DOCTYPE Delete><Delete>" + one + b"</Delete>", "MalformedXML"),
            (
                "entities",
                b'<!DOCTYPE d [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
                b"<Delete><Object><Key>&c;</Key></Object></Delete>",
                "MalformedXML",
            ),
            ("depth", b"<Delete>" + 1000 * b"<a>" + 1000 * b"</a>" + one + b"</Delete>", "MalformedXML"),
            ("two documents", b"<Delete>" + one + b"</Delete><Delete>" + one + b"</Delete>", "MalformedXML"),
            ("long", b"<Delete>" + one + 2200000 * b" " + b"</Delete>", "MaxMessageLengthExceeded"),
            (
                "long key",
                b"<Delete>" + one + b"<Object><Key>" + 1025 * b"k" + b"</Key></Object></Delete>",
                "KeyTooLongError",
            ),
        ):
            for payload_hash in (None, UNSIGNED):
                with self.subTest(f"{name} {payload_hash!r}"):
                    answer = self.alice.ask("POST", "/photos?delete", body, payload_hash=payload_hash)
                    self.assertRefused(answer, 400, code)
        self.assertEqual(self.server.settled(), before)

    def test_in_pieces(self) -> None:
        """It makes no difference how the document's bytes arrive, or whether more of it follows."""
        before = self.server.settled()
        for body in (b"<Delete><Wrong" + 50000 * b" ", b"no XML at all" + 100000 * b"x"):
            with self.subTest(body[:20]), Wire(self.server.address) as wire:
                headers = {"content-length": str(len(body))}
                wire.send(self.alice.request("POST", "/photos?delete", b"", headers, payload_hash=UNSIGNED))
                for at in range(0, len(body), 5000):
                    wire.send(body[at : at + 5000])
                self.assertRefused(wire.answer(), 400, "MalformedXML")
        self.assertEqual(self.server.settled(), before)

    def test_digests(self) -> None:
        """A document that is not what was signed or declared deletes nothing."""
        before = self.server.settled()
        body = b"<Delete><Object><Key>a</Key></Object></Delete>"
        for headers, payload_hash, code in (
            ({"content-md5": BAD_MD5}, None, "BadDigest"),
            ({"content-md5": "x"}, None, "InvalidDigest"),
            ({"x-amz-checksum-crc32": CRC32}, None, "BadDigest"),
            ({}, sha256(b"other").hexdigest().encode(), "XAmzContentSHA256Mismatch"),
        ):
            with self.subTest(code):
                answer = self.alice.ask("POST", "/photos?delete", body, headers, payload_hash=payload_hash)
                self.assertRefused(answer, 400, code)
        self.assertEqual(self.server.settled(), before)
        right = {"content-md5": b64encode(md5(body).digest())}
        self.assertSucceeded(self.alice.ask("POST", "/photos?delete", body, right))
        self.assertRefused(self.alice.ask("GET", "/photos/a"), 404, "NoSuchKey")

    def test_conditions(self) -> None:
        """An entry whose condition fails is an error among successes, and its object stays."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/b", b"data"))
        body = (
            b"<Delete><Object><Key>a</Key><ETag>0123</ETag></Object>"
            b'<Object><Key>b</Key><ETag>"%b"</ETag></Object><Object><Key>a&#13;b</Key></Object></Delete>'
            % md5(b"data").hexdigest().encode()
        )
        answer = self.assertSucceeded(self.alice.ask("POST", "/photos?delete", body))
        self.assertEqual(answer.texts("Error/Key"), ["a"])
        self.assertEqual(answer.texts("Error/Code"), ["PreconditionFailed"])
        self.assertEqual(answer.texts("Deleted/Key"), ["b", "a\rb"])
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"kept")
        self.assertRefused(self.alice.ask("GET", "/photos/b"), 404, "NoSuchKey")
