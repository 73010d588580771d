"""A server whose database goes away and comes back, as clients see it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from typing import ClassVar

from attrs import frozen
from prometheus_client import REGISTRY

from s3orchestrator.app.core import Wrapping
from s3orchestrator.protocol.encoding import parse_http_date
from tests import servers
from tests.integration.asking import PATIENCE, Answer, Caller, Headers, Wire, etag
from tests.integration.s3_server import DIRECTORIES, MEMORY
from tests.integration.switched_ledger import Switch
from tests.integration.uploading import UploadCase

QUICK = "\ncircuit_breaker: {open_timeout: 50ms}"
SWITCH = Switch()
SMALL, LARGE = b"small", bytes(range(256)) * 2000
HEADERS = {
    "Content-Type": "text/x; charset=utf-8",
    "Cache-Control": "max-age=3, private",
    "Content-Disposition": 'attachment; filename="a;b.txt"',
    "Content-Encoding": "gzip",
    "Content-Language": "de, en",
    "Expires": "Thu, 01 Dec 1994 16:00:00 GMT",
    "x-amz-meta-colour": "bluish  green",
    "x-amz-meta-name": "caf\xe9".encode("latin-1"),
    "x-amz-meta-s3o": "2;ours;1;1",
}
NEVER_SAME = {"date", "x-amz-request-id", "x-amz-id-2"}
A_SECOND = 1  # between a write's stamp and its commit there may be the turn of one


@frozen
class Question:
    """A request that is to be answered with and without the database."""

    method: str
    target: str
    headers: Headers | None = None

    def put_to(self, caller: Caller) -> Answer:
        return caller.ask(self.method, self.target, headers=self.headers)


def anonymous(answer: Answer) -> bytes:
    """An answer's body without the request's id."""
    return answer.body.replace((answer.header("x-amz-request-id") or "").encode(), b"")


class DegradedTests(UploadCase):
    """On memory backends."""

    backends: ClassVar[str] = MEMORY + QUICK
    wrapping: ClassVar[Wrapping] = Wrapping(ledger=SWITCH.around)

    def tearDown(self) -> None:
        SWITCH.is_off = False
        super().tearDown()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Without the database; it is back, and known to be back, afterwards."""
        gone, back = threading.Event(), threading.Event()
        ledger = self.server.orchestrator.core.ledger.database

        def watch() -> None:
            ledger.on_away(gone.set)
            ledger.on_back(back.set)
            SWITCH.is_off = True

        self.server.run(watch)
        while not gone.is_set():
            self.alice.ask("GET", "/photos?list-type=2")
        try:
            yield
        finally:
            SWITCH.is_off = False
            self.assertTrue(back.wait(PATIENCE), "it does not come back")

    def put(self, target: str, data: bytes, headers: Headers | None = None) -> None:
        self.assertSucceeded(self.alice.ask("PUT", target, data, headers))

    def assertSame(self, question: Question, before: Answer, after: Answer) -> None:
        """Two answers are the same, but for what tells any two answers apart."""
        with self.subTest(question):
            self.assertEqual((after.status, anonymous(after)), (before.status, anonymous(before)))
            told, known = dict(after.headers), dict(before.headers)
            degraded = told.pop("x-s3o-degraded", "")
            self.assertNotIn("x-s3o-degraded", known)
            if question.target.startswith("/photos/") and after.status in (200, 206, 304, 404):
                self.assertEqual(degraded, "true")
            modified = [parse_http_date(headers.pop("last-modified", "")) for headers in (told, known)]
            for name in NEVER_SAME:
                told.pop(name, None)
                known.pop(name, None)
            self.assertEqual(told, known)
            if modified[1] is not None:
                self.assertLessEqual(abs((modified[0] or 0) - modified[1]), A_SECOND)

    def fill(self) -> list[str]:
        """Objects of all kinds; returns their keys."""
        self.put("/photos/described", SMALL, {**HEADERS, "x-amz-checksum-crc32": "dUXqEw=="})
        self.put("/photos/bare", SMALL)
        self.put("/photos/empty", b"")
        self.put("/photos/large", LARGE, {**HEADERS, "x-amz-checksum-crc32": "JeKzFg=="})
        self.put("/photos/twice", LARGE)
        self.put("/photos/twice", SMALL, {"x-amz-meta-version": "2"})
        self.put("/photos/gone", SMALL)
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/gone"), 204)
        long = "%E7%8C%AB" * 341
        odd = ["a/b", "a/b/c//d", long]
        for key in odd:
            self.put(f"/photos/{key}", SMALL)
        upload = self.uploaded(bytes(5 << 20), b"end")
        parts = [(1, etag(bytes(5 << 20))), (2, etag(b"end"))]
        self.assertSucceeded(self.complete(upload, parts))
        copy = {"x-amz-copy-source": "/photos/described"}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/copied", headers=copy))
        return [
            "described",
            "bare",
            "empty",
            "large",
            "twice",
            "gone",
            "a/b",
            "a/b/c//d",
            long,
            "up",
            "copied",
        ]

    def questions(self, keys: list[str]) -> list[Question]:
        asked = [Question(method, f"/photos/{key}") for key in keys for method in ("GET", "HEAD")]
        tag = f'"{md5(SMALL).hexdigest()}"'
        for headers in (
            {"Range": "bytes=1-3"},
            {"Range": "bytes=-2"},
            {"Range": "bytes=999999999-"},
            {"If-None-Match": tag},
            {"If-Match": tag},
            {"If-Match": '"other"'},
            {"x-amz-checksum-mode": "ENABLED"},
        ):
            for key in ("described", "large"):
                asked += [Question(method, f"/photos/{key}", headers) for method in ("GET", "HEAD")]
        return [
            *asked,
            Question("GET", "/photos/described?partNumber=1"),
            Question("GET", "/photos/described?response-content-type=a/b"),
            Question("GET", "/photos/never"),
            Question("HEAD", "/photos/never"),
            Question("HEAD", "/photos"),
            Question("GET", "/photos?location"),
            Question("GET", "/nobody/k"),
            Question("GET", "/"),
        ]

    def test_read_as_before(self) -> None:
        """GET and HEAD give what they gave before: every header, every byte, every refusal."""
        questions = self.questions(self.fill())
        self.server.settled()
        before = [question.put_to(self.alice) for question in questions]
        with self.away():
            for _ in range(2):  # found by asking all backends, then where it was found
                for question, known in zip(questions, before, strict=True):
                    self.assertSame(question, known, question.put_to(self.alice))

    def test_refused(self) -> None:
        """What needs the ledger is refused, counted by operation, and changes nothing."""
        self.put("/photos/k", SMALL)
        upload = self.uploaded(b"part", target="/photos/up2")
        before = self.server.settled()
        rows = (
            ("PutObject", "PUT", "/photos/new", b"new", {}),
            ("DeleteObject", "DELETE", "/photos/k", b"", {}),
            ("CopyObject", "PUT", "/photos/new", b"", {"x-amz-copy-source": "/photos/k"}),
            ("ListObjectsV2", "GET", "/photos?list-type=2", b"", {}),
            ("CreateMultipartUpload", "POST", "/photos/new?uploads", b"", {}),
            ("UploadPart", "PUT", f"/photos/up2?partNumber=2&uploadId={upload}", b"x", {}),
            ("AbortMultipartUpload", "DELETE", f"/photos/up2?uploadId={upload}", b"", {}),
            ("ListParts", "GET", f"/photos/up2?uploadId={upload}", b"", {}),
            ("CreateBucket", "PUT", "/newbucket", b"", {}),
            ("GetObjectTagging", "GET", "/photos/k?tagging", b"", {}),
        )
        with self.away():
            for operation, method, target, body, headers in rows:
                with self.subTest(operation):
                    counted = self.rejections(operation)
                    answer = self.alice.ask(method, target, body, headers)
                    self.assertRefused(answer, 503, "ServiceUnavailable")
                    self.assertEqual(self.rejections(operation), counted + 1)
            for target in ("/photos/k?versionId=null", "/photos/k?partNumber=1&versionId=null"):
                self.assertRefused(self.alice.ask("GET", target), 503, "ServiceUnavailable")
            for caller, code in (
                (self.server.caller("alice", "wrong"), "SignatureDoesNotMatch"),
                (self.server.caller("docskey"), "AccessDenied"),
            ):
                self.assertRefused(caller.ask("GET", "/photos/k"), 403, code)
        self.assertEqual(self.server.settled(), before)
        self.assertSucceeded(self.abort(upload, "/photos/up2"), 204)

    def rejections(self, operation: str) -> float:
        name = "s3o_degraded_write_rejections_total"
        return REGISTRY.get_sample_value(name, {"operation": operation}) or 0.0

    def test_parts(self) -> None:
        """Which parts an object was made from is the ledger's to know."""
        self.assertSucceeded(self.complete(self.uploaded(b"part"), [(1, etag(b"part"))]))
        with self.away():
            self.assertRefused(self.alice.ask("GET", "/photos/up?partNumber=1"), 503, "ServiceUnavailable")
            self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"part")

    def test_health_says_so(self) -> None:
        """A balancer goes on sending requests, and an operator sees what is the matter."""
        with self.away():
            answer = self.alice.ask_unsigned("GET", "/health")
            self.assertEqual((answer.status, json.loads(answer.body)["status"]), (200, "degraded"))
            self.assertEqual(self.alice.ask_unsigned("GET", "/health/ready").status, 200)
        self.assertEqual(json.loads(self.alice.ask_unsigned("GET", "/health").body)["status"], "ok")

    def test_a_download_goes_on(self) -> None:
        """What is being sent when the database goes is sent to its end."""
        whole = LARGE * 40
        self.put("/photos/whole", whole)
        with Wire(self.server.address, receive_buffer=4096) as wire:
            wire.send(self.alice.request("GET", "/photos/whole"))
            with self.away():
                self.assertEqual(wire.answer().body, whole)

    def test_back(self) -> None:
        """Once it is back everything works again, without a restart, and nothing is left behind."""
        with self.away():
            self.assertRefused(self.alice.ask("PUT", "/photos/k", b"lost"), 503, "ServiceUnavailable")
        self.put("/photos/k", b"kept")
        self.assertEqual(self.alice.ask("GET", "/photos/k").body, b"kept")
        self.server.settled()


class DegradedOnDirectoriesTests(DegradedTests):
    """On directories, whose own ETags are none of the clients'."""

    backends: ClassVar[str] = DIRECTORIES + QUICK


def services(server: servers.Server) -> str:
    """Two buckets of a service, as backends."""
    return "".join(
        f"\n  - {{name: {name}, type: s3, endpoint: '{server.endpoint}', bucket: {server.make_bucket()},"
        f" access_key_id: {server.access_key_id}, secret_access_key: {server.secret_access_key},"
        " force_path_style: true, quota_bytes: 300MB}"
        for name in ("a", "b")
    )


class DegradedOnMotoTests(DegradedTests):
    """On a service that tells only what it was told with the headers."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.backends = services(servers.moto()) + QUICK
        super().setUpClass()


class DegradedOnRadosgwTests(DegradedTests):
    """On another, which does not refuse all that it is asked to refuse."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.backends = services(servers.radosgw()) + QUICK
        super().setUpClass()
