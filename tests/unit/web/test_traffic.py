"""Every request is counted once, however it ends."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from s3orchestrator.telemetry.http import Series
from s3orchestrator.web.health import Health
from s3orchestrator.web.request import Request
from s3orchestrator.web.root import Root
from tests.unit.web.serving import Answers, Gathered, Served, gather, path_as_body

GET = b"GET /photos/cat HTTP/1.1\r\nHost: h\r\n\r\n"


class TrafficTests(SynchronousTestCase):
    def serve(self, resource: Resource) -> None:
        self.served = Served(resource)

    def counted(self, method: bytes = b"GET") -> Series:
        return self.served.site.traffic.of(method)

    def test_answered(self) -> None:
        """An answer is counted with its status, its time, and what was in the bodies."""
        answers = Answers()
        self.serve(answers)
        self.served.send(b"PUT /photos/cat HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n" + bytes(5000))
        self.assertEqual((self.counted(b"PUT").in_flight, self.counted(b"PUT").statuses), (1, {}))
        gather(answers.requests[0])
        self.served.clock.advance(2)
        answers.requests[0].respond(201, [], b"hello")
        series = self.counted(b"PUT")
        self.assertEqual((series.in_flight, series.statuses), (0, {201: 1}))
        self.assertEqual((series.seconds.total, series.received.total, series.sent.total), (2, 5000, 5))
        self.served.leave()
        self.assertEqual(series.statuses, {201: 1})

    def test_chunked(self) -> None:
        """Framing is no part of a body's size."""
        answers = Answers()
        self.serve(answers)
        head = b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.served.send(head + b"5\r\nhello\r\n0\r\n\r\n")
        answers.requests[0].start(200, [])
        answers.requests[0].write(b"abc")
        answers.requests[0].finish()
        self.assertEqual((self.counted(b"PUT").received.total, self.counted(b"PUT").sent.total), (5, 3))

    def test_head(self) -> None:
        """HEAD sends no body, whatever its length says."""
        self.serve(Answers(path_as_body))
        self.served.send(GET.replace(b"GET", b"HEAD"))
        self.assertEqual((self.counted(b"HEAD").statuses, self.counted(b"HEAD").sent.total), ({200: 1}, 0))

    def test_left(self) -> None:
        """A client that leaves before it is answered counts as 499, later as what it was told."""
        answers = Answers()
        self.serve(answers)
        self.served.send(GET)
        self.served.leave()
        answers.requests[0].respond(200, [], b"too late")
        self.assertEqual((self.counted().in_flight, self.counted().statuses), (0, {499: 1}))
        self.serve(answers)
        self.served.send(GET)
        answers.requests[1].start(200, [(b"Content-Length", b"10")])
        answers.requests[1].write(b"half")
        self.served.leave()
        self.assertEqual((self.counted().in_flight, self.counted().statuses), (0, {200: 1}))
        self.assertEqual(self.counted().sent.total, 4)

    def test_left_in_the_midst_of_a_body(self) -> None:
        """A client that leaves counts once, also if whoever reads its body has an answer at once."""

        def refuse(request: Request) -> None:
            reading = request.body.startProducing(Gathered())
            reading.addErrback(lambda _: request.respond(400, [], b"short"))

        self.serve(Answers(refuse))
        self.served.send(b"PUT /photos/cat HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\nhalf")
        self.served.leave()
        self.assertEqual((self.counted(b"PUT").in_flight, self.counted(b"PUT").statuses), (0, {400: 1}))

    def test_failed(self) -> None:
        """What a resource let escape counts as what the client was told."""

        def fail(request: object) -> None:
            raise RuntimeError("on purpose")

        self.serve(Answers(fail))
        self.served.send(GET)
        self.assertEqual((self.counted().in_flight, self.counted().statuses), (0, {500: 1}))
        self.flushLoggedErrors(RuntimeError)

    def test_no_request(self) -> None:
        """What is no request counts as one of an unknown method."""
        self.serve(Answers())
        self.served.send(b"nonsense\r\n\r\n")
        self.assertEqual(self.counted(b"other").statuses, {400: 1})

    def test_health(self) -> None:
        """What balancers ask is not counted, what clients ask is; also of a bucket called like it."""
        self.serve(Root(Health(), Answers(path_as_body), ("s3.example",)))
        self.served.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual((self.counted().in_flight, self.counted().statuses), (0, {}))
        self.served.send(b"GET /health HTTP/1.1\r\nHost: photos.s3.example\r\n\r\n")
        self.assertEqual(self.counted().statuses, {200: 1})
