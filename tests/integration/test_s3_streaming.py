"""Bodies on the wire: when the client may send, and what if it stops."""

from __future__ import annotations

from tests.integration.asking import (
    UNSIGNED,
    Caller,
    Headers,
    Wire,
)
from tests.integration.framing import (
    EXPECT,
    LARGE,
    SMALL,
)
from tests.integration.s3_server import DIRECTORIES, ServerCase


class ContinueTests(ServerCase):
    """`Expect: 100-continue`."""

    def test_asked(self) -> None:
        """The client is told to go on, once, and only when its bytes have been set aside."""
        for data in (SMALL, LARGE):
            with self.subTest(len(data)), Wire(self.server.address) as wire:
                wire.send(self.alice.request("PUT", "/photos/a", data, EXPECT))
                status, _ = wire.head()
                self.assertEqual(status, 100)
                (reserved,) = self.server.contents()["unsettled"]
                self.assertIn("pending", reserved)
                wire.send(data)
                answer = wire.answer()
                self.assertEqual((answer.status, answer.interim), (200, ()))
                self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, data)

    def test_did_not_wait(self) -> None:
        """A client that sends at once hears at most one 100."""
        answer = self.assertSucceeded(self.alice.ask("PUT", "/photos/a", LARGE, EXPECT))
        self.assertIn(answer.interim, ((), (100,)))

    def test_other_expectations(self) -> None:
        """Other values, and requests without a body, are not answered with 100."""
        for method, body, value in (
            ("PUT", SMALL, "200-ok"),
            ("PUT", b"", "100-continue"),
            ("GET", b"", "100-continue"),
            ("DELETE", b"", "100-continue"),
        ):
            with self.subTest(f"{method} {value}"):
                answer = self.alice.ask(method, "/photos/a", body, {"expect": value})
                self.assertIn(answer.status, (200, 204))
                self.assertEqual(answer.interim, ())

    def test_document(self) -> None:
        """Documents are waited for in the same way."""
        body = b"<Delete><Object><Key>a</Key></Object></Delete>"
        with Wire(self.server.address) as wire:
            wire.send(self.alice.request("POST", "/photos?delete", body, EXPECT))
            self.assertEqual(wire.head()[0], 100)
            wire.send(body)
            self.assertSucceeded(wire.answer())

    def test_refused(self) -> None:
        """Whoever is refused is not told to go on: the answer comes instead, and nothing is set aside."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))
        before = self.server.settled()
        long = {"content-length": "1000000"}
        rows: tuple[tuple[Caller, str, Headers, int, str], ...] = (
            (self.server.caller("alice", "wrong"), "/photos/a", long, 403, "SignatureDoesNotMatch"),
            (self.server.caller("nobody", "x"), "/photos/a", long, 403, "InvalidAccessKeyId"),
            (self.server.caller("reader"), "/photos/a", long, 403, "AccessDenied"),
            (self.server.caller("docskey"), "/photos/a", long, 403, "AccessDenied"),
            (self.alice, "/nowhere/a", long, 404, "NoSuchBucket"),
            (self.alice, "/photos/a?partNumber=1&uploadId=none", long, 404, "NoSuchUpload"),
            (self.alice, "/photos/a?tagging", long, 501, "NotImplemented"),
            (self.alice, "/photos/a", {**long, "if-none-match": "*"}, 412, "PreconditionFailed"),
            (self.alice, "/photos/a", {**long, "x-amz-tagging": "a=b"}, 501, "NotImplemented"),
            (self.alice, "/photos/a", {**long, "content-md5": "x"}, 400, "InvalidDigest"),
            (self.alice, "/photos/a", {"content-length": str(6 * 1024**3)}, 400, "EntityTooLarge"),
        )
        for caller, target, headers, status, code in rows:
            with self.subTest(code), Wire(self.server.address) as wire:
                wire.send(caller.request("PUT", target, headers={**EXPECT, **headers}))
                answer = wire.answer()
                self.assertRefused(answer, status, code)
                self.assertEqual(answer.interim, ())
                # It may send its body or not, so nothing else can come on this connection.
                self.assertEqual(answer.header("connection"), "close")
        self.assertEqual(self.server.settled(), before)


# Form, what is done to its body, the answer.
class CutOffTests(ServerCase):
    """Clients that leave in the middle."""

    settings = {"read_timeout": "1s", "read_header_timeout": "1s"}

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))
        self.before = self.server.settled()

    def _upload(self, wire: Wire, length: int, target: str = "/photos/a") -> None:
        """Begin an upload, and wait until its body is wanted."""
        headers = {"content-length": str(length), **EXPECT}
        wire.send(self.alice.request("PUT", target, headers=headers, payload_hash=UNSIGNED))
        self.assertEqual(wire.head()[0], 100)

    def test_uploads(self) -> None:
        """An upload that stops is refused where that can still be said; nothing of it stays."""
        for length in (1000, 1_000_000):
            for sent in (0, 1, length - 1):
                with self.subTest(f"{sent} of {length}"), Wire(self.server.address) as wire:
                    self._upload(wire, length)
                    wire.send(sent * b"x")
                    wire.end()
                    answer = wire.answer()
                    self.assertRefused(answer, 400, "IncompleteBody")
                    self.assertTrue(wire.is_closed())
                with self.subTest(f"{sent} of {length}, gone"), Wire(self.server.address) as wire:
                    self._upload(wire, length)
                    wire.send(sent * b"x")
        self.assertEqual(self.server.settled(), self.before)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"kept")

    def test_silence(self) -> None:
        """An upload that goes silent is given up after a while."""
        with Wire(self.server.address) as small, Wire(self.server.address) as large:
            for wire, length in ((small, 1000), (large, 1_000_000)):
                self._upload(wire, length)
                wire.send(b"x" * 500)
            for wire in (small, large):
                answer = wire.answer()
                self.assertRefused(answer, 400, "RequestTimeout")
                self.assertEqual(answer.header("connection"), "close")
                self.assertTrue(wire.is_closed())
        self.assertEqual(self.server.settled(), self.before)

    def test_before_anybody_reads(self) -> None:
        """Who ends the connection at once has left, or hears of it; nothing is stored either way."""
        for length in (1000, 1_000_000):
            with Wire(self.server.address) as wire:
                headers = {"content-length": str(length)}
                sent = self.alice.request("PUT", "/photos/a", headers=headers, payload_hash=UNSIGNED)
                wire.send(sent + b"x")
                wire.end()
                said = wire.rest()
                self.assertTrue(not said or b"<Code>IncompleteBody</Code>" in said, said)
        self.assertEqual(self.server.settled(), self.before)

    def test_parts(self) -> None:
        """A part that is cut short leaves the earlier part of that number."""
        upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId")
        target = f"/photos/up?partNumber=1&uploadId={upload}"
        self.assertSucceeded(self.alice.ask("PUT", target, b"first"))
        for length in (1000, 1_000_000):
            with self.subTest(length), Wire(self.server.address) as wire:
                self._upload(wire, length, target)
                wire.send(b"second")
                wire.end()
                self.assertRefused(wire.answer(), 400, "IncompleteBody")
                listed = self.alice.ask("GET", f"/photos/up?uploadId={upload}")
                self.assertEqual(listed.texts("Part/Size"), ["5"])
        self.assertSucceeded(self.alice.ask("DELETE", f"/photos/up?uploadId={upload}"), 204)
        after = self.server.settled()
        self.assertEqual({**after, "uploads": self.before["uploads"]}, self.before)


class CutOffOnDirectoriesTests(CutOffTests):
    """The same, with objects in files."""

    backends = DIRECTORIES
