"""The benchmark's clients, against the sink."""

from __future__ import annotations

import tempfile
from contextlib import closing
from itertools import repeat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.load import Replay, UnexpectedAnswer, answer_size
from s3orchestrator.testing.bench.servers import Server, sink

PUT = b"PUT /b/k HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /b/k HTTP/1.1\r\n\r\n"
HEAD = b"HEAD /b/k HTTP/1.1\r\n\r\n"


class LoadTests(SynchronousTestCase):
    server: Server
    directory: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = sink(Path(cls.directory.name)).start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()
        cls.directory.cleanup()

    def play(self, request: bytes, connections: int) -> list[float]:
        with closing(Replay(self.server.port, repeat(request), connections).open()) as replay:
            return replay.play(0)

    def test_every_request_is_answered(self) -> None:
        """As many answers as requests, each of which took some time: also for a HEAD, which has no body."""
        for request in (PUT % 3 + b"abc", GET, HEAD):
            took = self.play(request, 5)
            self.assertEqual(len(took), 5)
            self.assertGreater(min(took), 0)

    def test_refusal(self) -> None:
        """An answer that is not a success ends the measurement."""
        self.assertRaises(UnexpectedAnswer, self.play, b"GET /b/none HTTP/1.1\r\n\r\n", 1)

    def test_no_more_requests(self) -> None:
        """Who has nothing more to ask for stops, however much time there is, and no answer gets lost."""
        requests = iter([PUT % 3 + b"abc"] * 7)
        with closing(Replay(self.server.port, requests, 5).open()) as replay:
            self.assertEqual(len(replay.play(float("inf"))), 7)
            self.assertEqual(replay.play(float("inf")), [])


class AnswerSizeTests(SynchronousTestCase):
    def test_incomplete(self) -> None:
        """Nothing is known before the head is complete."""
        self.assertIsNone(answer_size(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", is_head=False))

    def test_with_body(self) -> None:
        """The body's length is part of the answer's, unless it answers a HEAD."""
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        self.assertEqual(answer_size(head, is_head=False), len(head) + 5)
        self.assertEqual(answer_size(head, is_head=True), len(head))

    def test_not_modified(self) -> None:
        """What the client has already comes without a body, whatever length is told."""
        head = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
        self.assertEqual(answer_size(head, is_head=False), len(head))

    def test_failure(self) -> None:
        """An error is an error, however long."""
        with self.assertRaises(UnexpectedAnswer):
            answer_size(b"HTTP/1.1 503 Slow Down\r\n\r\n", is_head=False)
