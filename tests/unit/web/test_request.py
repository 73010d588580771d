"""Responses on the wire, and Twisted's ways to a request."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from s3orchestrator.web.request import Request
from tests.unit.web.serving import Answers, Served

GET = b"GET /b/k?x=1&y= HTTP/1.1\r\nHost: h:9000\r\nCookie: a=1; b=2\r\n\r\n"


class Recorder:
    """Notes each write of a connection."""

    def __init__(self, served: Served) -> None:
        self.writes: list[bytes] = []
        write = served.wire.write

        def noting(data: bytes) -> None:
            self.writes.append(data)
            write(data)

        served.wire.write = noting


class RequestTests(SynchronousTestCase):
    def serve(self, answer: Callable[[Request], None], request: bytes = GET) -> bytes:
        """What a client gets from `answer`."""
        self.served = Served(Answers(answer))
        self.writes = Recorder(self.served).writes
        self.served.send(request)
        return self.served.received()


class RespondTests(RequestTests):
    def test_whole(self) -> None:
        """Everything leaves in one write, with a date and a length."""
        answer = self.serve(lambda request: request.respond(200, [(b"ETag", b'"a"')], b"body"))
        date = formatdate(1_000_000_000, usegmt=True).encode()
        self.assertEqual(
            answer,
            b"HTTP/1.1 200 OK\r\nServer: s3orchestrator\r\nDate: " + date + b'\r\nETag: "a"\r\n'
            b"Content-Length: 4\r\n\r\nbody",
        )
        self.assertEqual(len(self.writes), 1)

    def test_date_moves(self) -> None:
        """The date is that of the response, not that of the first."""
        first = self.serve(lambda request: request.respond(200, []))
        self.served.clock.advance(1)
        self.served.send(GET)
        self.assertNotEqual(first, self.served.received())

    def test_head(self) -> None:
        """HEAD tells the length of what it does not send."""
        request = GET.replace(b"GET", b"HEAD")
        answer = self.serve(lambda request: request.respond(404, [], b"<Error/>"), request)
        self.assertIn(b"\r\nContent-Length: 8\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_head_with_a_length_of_its_own(self) -> None:
        """For HEAD the length may be told without the bytes."""
        request = GET.replace(b"GET", b"HEAD")
        answer = self.serve(lambda request: request.respond(200, [(b"Content-Length", b"5")]), request)
        self.assertEqual(answer.count(b"Content-Length"), 1)
        self.assertIn(b"\r\nContent-Length: 5\r\n", answer)

    def test_without_content(self) -> None:
        """204 and 304 have neither a body nor a length."""
        for status in (204, 304):
            answer = self.serve(lambda request, status=status: request.respond(status, [], b"body"))
            self.assertNotIn(b"Content-Length", answer)
            self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_headers_cannot_be_made(self) -> None:
        """A line break in a value does not become another header."""
        hostile = [(b"X-A", b"1\r\nSet-Cookie: x=1"), (b"X-B\n", b"2"), (b"X-C", b"3\r")]
        answer = self.serve(lambda request: request.respond(200, hostile))
        self.assertIn(b"\r\nX-A: 1  Set-Cookie: x=1\r\nX-B : 2\r\nX-C: 3 \r\n", answer)
        text = {name.decode(): value.decode() for name, value in hostile}
        self.assertEqual(self.serve(lambda request: request.respond(200, text)), answer)

    def test_text(self) -> None:
        """Headers may be text, with the length beside them; each character is a byte."""
        answer = self.serve(lambda request: request.respond(200, {"ETag": '"a"', "X-A": "\xe4"}, b"body"))
        self.assertTrue(answer.endswith(b'\r\nETag: "a"\r\nX-A: \xe4\r\nContent-Length: 4\r\n\r\nbody'))
        request = GET.replace(b"GET", b"HEAD")
        answer = self.serve(lambda request: request.respond(200, {}, length=5), request)
        self.assertTrue(answer.endswith(b"\r\nContent-Length: 5\r\n\r\n"))

    def test_unknown_status(self) -> None:
        """A status without a name is sent all the same."""
        self.assertTrue(
            self.serve(lambda request: request.respond(299, [])).startswith(b"HTTP/1.1 299 Unknown\r\n")
        )

    def test_only_once(self) -> None:
        """A second answer is none."""

        def twice(request: Request) -> None:
            request.respond(200, [])
            request.respond(500, [])

        self.assertEqual(self.serve(twice).count(b"HTTP/1.1"), 1)


class StreamTests(RequestTests):
    def test_head_leaves_with_the_first_bytes(self) -> None:
        """The head waits for the body to begin."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"6")])
            request.write(b"one")
            request.write(b"two")
            request.finish()

        answer = self.serve(stream)
        self.assertTrue(answer.endswith(b"\r\n\r\nonetwo"))
        self.assertEqual([write[-3:] for write in self.writes], [b"one", b"two"])
        self.assertNotIn(b"chunked", answer)

    def test_length_apart(self) -> None:
        """The length may be told beside the headers."""

        def stream(request: Request) -> None:
            request.start(200, {}, 3)
            request.write(b"one")
            request.finish()

        self.assertTrue(self.serve(stream).endswith(b"Content-Length: 3\r\n\r\none"))

    def test_nothing_written(self) -> None:
        """An empty body has a head too."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"0")])
            request.finish()

        self.assertTrue(self.serve(stream).endswith(b"Content-Length: 0\r\n\r\n"))

    def test_unknown_length(self) -> None:
        """Without a length the body goes out in chunks."""

        def stream(request: Request) -> None:
            request.start(200, [])
            request.write(b"a" * 26)
            request.write(b"")
            request.finish()

        answer = self.serve(stream)
        self.assertTrue(
            answer.endswith(b"Transfer-Encoding: chunked\r\n\r\n1a\r\n" + b"a" * 26 + b"\r\n0\r\n\r\n")
        )

    def test_unknown_length_in_http_1_0(self) -> None:
        """HTTP/1.0 knows no chunks: the body ends with the connection."""

        def stream(request: Request) -> None:
            request.start(200, [])
            request.write(b"body")
            request.finish()

        answer = self.serve(stream, b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(answer.endswith(b"Connection: close\r\n\r\nbody"))
        self.assertNotIn(b"chunked", answer)
        self.assertTrue(self.served.wire.disconnecting)

    def test_head(self) -> None:
        """The body of an answer to HEAD is not sent, however it is written."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"4")])
            request.write(b"bo")
            request.write(b"dy")
            request.finish()

        answer = self.serve(stream, GET.replace(b"GET", b"HEAD"))
        self.assertTrue(answer.endswith(b"Content-Length: 4\r\n\r\n"))
        self.assertFalse(self.served.wire.aborted)

    def test_too_short(self) -> None:
        """A response that is shorter than announced must not look whole, nor swallow the next."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"4")])
            request.write(b"bod")
            request.finish()

        self.serve(stream)
        self.assertTrue(self.served.wire.aborted)

    def test_too_long(self) -> None:
        """What is longer than announced would be taken for the next response."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"4")])
            request.write(b"body!")

        self.assertNotIn(b"!", self.serve(stream))
        self.assertTrue(self.served.wire.aborted)

    def test_fails_before_the_first_byte(self) -> None:
        """Until something was sent, another answer is possible."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"4")])
            raise ZeroDivisionError

        self.assertTrue(self.serve(stream).startswith(b"HTTP/1.1 500 "))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_fails_later(self) -> None:
        """After that, the connection ends."""

        def stream(request: Request) -> None:
            request.start(200, [(b"Content-Length", b"4")])
            request.write(b"bo")
            raise ZeroDivisionError

        self.serve(stream)
        self.assertTrue(self.served.wire.aborted)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_begins_once(self) -> None:
        """A response cannot begin twice."""

        def stream(request: Request) -> None:
            request.start(200, [])
            self.assertRaises(RuntimeError, request.start, 200, [])

        self.serve(stream)

    def test_told_when_it_is_sent(self) -> None:
        """`notifyFinish` fires when the response is complete."""
        fired: list[None] = []

        def stream(request: Request) -> None:
            request.notifyFinish().addCallback(fired.append)
            request.start(200, [])
            request.write(b"x")
            self.assertEqual(fired, [])
            request.finish()

        self.serve(stream)
        self.assertEqual(fired, [None])


class Page(Resource):
    def render_GET(self, request: Request) -> bytes:
        return b"found"


class TwistedsWayTests(RequestTests):
    """Resources that know nothing of us."""

    def test_interface(self) -> None:
        """A request is a request and a consumer."""

        def look(request: Request) -> None:
            self.assertTrue(IRequest.providedBy(request))
            verifyObject(IConsumer, request)

        self.serve(look)

    def test_headers_cookies_and_arguments(self) -> None:
        """What was not parsed in advance is parsed when it is asked for."""

        def look(request: Request) -> None:
            self.assertEqual(request.getHeader(b"Host"), b"h:9000")
            self.assertEqual(request.getCookie(b"b"), b"2")
            self.assertEqual(request.args, {b"x": [b"1"], b"y": [b""]})
            self.assertEqual(request.getRequestHostname(), b"h")
            self.assertEqual(request.getClientAddress().host, "192.168.1.1")
            self.assertEqual(request.getHost().host, "10.0.0.1")

        self.serve(look)

    def test_its_own_way_to_answer(self) -> None:
        """Status, headers and cookies that were set are sent."""

        def answer(request: Request) -> None:
            request.setResponseCode(201)
            request.setHeader(b"x-a", b"1")
            request.addCookie(b"c", b"3")
            request.write(b"body")
            request.finish()

        got = self.serve(answer)
        self.assertTrue(got.startswith(b"HTTP/1.1 201 Created\r\n"))
        self.assertIn(b"\r\nX-A: 1\r\nSet-Cookie: c=3\r\nTransfer-Encoding: chunked\r\n", got)

    def test_tree(self) -> None:
        """Resources are found by their paths, decoded."""
        root = Resource()
        root.putChild(b"a b", Page())
        served = Served(root)
        served.send(b"GET /a%20b HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = served.received()
        self.assertIn(b"Content-Length: 5\r\n", answer)
        self.assertTrue(answer.endswith(b"found"))
        served.send(b"HEAD /a%20b HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertIn(b"Content-Length: 5\r\n", served.received())
        served.send(b"GET /c HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertIn(b" 404 ", served.received())
        served.send(b"BREW /a%20b HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertIn(b" 405 Method Not Allowed", served.received())
