"""Answers that take long: real statuses while that is possible, then white space and the truth at the end."""

from __future__ import annotations

import time
from functools import partial
from unittest.mock import patch

from s3orchestrator.backends.faults import Fault
from s3orchestrator.web.s3.patience import Patience
from tests.integration.asking import Answer, Wire
from tests.integration.s3_server import ServerCase
from tests.integration.slow_backend import SlowBackend

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


class LongAnswerTests(ServerCase):
    """A backend that is held up, and a server that is impatient to say something."""

    memory_class = SlowBackend

    @classmethod
    def setUpClass(cls) -> None:
        with patch("s3orchestrator.app.doors.Patience", partial(Patience, begin_after=0.1, every=0.05)):
            super().setUpClass()

    def setUp(self) -> None:
        super().setUp()
        self.backend = self.server.memory("a")
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data"))
        self.server.run(self.backend.hold)

    def tearDown(self) -> None:
        self.backend.faults.clear()
        self.server.run(self.backend.release)
        super().tearDown()

    def _begin_copy(self, wire: Wire, headers: dict[str, str] | None = None) -> None:
        """Ask for a copy, and wait until white space comes."""
        sent = {"x-amz-copy-source": "photos/a", **(headers or {})}
        wire.send(self.alice.request("PUT", "/photos/copy", headers=sent))
        deadline = time.monotonic() + 10
        while not self.backend.held:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        time.sleep(0.4)

    def _check_form(self, answer: Answer) -> None:
        self.assertEqual((answer.status, answer.header("content-type")), (200, "application/xml"))
        self.assertEqual(answer.header("transfer-encoding"), "chunked")
        self.assertEqual(answer.pieces[0], DECLARATION)
        self.assertGreaterEqual(answer.pieces.count(b" "), 3)
        self.assertEqual(answer.body.count(b"<?xml"), 1)

    def test_copy(self) -> None:
        """A copy that takes long begins with 200 and white space, and ends with its document."""
        with Wire(self.server.address) as wire:
            self._begin_copy(wire)
            self.server.run(self.backend.release)
            answer = wire.answer()
            self._check_form(answer)
            self.assertIsNotNone(answer.text("ETag"))
            self.assertTrue(answer.header("x-amz-request-id"))
            self.assertEqual(self.alice.ask("GET", "/photos/copy", wire=wire).body, b"data")

    def test_failure(self) -> None:
        """One that fails ends with the error, under the status that was sent."""
        before = self.server.settled()
        for name in ("a", "b"):
            self.server.memory(name).faults.always(Fault.FAILED, "copy", "put")
        with Wire(self.server.address) as wire:
            self._begin_copy(wire)
            self.server.run(self.backend.release)
            answer = wire.answer()
            self._check_form(answer)
            self.assertEqual(answer.code, "ServiceUnavailable")
            self.assertEqual(answer.detail("RequestId"), answer.header("x-amz-request-id"))
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"data")
        for name in ("a", "b"):
            self.server.memory(name).faults.clear()
        self.assertEqual(self.server.settled(), before)

    def test_late_refusal(self) -> None:
        """A condition that fails at the commit is told in the same way."""
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/copy"), 204)
        with Wire(self.server.address) as wire:
            self._begin_copy(wire, {"if-none-match": "*"})
            held, self.backend.held = self.backend.held, None
            self.assertSucceeded(self.alice.ask("PUT", "/photos/copy", b"first"))
            self.server.run(lambda: [waiting.callback(None) for waiting in held or []])
            answer = wire.answer()
            self._check_form(answer)
            self.assertEqual(answer.code, "PreconditionFailed")
        self.assertEqual(self.alice.ask("GET", "/photos/copy").body, b"first")

    def test_early_refusal(self) -> None:
        """What is wrong at once has a status of its own."""
        headers = {"x-amz-copy-source": "photos/none"}
        self.assertRefused(self.alice.ask("PUT", "/photos/copy", headers=headers), 404, "NoSuchKey")

    def test_completion(self) -> None:
        """A completion takes its time in the same way, and can be asked for again."""
        upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId")
        part = self.alice.ask("PUT", f"/photos/up?partNumber=1&uploadId={upload}", b"part").header("etag")
        listed = f"<Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
        request = self.alice.request("POST", f"/photos/up?uploadId={upload}", body.encode())
        with Wire(self.server.address) as wire:
            wire.send(request, body.encode())
            time.sleep(0.5)
            self.server.run(self.backend.release)
            answer = wire.answer()
            self._check_form(answer)
            self.assertEqual(answer.text("Key"), "up")
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"part")
        again = self.alice.ask("POST", f"/photos/up?uploadId={upload}", body.encode())
        self.assertEqual(again.text("ETag"), answer.text("ETag"))

    def test_client_leaves(self) -> None:
        """A client that leaves meanwhile has its copy, or nothing: never half of it, and nothing is left."""
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/copy"), 204)
        with Wire(self.server.address) as wire:
            self._begin_copy(wire)
        self.server.run(self.backend.release)
        self.server.settled()
        answer = self.alice.ask("GET", "/photos/copy")
        self.assertIn((answer.status, answer.body == b"data"), ((200, True), (404, False)))

    def test_older_client(self) -> None:
        """A client of HTTP/1.0 gets the same, up to the end of the connection."""
        with Wire(self.server.address) as wire:
            sent = self.alice.request("PUT", "/photos/copy", headers={"x-amz-copy-source": "photos/a"})
            wire.send(sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            time.sleep(0.5)
            self.server.run(self.backend.release)
            answer = wire.answer()
            self.assertEqual((answer.status, answer.header("transfer-encoding")), (200, None))
            self.assertIsNotNone(answer.text("ETag"))
            self.assertTrue(wire.is_closed())
