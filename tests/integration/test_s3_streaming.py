"""Bodies on the wire: when the client may send, how it frames, at which pace, and what if it stops."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1, sha256
from random import Random
from zlib import crc32

from attrs import frozen

from s3orchestrator.backends.faults import Fault
from tests.integration.asking import (
    SIGNED_CHUNKS,
    SIGNED_TRAILER,
    UNSIGNED,
    UNSIGNED_TRAILER,
    Answer,
    Caller,
    Chunks,
    Hangup,
    Headers,
    Wire,
    http_chunked,
)
from tests.integration.s3_server import DIRECTORIES, Server, ServerCase
from tests.integration.slow_backend import SlowBackend

SMALL = b"The quick brown fox jumps over the lazy dog. " * 100
LARGE = bytes(range(256)) * 4096  # 1 MiB, four times what is kept
EXPECT = {"expect": "100-continue"}
MISMATCH = "SignatureDoesNotMatch"
BAD_TRAILER = "MalformedTrailerError"


def crc_of(data: bytes) -> str:
    """CRC32 as S3 writes it."""
    return b64encode(crc32(data).to_bytes(4, "big")).decode()


def _base64(digits: str) -> str:
    return b64encode(bytes.fromhex(digits)).decode()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


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
            (self.server.caller("alice", "wrong"), "/photos/a", long, 403, MISMATCH),
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


@frozen
class Form:
    """A way to send a body."""

    payload_hash: bytes
    has_trailer: bool

    def request(self, caller: Caller, data: bytes, headers: Headers | None = None, **more: str) -> bytes:
        """The head for `data`, without a word about how long its framed form is."""
        sent: dict[str, str | bytes] = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(data)),
            **(headers or {}),
        }
        if self.has_trailer:
            sent.setdefault("x-amz-trailer", "x-amz-checksum-crc32")
        framed = {"transfer-encoding": "chunked", **sent}
        return caller.request(
            "PUT", more.get("target", "/photos/a"), b"", framed, payload_hash=self.payload_hash
        )

    def chunks(self, caller: Caller, request: bytes) -> Chunks:
        return Chunks(caller.secret, None if self.payload_hash == UNSIGNED_TRAILER else request)

    def body(self, caller: Caller, request: bytes, data: bytes, size: int) -> bytes:
        """The framed body."""
        trailers = [("x-amz-checksum-crc32", crc_of(data))] if self.has_trailer else None
        return self.chunks(caller, request).body(pieces(data, size), trailers)


SIGNED_FORM = "signed, with a trailer"
UNSIGNED_FORM = "unsigned, with a trailer"
FORMS = {
    "signed": Form(SIGNED_CHUNKS, False),
    SIGNED_FORM: Form(SIGNED_TRAILER, True),
    UNSIGNED_FORM: Form(UNSIGNED_TRAILER, True),
}


def with_length(request: bytes, body: bytes) -> bytes:
    """The same request, its body not in HTTP's chunks but counted."""
    assert b"transfer-encoding: chunked\r\n" in request
    return request.replace(b"transfer-encoding: chunked", b"content-length: %d" % len(body))


class FramedTests(ServerCase):
    """aws-chunked uploads."""

    def _send(self, request: bytes, body: bytes) -> Answer:
        with Wire(self.server.address) as wire:
            wire.send(with_length(request, body), body)
            return wire.answer()

    def test_good(self) -> None:
        """Every form, in chunks of every size, counted or in HTTP's own chunks, stores what is inside."""
        for name, form in FORMS.items():
            for data, size in (
                (SMALL, 4500),
                (SMALL, 1),
                (SMALL, 1000),
                (b"", 1),
                (LARGE, 65536),
                (LARGE, 1 << 20),
            ):
                for coded in (0, 7, 65536):
                    if coded == 7 and data is LARGE:
                        continue
                    with (
                        self.subTest(f"{name}, {len(data)} by {size} in {coded}"),
                        Wire(self.server.address) as wire,
                    ):
                        request = form.request(self.alice, data)
                        body = form.body(self.alice, request, data, size)
                        if coded:
                            wire.send(request, http_chunked(body, coded))
                        else:
                            wire.send(with_length(request, body), body)
                        answer = self.assertSucceeded(wire.answer())
                        if form.has_trailer:
                            self.assertEqual(answer.header("x-amz-checksum-crc32"), crc_of(data))
                        self._check(wire, data)

    def _check(self, wire: Wire, data: bytes) -> None:
        answer = self.alice.ask("GET", "/photos/a", wire=wire)
        self.assertEqual(answer.body, data)
        self.assertIsNone(answer.header("content-encoding"))

    def test_dribbled(self) -> None:
        """It makes no difference where the bytes are cut."""
        data = SMALL[:200]
        for name, form in FORMS.items():
            with self.subTest(name), Wire(self.server.address) as wire:
                request = form.request(self.alice, data)
                body = form.body(self.alice, request, data, 50)
                for piece in pieces(with_length(request, body) + body, 3):
                    wire.send(piece)
                self.assertSucceeded(wire.answer())
                self._check(wire, data)

    def test_content_encodings(self) -> None:
        """Only what describes the object is stored, whatever the payload's form."""
        for sent, stored in (
            ("aws-chunked", None),
            ("aws-chunked,gzip", "gzip"),
            ("gzip, aws-chunked", "gzip"),
            ("gzip", "gzip"),
            ("", None),
        ):
            with self.subTest(sent):
                form = FORMS["unsigned, with a trailer"]
                request = form.request(self.alice, SMALL, {"content-encoding": sent})
                self.assertSucceeded(self._send(request, form.body(self.alice, request, SMALL, 999)))
                self.assertEqual(self.alice.ask("HEAD", "/photos/a").header("content-encoding"), stored)
                self.assertSucceeded(self.alice.ask("PUT", "/photos/b", SMALL, {"content-encoding": sent}))
                self.assertEqual(self.alice.ask("HEAD", "/photos/b").header("content-encoding"), stored)

    def test_lenient_trailers(self) -> None:
        """Lines of a trailer may end as some clients end them."""
        form = FORMS["unsigned, with a trailer"]
        line = f"x-amz-checksum-crc32:{crc_of(SMALL)}".encode()
        for trailer in (
            line + b"\r\n\r\n",
            line + b"\n\n",
            line + b"\r\n",
            line + b"\n",
            line,
            b"X-Amz-Checksum-CRC32:   " + line.partition(b":")[2] + b"\r\n\r\n",
        ):
            with self.subTest(trailer):
                request = form.request(self.alice, SMALL)
                body = b"%x\r\n%s\r\n0\r\n" % (len(SMALL), SMALL) + trailer
                self.assertSucceeded(self._send(request, body))

    def test_every_checksum(self) -> None:
        """A trailer may have any algorithm; the values are those of `123456789` in S3's documentation."""
        data = b"123456789"
        for name, value in (
            ("crc32", _base64("cbf43926")),
            ("crc32c", _base64("e3069283")),
            ("crc64nvme", _base64("ae8b14860a799888")),
            ("sha1", _base64(sha1(data).hexdigest())),
            ("sha256", _base64(sha256(data).hexdigest())),
        ):
            for given, status in ((value, 200), (value[1:2] + value[:1] + value[2:], 400)):
                with self.subTest(f"{name} {given}"):
                    form = FORMS["unsigned, with a trailer"]
                    header = f"x-amz-checksum-{name}"
                    request = form.request(self.alice, data, {"x-amz-trailer": header})
                    body = Chunks().body([data], [(header, given)])
                    answer = self._send(request, body)
                    self.assertEqual(answer.status, status, answer.body)
                    if status == 200:
                        self.assertEqual(answer.header(header), value)
                    else:
                        self.assertEqual(answer.code, "BadDigest")

    def test_part(self) -> None:
        """Parts may be framed as well."""
        upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId")
        for number, form in enumerate(FORMS.values(), 1):
            target = f"/photos/up?partNumber={number}&uploadId={upload}"
            request = form.request(self.alice, SMALL, target=target)
            self.assertSucceeded(self._send(request, form.body(self.alice, request, SMALL, 999)))

    def test_document(self) -> None:
        """And documents, by clients that frame everything."""
        document = b"<Delete><Object><Key>a</Key></Object></Delete>"
        body = Chunks().body([document], [("x-amz-checksum-crc32", crc_of(document))])
        headers = {
            "x-amz-decoded-content-length": str(len(document)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
        answer = self.alice.ask("POST", "/photos?delete", body, headers, payload_hash=UNSIGNED_TRAILER)
        self.assertEqual(self.assertSucceeded(answer).texts("Deleted/Key"), ["a"])


Spoil = Callable[[bytes], bytes]


def swap(old: bytes, new: bytes, occurrence: int = 1) -> Spoil:
    """Replace one occurrence in a framed body, which must be there; -1 is the last."""

    def change(body: bytes) -> bytes:
        parts = body.split(old)
        at = occurrence if occurrence > 0 else len(parts) + occurrence
        assert len(parts) > at, (old, body[-300:])
        return old.join(parts[:at]) + new + old.join(parts[at:])

    return change


# Form, what is done to its body, the answer.
SPOILED: tuple[tuple[str, str, Spoil, int, str], ...] = (
    ("signed", "first signature", swap(b"signature=", b"signature=0bad"), 403, MISMATCH),
    ("signed", "second signature", swap(b"signature=", b"signature=0bad", 2), 403, MISMATCH),
    ("signed", "last signature", swap(b"signature=", b"signature=0bad", -1), 403, MISMATCH),
    ("signed", "first chunk", swap(b"quick", b"quack"), 403, MISMATCH),
    ("signed", "a later chunk", swap(b"quick", b"quack", 60), 403, MISMATCH),
    ("signed", "no signature", swap(b";chunk-signature=", b";no-signature=", 2), 403, MISMATCH),
    ("signed", "no last chunk", lambda body: body[: body.rindex(b"0;chunk")], 400, "IncompleteBody"),
    ("signed", "half of it", lambda body: body[: len(body) // 2], 400, "IncompleteBody"),
    ("signed", "trailer", lambda body: body[:-2] + b"a:b\r\n\r\n", 400, BAD_TRAILER),
    (
        SIGNED_FORM,
        "trailer's signature",
        swap(b"trailer-signature:", b"trailer-signature:0bad"),
        403,
        MISMATCH,
    ),
    (
        SIGNED_FORM,
        "no trailer signature",
        lambda body: body[: body.index(b"x-amz-trailer-signature")] + b"\r\n",
        403,
        MISMATCH,
    ),
    (SIGNED_FORM, "trailer", swap(b"crc32:", b"crc32:AA"), 403, MISMATCH),
    (UNSIGNED_FORM, "data", swap(b"quick", b"quack", 60), 400, "BadDigest"),
    (UNSIGNED_FORM, "check", swap(b"crc32:" + crc_of(SMALL).encode(), b"crc32:AAAAAA=="), 400, "BadDigest"),
    (UNSIGNED_FORM, "no checksum", swap(b"crc32:", b"crc32:?"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "empty checksum", swap(crc_of(SMALL).encode(), b""), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "another trailer", swap(b"-crc32:", b"-sha1:"), 400, BAD_TRAILER),
    (
        UNSIGNED_FORM,
        "no trailer",
        lambda body: body[: body.index(b"x-amz-checksum")] + b"\r\n",
        400,
        BAD_TRAILER,
    ),
    (
        UNSIGNED_FORM,
        "one trailer more",
        lambda body: body[:-2] + b"x-amz-meta-a:b\r\n\r\n",
        400,
        BAD_TRAILER,
    ),
    (UNSIGNED_FORM, "no colon", swap(b"crc32:", b"crc32 "), 400, BAD_TRAILER),
    (
        UNSIGNED_FORM,
        "endless trailer",
        lambda body: body[:-2] + 5000 * b"x" + b"\r\n\r\n",
        400,
        BAD_TRAILER,
    ),
    (UNSIGNED_FORM, "size", swap(b"3e8\r\n", b"3e9\r\n"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "size in words", swap(b"3e8\r\n", b"many\r\n", 2), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "negative size", swap(b"3e8\r\n", b"-3e8\r\n"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "huge size", swap(b"3e8\r\n", b"ffffffffffffffff\r\n"), 400, "IncompleteBody"),
    (UNSIGNED_FORM, "endless size", swap(b"3e8\r\n", 300 * b"0" + b"\r\n"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "no size", swap(b"3e8\r\n", b"\r\n"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "bare line feed", swap(b"3e8\r\n", b"3e8\n"), 400, "InvalidRequest"),
    (UNSIGNED_FORM, "early end", swap(b"3e8\r\n", b"0\r\n\r\n", 2), 400, "IncompleteBody"),
)  # fmt: skip


class SpoiledTests(ServerCase):
    """Framed uploads with something wrong about them."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))

    def test_bodies(self) -> None:
        """A mistake anywhere in the framing leaves the old object, and nothing of the new one."""
        before = self.server.settled()
        for name, mistake, spoil, status, code in SPOILED:
            with self.subTest(f"{name}: {mistake}"):
                form = FORMS[name]
                request = form.request(self.alice, SMALL)
                body = spoil(form.body(self.alice, request, SMALL, 1000))
                for sent in (with_length(request, body) + body, request + http_chunked(body, 333)):
                    with Wire(self.server.address) as wire:
                        wire.send(sent)
                        self.assertRefused(wire.answer(), status, code)
        self.assertEqual(self.server.settled(), before)

    def test_large(self) -> None:
        """So does one in a body that is passed on while it arrives."""
        before = self.server.settled()
        for name, spoil, status, code in (
            ("signed", swap(b"signature=", b"signature=0bad", 8), 403, MISMATCH),
            ("signed", swap(b"signature=", b"signature=0bad", -1), 403, MISMATCH),
            ("unsigned, with a trailer", swap(b"crc32:", b"crc32:????"), 400, "InvalidRequest"),
            ("unsigned, with a trailer", swap(b"10000\r\n", b"10001\r\n", 9), 400, "InvalidRequest"),
        ):
            with self.subTest(f"{name} {code}"), Wire(self.server.address) as wire:
                form = FORMS[name]
                request = form.request(self.alice, LARGE)
                body = spoil(form.body(self.alice, request, LARGE, 65536))
                wire.send(with_length(request, body), body)
                self.assertRefused(wire.answer(), status, code)
        self.assertEqual(self.server.settled(), before)

    def test_headers(self) -> None:
        """What the head says of the body must make sense."""
        before = self.server.settled()
        form = FORMS["unsigned, with a trailer"]
        for name, value, status, code in (
            ("x-amz-decoded-content-length", "many", 400, "InvalidArgument"),
            ("x-amz-decoded-content-length", "-1", 400, "InvalidArgument"),
            ("x-amz-decoded-content-length", "", 400, "InvalidArgument"),
            ("x-amz-decoded-content-length", str(len(SMALL) + 1), 400, "IncompleteBody"),
            ("x-amz-decoded-content-length", str(len(SMALL) - 1), 400, "IncompleteBody"),
            ("x-amz-decoded-content-length", str(6 * 1024**3), 400, "EntityTooLarge"),
            ("x-amz-trailer", "x-amz-checksum-crc16", 400, "InvalidRequest"),
            ("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1", 400, "InvalidRequest"),
            ("x-amz-trailer", "content-md5", 400, "InvalidRequest"),
            ("x-amz-trailer", "", 400, BAD_TRAILER),
            ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 400, "InvalidRequest"),
        ):
            with self.subTest(f"{name}: {value}"), Wire(self.server.address) as wire:
                request = form.request(self.alice, SMALL, {name: value})
                body = http_chunked(form.body(self.alice, request, SMALL, 1000), 1000)
                wire.send(request, body)
                self.assertRefused(wire.answer(), status, code)
        answer = self.alice.ask("PUT", "/photos/a", b"0\r\n\r\n", payload_hash=UNSIGNED_TRAILER)
        self.assertRefused(answer, 411, "MissingContentLength")
        self.assertEqual(self.server.settled(), before)

    def test_malformed_coding(self) -> None:
        """Broken chunks of HTTP end the upload and the connection."""
        before = self.server.settled()
        form = FORMS["unsigned, with a trailer"]
        for broken in (b"zz\r\n", b"5\r\nabcdefgh\r\n", b"-1\r\n", b"5\nabcde\n", b"1" * 2000):
            with self.subTest(broken[:10]), Wire(self.server.address) as wire:
                request = form.request(self.alice, SMALL)
                whole = http_chunked(form.body(self.alice, request, SMALL, 1000), 1000)
                wire.send(request, whole[:2000], whole[2000 : whole.index(b"\r\n", 3000) + 2], broken)
                answer = wire.answer()
                self.assertRefused(answer, 400, "IncompleteBody")
                self.assertEqual(answer.header("connection"), "close")
                self.assertTrue(wire.is_closed())
        self.assertEqual(self.server.settled(), before)


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


class PaceTests(ServerCase):
    """Large bodies go at the pace of the slower end."""

    memory_class = SlowBackend
    settings = {"max_concurrent_requests": 25, "admission_wait": "5s"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.data = bytes(32 << 20)
        cls.server.caller().ask("PUT", "/photos/big", cls.data, payload_hash=UNSIGNED)

    def setUp(self) -> None:
        super().setUp()
        self.backend = self.server.memory("a")
        self.backend.bodies.clear()

    def test_slow_reader(self) -> None:
        """A client that reads nothing is not read for: little is taken from the backend."""
        with Wire(self.server.address, receive_buffer=65536) as wire:
            wire.send(self.alice.request("GET", "/photos/big"))
            wire.head()
            produced = self._settled_at()
            self.assertLess(produced, 16 << 20)  # what the kernel holds, and a few reads
            self.assertEqual(len(wire._exactly(len(self.data))), len(self.data))

    def _settled_at(self) -> int:
        """What has been produced, once it stays like that."""
        produced = -1
        while produced != self.backend.bodies[0].produced:
            produced = self.backend.bodies[0].produced
            time.sleep(0.2)
        return produced

    def test_reader_leaves(self) -> None:
        """A client that leaves stops the backend's transfer."""
        with Wire(self.server.address, receive_buffer=65536) as wire:
            wire.send(self.alice.request("GET", "/photos/big"))
            wire.head()
        deadline = time.monotonic() + 10
        while not self.backend.bodies[0].stopped:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_many_leave(self) -> None:
        """However many leave, at whatever moment: every transfer is stopped, and every slot free again."""
        random = Random(5)
        for round_ in range(3):
            wires = [Wire(self.server.address, receive_buffer=65536) for _ in range(20)]
            for wire in wires:
                wire.send(self.alice.request("GET", "/photos/big"))
            for wire in wires[round_ * 10 :]:  # of the others some have begun to receive
                wire.head()
            random.shuffle(wires)
            for wire in wires:
                wire.close()
        deadline = time.monotonic() + 10
        while not all(body.stopped for body in self.backend.bodies):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        with ThreadPoolExecutor(10) as threads:
            asked = [threads.submit(self.alice.ask, "HEAD", "/photos/big") for _ in range(30)]
        self.assertEqual({one.result().status for one in asked}, {200})

    def test_slow_backend(self) -> None:
        """A backend that takes nothing makes the client wait, rather than us keep what it sends."""
        self.server.run(self.backend.hold)
        with Wire(self.server.address) as wire:
            wire.socket.settimeout(0.5)
            length = {"content-length": str(len(self.data))}
            wire.send(self.alice.request("PUT", "/photos/slow", headers=length, payload_hash=UNSIGNED))
            sent = 0
            try:
                while sent < len(self.data):
                    sent += wire.socket.send(self.data[sent : sent + 65536])
            except TimeoutError:
                pass
            self.assertLess(sent, 16 << 20)
            self.server.run(self.backend.release)
            wire.socket.settimeout(10)
            wire.send(self.data[sent:])
            self.assertSucceeded(wire.answer())


class FailingBackendTests(ServerCase):
    """Backends that fail while a client waits."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", LARGE, payload_hash=UNSIGNED))

    def tearDown(self) -> None:
        for name in ("a", "b"):
            self.server.memory(name).faults.clear()
        super().tearDown()

    def test_dies_on_read(self) -> None:
        """Half an object never looks like a whole: the connection ends before the announced length."""
        self.server.memory("a").faults.next("get", Fault.TRUNCATED, *10 * [Fault.REFUSED])
        with Wire(self.server.address) as wire:
            wire.send(self.alice.request("GET", "/photos/a"))
            hangup = self.assertRaises(Hangup, wire.answer)
        self.assertLess(len(hangup.received), len(LARGE))

    def test_dies_and_comes_back(self) -> None:
        """If the rest can be had again, the client notices nothing."""
        self.server.memory("a").faults.next("get", Fault.TRUNCATED)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, LARGE)

    def test_down_on_read(self) -> None:
        """No copy can be read: 503, and come back."""
        self.server.memory("a").faults.always(Fault.REFUSED, "get")
        answer = self.alice.ask("GET", "/photos/a")
        self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertTrue(answer.header("retry-after"))
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").status, 200)

    def test_one_down_on_write(self) -> None:
        """Another backend takes the object."""
        self.server.memory("a").faults.always(Fault.REFUSED, "put")
        for name, data in (("b", b"data"), ("c", LARGE)):
            with self.subTest(name):
                self.assertSucceeded(self.alice.ask("PUT", f"/photos/{name}", data, payload_hash=UNSIGNED))
                stored = [held.data for held in self.server.memory("b").objects.values()]
                self.assertIn(data, stored)
                self.assertEqual(self.alice.ask("GET", f"/photos/{name}").body, data)

    def test_all_down_on_write(self) -> None:
        """No backend takes it: 503, and the old object stays."""
        before = self.server.settled()
        for name in ("a", "b"):
            self.server.memory(name).faults.always(Fault.REFUSED, "put")
        for data in (b"data", LARGE):
            with self.subTest(len(data)):
                answer = self.alice.ask("PUT", "/photos/a", data, payload_hash=UNSIGNED)
                self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertEqual(self.server.settled(), before)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, LARGE)

    def test_dies_on_write(self) -> None:
        """A small body is tried elsewhere; a large one that was started cannot be."""
        self.server.memory("a").faults.next("put", Fault.TRUNCATED)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/b", SMALL))
        self.assertEqual(self.alice.ask("GET", "/photos/b").body, SMALL)
        self.server.memory("a").faults.next("put", Fault.TRUNCATED)
        answer = self.alice.ask("PUT", "/photos/c", LARGE, payload_hash=UNSIGNED)
        self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertRefused(self.alice.ask("GET", "/photos/c"), 404, "NoSuchKey")


class AdmissionTests(ServerCase):
    """As many requests as there are slots."""

    memory_class = SlowBackend
    settings = {"max_concurrent_requests": 1}

    def test_full(self) -> None:
        """One more than there are slots is told to slow down, without ado; health is not counted."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        with Wire(self.server.address) as first:
            first.send(self.alice.request("PUT", "/photos/a", b"data"), b"data")
            self._wait_until_held(self.server)
            answer = self.alice.ask("GET", "/photos/a")
            self.assertRefused(answer, 503, "SlowDown")
            self.assertTrue(answer.header("retry-after"))
            self.assertEqual(self.alice.ask_unsigned("GET", "/health/ready").status, 200)
            self.server.run(backend.release)
            self.assertSucceeded(first.answer())
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"data")

    def test_slot_of_a_leaver(self) -> None:
        """A client that leaves gives its slot back."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        with Wire(self.server.address) as first:
            first.send(self.alice.request("PUT", "/photos/b", b"data"), b"data")
            self._wait_until_held(self.server)
        deadline = time.monotonic() + 10
        while self.alice.ask("GET", "/photos").status != 200:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.server.run(backend.release)

    def _wait_until_held(self, server: Server) -> None:
        deadline = time.monotonic() + 10
        while not server.memory("a").held:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
