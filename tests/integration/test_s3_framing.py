"""aws-chunked uploads, by the letter and spoiled."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1, sha256

from tests.integration.asking import Answer, Wire
from tests.integration.framing import (
    FORMS,
    LARGE,
    SIGNED_FORM,
    SMALL,
    UNSIGNED_FORM,
    UNSIGNED_TRAILER,
    Chunks,
    crc_of,
    http_chunked,
    pieces,
    with_length,
)
from tests.integration.s3_server import ServerCase

MISMATCH = "SignatureDoesNotMatch"
BAD_TRAILER = "MalformedTrailerError"


def _base64(digits: str) -> str:
    return b64encode(bytes.fromhex(digits)).decode()


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
