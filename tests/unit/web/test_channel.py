"""One connection: dispatch, order, back-pressure, closing, and time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from s3orchestrator.errors import BodyAborted, BodyStalled
from s3orchestrator.web.channel import TURN
from s3orchestrator.web.limits import LINGER, RETIRING
from s3orchestrator.web.request import Request
from s3orchestrator.web.request_body import DISCARD_LIMIT, READ_AHEAD
from tests.unit.web.serving import LIMITS, Answers, Served, gather, path_as_body

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n"
CHUNKED = b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"Expect: 100-continue\r\n"


@implementer(IPushProducer)
class Paced:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answers = Answers()
        self.served = Served(self.answers)

    @property
    def request(self) -> Request:
        return self.answers.requests[-1]

    def put(self, length: int, body: bytes = b"", headers: bytes = b"") -> Request:
        self.served.send(PUT % (length, headers) + body)
        return self.request

    def respond(self, status: int = 200) -> bytes:
        self.request.respond(status, [])
        return self.served.received()


class DispatchTests(ChannelTests):
    def test_at_the_end_of_the_head(self) -> None:
        """A request is seen before any byte of its body has come."""
        request = self.put(1 << 40)
        self.assertEqual((request.method, request.path, request.body.length), (b"PUT", b"/k", 1 << 40))

    def test_byte_by_byte(self) -> None:
        """How a request is cut into packets does not matter."""
        for byte in PUT % (3, b"") + b"abc":
            self.served.send(bytes([byte]))
        gathered, done = gather(self.request)
        self.successResultOf(done)
        self.assertEqual((len(self.answers.requests), gathered.data), (1, b"abc"))

    def test_reasons(self) -> None:
        """Each status that clients may hear has a name."""
        for status in (200, 206, 304, 403, 404, 411, 412, 416, 429, 503, 507):
            self.served = Served(self.answers)
            self.put(0)
            self.assertNotIn(b"Unknown", self.respond(status).partition(b"\r\n")[0])

    def test_contract(self) -> None:
        """A request shows its parts undecoded, and where it came from."""
        self.served.send(
            b"GET /b/a%2Fb?x=%31&x HTTP/1.1\r\nHost: h\r\nX-Amz-Date: now\r\nX-a: 1\r\nx-A: 2\r\n\r\n"
        )
        request = self.request
        self.assertEqual(
            (request.uri, request.path, request.query),
            (b"/b/a%2Fb?x=%31&x", b"/b/a%2Fb", b"x=%31&x"),
        )
        self.assertEqual(request.header_map, {b"host": [b"h"], b"x-amz-date": [b"now"], b"x-a": [b"1", b"2"]})
        self.assertEqual((request.client_address, request.isSecure()), ("192.168.1.1", False))

    def test_chunks(self) -> None:
        """A body in chunks has no length, and arrives without its framing."""
        self.served.send(CHUNKED + b"3\r\nabc\r\n")
        gathered, done = gather(self.request)
        self.assertEqual(self.request.body.length, UNKNOWN_LENGTH)
        self.served.send(b"2\r\nde\r\n0\r\n\r\n")
        self.successResultOf(done)
        self.assertEqual(gathered.data, b"abcde")

    def test_empty_line_before_a_request(self) -> None:
        """The line break that some clients put behind a body is skipped."""
        self.served.send(b"\r\n" + GET % 1)
        self.assertEqual(self.request.path, b"/1")

    def test_resource_fails(self) -> None:
        """What escapes a resource is logged; the client learns that it happened, and may go on."""

        def fail(request: Request) -> None:
            raise ZeroDivisionError

        served = Served(Answers(fail))
        served.send(GET % 1)
        answer = served.received()
        self.assertIn(b"HTTP/1.1 500 ", answer)
        self.assertIn(b"<Code>InternalError</Code>", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(served.wire.disconnecting)


class OrderTests(ChannelTests):
    def test_one_at_a_time(self) -> None:
        """The next request is not seen before the last one is answered."""
        self.served.send(GET % 1 + GET % 2)
        self.assertEqual([request.path for request in self.answers.requests], [b"/1"])
        self.respond()
        self.served.clock.advance(0)
        self.assertEqual([request.path for request in self.answers.requests], [b"/1", b"/2"])

    def test_pipelined(self) -> None:
        """Requests in one packet are answered in their order."""
        served = Served(Answers(path_as_body))
        served.send(b"".join(GET % number for number in range(5)))
        answers = served.received()
        found = [answers.index(b"\r\n\r\n/%d" % number) for number in range(5)]
        self.assertEqual(found, sorted(found))

    def test_others_get_a_turn(self) -> None:
        """Many requests in one packet do not keep the reactor to themselves."""
        answers = Answers(path_as_body)
        served = Served(answers)
        served.send(GET % 1 * (3 * TURN))
        self.assertEqual(len(answers.requests), TURN)
        served.clock.pump([0, 0])
        self.assertEqual(len(answers.requests), 3 * TURN)

    def test_behind_a_body(self) -> None:
        """What follows a body is the next request."""
        self.put(3, b"abc" + GET % 2)
        self.respond()
        self.served.clock.advance(0)
        self.assertEqual(self.request.path, b"/2")

    def test_a_client_that_does_not_listen(self) -> None:
        """Nothing is answered to a client that does not take the answers to what it asked before."""
        answers = Answers(path_as_body)
        served = Served(answers)
        served.channel.pauseProducing()
        served.send(GET % 1)
        self.assertEqual(answers.requests, [])
        served.channel.resumeProducing()
        served.clock.advance(0)
        self.assertEqual(len(answers.requests), 1)

    def test_waiting_requests_are_bounded(self) -> None:
        """While one is being answered, only so many bytes of others are taken."""
        self.served.send(GET % 1)
        self.served.send(b"x" * (READ_AHEAD - 1))
        self.assertTrue(self.served.is_reading)
        self.served.send(b"x")
        self.assertFalse(self.served.is_reading)


class ContinueTests(ChannelTests):
    def test_when_it_is_read(self) -> None:
        """The client is told to go on when somebody reads, and once."""
        request = self.put(3, headers=EXPECTING)
        self.assertEqual(self.served.received(), b"")
        gather(request)
        self.assertEqual(self.served.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.served.send(b"a")
        request.body.pauseProducing()
        request.body.resumeProducing()
        self.assertEqual(self.served.received(), b"")

    def test_not_asked_for(self) -> None:
        """A client that did not ask is not told."""
        gather(self.put(3))
        self.assertEqual(self.served.received(), b"")

    def test_nothing_to_go_on_with(self) -> None:
        """Neither a request without a body nor one whose body has come already is told to go on."""
        gather(self.put(0, headers=EXPECTING))
        self.assertEqual(self.served.received(), b"")
        self.respond()
        gather(self.put(3, b"abc", headers=EXPECTING))
        self.assertEqual(self.served.received(), b"")

    def test_refused(self) -> None:
        """A refused client is never told to go on, and cannot say what its next bytes mean."""
        self.put(3, headers=EXPECTING)
        answer = self.respond(403)
        self.assertNotIn(b"100 Continue", answer)
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.served.send(GET % 2)
        self.assertEqual(len(self.answers.requests), 1)


class BackPressureTests(ChannelTests):
    def test_unread(self) -> None:
        """An upload that nobody reads stays on the wire, but for a little."""
        self.put(1 << 30, b"x" * READ_AHEAD)
        self.assertFalse(self.served.is_reading)
        gather(self.request)
        self.assertTrue(self.served.is_reading)

    def test_paused(self) -> None:
        """A reader's pause is the connection's."""
        request = self.put(100)
        gather(request)
        request.body.pauseProducing()
        self.assertFalse(self.served.is_reading)
        request.body.resumeProducing()
        self.assertTrue(self.served.is_reading)

    def test_slow_client(self) -> None:
        """The producer of a response pauses with its client."""
        self.served.send(GET % 1)
        producer = Paced()
        self.request.start(200, [])
        self.request.registerProducer(producer, True)
        self.served.channel.pauseProducing()
        self.served.channel.resumeProducing()
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_begins_slow(self) -> None:
        """A producer that comes when the client is behind starts with a pause."""
        self.served.send(GET % 1)
        self.served.channel.pauseProducing()
        producer = Paced()
        self.request.registerProducer(producer, True)
        self.assertEqual(producer.told, ["pause"])

    def test_client_leaves(self) -> None:
        """The producer of a response is stopped when there is nobody to produce for."""
        self.served.send(GET % 1)
        producer = Paced()
        self.request.registerProducer(producer, True)
        self.served.channel.stopProducing()
        self.assertEqual(producer.told, ["stop"])

    def test_response_done(self) -> None:
        """After the response its producer is left alone."""
        self.served.send(GET % 1)
        producer = Paced()
        self.request.registerProducer(producer, True)
        self.respond()
        self.served.channel.pauseProducing()
        self.assertEqual(producer.told, [])


class LeavingTests(ChannelTests):
    def test_while_it_is_answered(self) -> None:
        """Whoever works for a client hears that it left."""
        self.served.send(GET % 1)
        self.served.leave()
        self.assertEqual(len(self.answers.lost), 1)

    def test_during_the_upload(self) -> None:
        """The reader of a body hears it, and so does whoever answers."""
        _, done = gather(self.put(3))
        self.served.leave()
        self.failureResultOf(done, BodyAborted)
        self.assertEqual(len(self.answers.lost), 1)

    def test_before_the_upload_is_read(self) -> None:
        """An upload that nobody reads yet is given up as well."""
        self.put(3)
        self.served.leave()
        self.assertEqual(len(self.answers.lost), 1)
        self.failureResultOf(gather(self.request)[1], BodyAborted)

    def test_answering_after_it_left(self) -> None:
        """An answer to nobody goes nowhere, quietly."""
        self.served.send(GET % 1)
        self.served.leave()
        self.request.respond(200, [], b"anybody?")
        self.request.write(b"no?")
        self.request.finish()
        self.request.abort()
        self.assertEqual(self.served.received(), b"")

    def test_half_closed_upload(self) -> None:
        """A client that ends its upload too early, but listens, hears what was wrong."""
        _, done = gather(self.put(3, b"ab"))
        self.served.channel.readConnectionLost()
        self.failureResultOf(done, BodyAborted)
        self.assertIn(b"400", self.respond(400))
        self.assertTrue(self.served.wire.disconnecting)

    def test_half_closed_without_an_upload(self) -> None:
        """Without an upload to complain about, a client that ends the connection has left."""
        self.served.send(GET % 1)
        self.served.channel.readConnectionLost()
        self.assertTrue(self.served.wire.aborted)

    def test_half_closed_between_requests(self) -> None:
        """A client that has nothing more to ask is let go."""
        self.served.channel.readConnectionLost()
        self.assertTrue(self.served.wire.disconnecting)

    def test_finished(self) -> None:
        """A client that leaves after its answer is missed by nobody."""
        self.served.send(GET % 1)
        self.respond()
        self.served.leave()
        self.assertEqual(self.answers.lost, [])


class UnreadUploadTests(ChannelTests):
    def test_small_rest(self) -> None:
        """A small rest of a refused upload is dropped, and the connection lives on."""
        self.put(DISCARD_LIMIT, b"x")
        self.assertNotIn(b"Connection: close", self.respond(403))
        self.served.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n".ljust(DISCARD_LIMIT - 1) + GET % 2)
        self.assertEqual([request.path for request in self.answers.requests], [b"/k", b"/2"])

    def test_large_rest(self) -> None:
        """A large rest ends the connection, and is never taken for a request."""
        self.put(DISCARD_LIMIT + 1)
        self.assertIn(b"Connection: close", self.respond(403))
        self.served.send(GET % 2)
        self.assertEqual(len(self.answers.requests), 1)
        self.assertTrue(self.served.wire.disconnecting)

    def test_unknown_rest(self) -> None:
        """So does a rest nobody can know."""
        self.served.send(CHUNKED)
        self.assertIn(b"Connection: close", self.respond(403))
        self.served.send(b"0\r\n\r\n" + GET % 2)
        self.assertEqual(len(self.answers.requests), 1)

    def test_dropped_before_the_response(self) -> None:
        """What was dropped before the answer counts, so that the sum stays bounded."""
        request = self.put(2 * DISCARD_LIMIT)
        request.body.stopProducing()
        self.served.send(b"x" * DISCARD_LIMIT)
        self.assertFalse(self.served.is_reading)
        self.assertIn(b"Connection: close", self.respond(403))

    def test_rest_that_does_not_come(self) -> None:
        """The client has a second to send the rest, and does not prolong it drop by drop."""
        self.put(100)
        self.respond(403)
        self.served.clock.advance(LINGER * 0.9)
        self.served.send(b"x")
        self.assertFalse(self.served.wire.disconnecting)
        self.served.clock.advance(LINGER * 0.2)
        self.assertTrue(self.served.wire.disconnecting)

    def test_answered_while_it_is_read(self) -> None:
        """The reader of an upload that has been answered gets no more of it."""
        request = self.put(10)
        gathered, _ = gather(request)
        self.respond(400)
        self.served.send(b"0123456789" + GET % 2)
        self.assertEqual(gathered.data, b"")
        self.assertEqual(self.request.path, b"/2")

    def test_malformed_chunks(self) -> None:
        """The reader hears that chunks are malformed, can answer, and the connection ends."""
        self.served.send(CHUNKED + b"3\r\nabc\r\n")
        _, done = gather(self.request)
        self.served.send(b"XYZ\r\n" + GET % 2)
        self.failureResultOf(done, BodyAborted)
        self.assertIn(b"Connection: close", self.respond(400))
        self.served.send(GET % 3)
        self.assertEqual(len(self.answers.requests), 1)

    def test_malformed_from_the_start(self) -> None:
        """Chunks that are malformed before anybody read them are found out by whoever does."""
        self.served.send(CHUNKED + b"no chunk\r\n")
        self.failureResultOf(gather(self.request)[1], BodyAborted)


class ClosingTests(ChannelTests):
    def test_asked_to(self) -> None:
        """A client that asks for it gets a closed connection."""
        self.served.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET % 2)
        self.assertIn(b"\r\nConnection: close\r\n", self.respond())
        self.assertTrue(self.served.wire.disconnecting)
        self.served.clock.advance(0)
        self.assertEqual(len(self.answers.requests), 1)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is answered once."""
        self.served.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", self.respond())
        self.assertTrue(self.served.wire.disconnecting)

    def test_kept(self) -> None:
        """Otherwise it is kept, and nobody speaks of it."""
        self.served.send(GET % 1)
        self.assertNotIn(b"Connection", self.respond())
        self.assertFalse(self.served.wire.disconnecting)

    def test_aborted(self) -> None:
        """An aborted response ends the connection at once."""
        self.served.send(GET % 1)
        self.request.start(200, [(b"Content-Length", b"10")])
        self.request.write(b"half")
        self.request.abort()
        self.assertTrue(self.served.wire.aborted)

    def test_bad_head(self) -> None:
        """What is no request is answered as S3 would, and nothing more is heard."""
        self.served.send(b"GET /\r\n\r\n" + GET % 2)
        answer = self.served.received()
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertIn(b"<Code>BadRequest</Code>", answer)
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.assertTrue(self.served.wire.disconnecting)
        self.assertEqual(self.answers.requests, [])

    def test_draining(self) -> None:
        """A site that drains closes a connection after its answer."""
        self.served.send(GET % 1)
        drained = Deferred.fromCoroutine(self.served.site.drain(5))
        self.assertFalse(self.served.wire.disconnecting)
        self.assertIn(b"Connection: close", self.respond())
        self.assertTrue(self.served.wire.disconnecting)
        self.assertNoResult(drained)
        self.served.leave()
        self.successResultOf(drained)
        self.assertEqual(self.served.clock.getDelayedCalls(), [])

    def test_draining_in_mid_body(self) -> None:
        """A client that was told it might ask again is closed all the same once it has its answer."""
        self.served.send(GET % 1)
        request = self.answers.requests[0]
        request.setHeader(b"content-length", b"4")
        request.write(b"ha")
        drained = Deferred.fromCoroutine(self.served.site.drain(5))
        self.assertFalse(self.served.wire.disconnecting)
        request.write(b"lf")
        request.finish()
        self.assertTrue(self.served.received().endswith(b"half"))
        self.assertTrue(self.served.wire.disconnecting)
        self.served.leave()
        self.successResultOf(drained)

    def test_drained_idle(self) -> None:
        """A connection that has been silent for a while is closed as soon as the site drains."""
        self.served.clock.advance(RETIRING)
        drained = Deferred.fromCoroutine(self.served.site.drain(5))
        self.assertTrue(self.served.wire.disconnecting)
        self.served.leave()
        self.successResultOf(drained)

    def test_drained_fresh(self) -> None:
        """Who has just connected has a moment to ask."""
        Deferred.fromCoroutine(self.served.site.drain(5))
        self.served.clock.advance(RETIRING - 0.1)
        self.assertFalse(self.served.wire.disconnecting)
        self.served.clock.advance(0.1)
        self.assertTrue(self.served.wire.disconnecting)

    def test_drained_between_requests(self) -> None:
        """A request that was under way when the site began to drain is answered; it is the last."""
        self.served.send(GET % 1)
        self.respond()
        Deferred.fromCoroutine(self.served.site.drain(5))
        self.served.clock.advance(RETIRING / 2)
        self.served.send(GET % 2)
        self.assertIn(b"Connection: close", self.respond())
        self.assertTrue(self.served.wire.disconnecting)

    def test_drained_in_mid_head(self) -> None:
        """A request of which the beginning has arrived has all the time that heads have."""
        self.served.send(b"GET / HTTP/1.1\r\n")
        Deferred.fromCoroutine(self.served.site.drain(60))
        self.served.clock.advance(LIMITS.read_header_timeout - 0.1)
        self.assertFalse(self.served.wire.disconnecting)

    def test_drained_by_force(self) -> None:
        """Who takes longer than the limit is cut off."""
        self.served.send(GET % 1)
        Deferred.fromCoroutine(self.served.site.drain(5))
        self.served.clock.advance(5)
        self.assertTrue(self.served.wire.aborted)


class TimeTests(ChannelTests):
    def advance(self, seconds: float) -> bool:
        """Let time pass; tell whether the connection is being closed."""
        self.served.clock.advance(seconds)
        return bool(self.served.wire.disconnecting)

    def test_says_nothing(self) -> None:
        """A client that connects and is silent is let go without a word."""
        self.assertFalse(self.advance(LIMITS.read_header_timeout - 0.1))
        self.assertTrue(self.advance(0.2))
        self.assertEqual(self.served.received(), b"")

    def test_slow_head(self) -> None:
        """A head that comes drop by drop does not take longer than one that does not come."""
        for _ in range(9):
            self.assertFalse(self.advance(1))
            self.served.send(b"G")
        self.advance(0.9)
        self.assertFalse(self.served.wire.disconnecting)
        self.advance(1.2)
        self.assertIn(b"<Code>RequestTimeout</Code>", self.served.received())

    def test_only_line_breaks(self) -> None:
        """Line breaks, whole or in halves, are no beginning of a head."""
        for pieces in ([b"\r\n"], [b"\r", b"\n"]):
            self.setUp()
            for _ in range(9):
                self.assertFalse(self.advance(1))
                for piece in pieces:
                    self.served.send(piece)
            self.assertTrue(self.advance(1.1), pieces)

    def test_line_break_before_a_head(self) -> None:
        """A head has its time from where it begins, after a pause and a line break in halves too."""
        self.served.send(GET % 1)
        self.respond()
        self.assertFalse(self.advance(LIMITS.idle_timeout - 1))
        self.served.send(b"\r")
        self.served.send(b"\nG")
        self.assertFalse(self.advance(LIMITS.read_header_timeout - 0.1))
        self.served.send((GET % 2)[1:])
        self.assertEqual(self.request.path, b"/2")

    def test_idle(self) -> None:
        """Between requests a connection is kept longer."""
        self.served.send(GET % 1)
        self.respond()
        self.assertFalse(self.advance(LIMITS.idle_timeout - 0.1))
        self.assertTrue(self.advance(0.2))

    def test_head_after_idling(self) -> None:
        """The time of a head begins with its first byte, however long the connection has idled."""
        self.served.send(GET % 1)
        self.respond()
        self.advance(LIMITS.idle_timeout - 1)
        self.served.send(b"G")
        self.assertFalse(self.advance(LIMITS.read_header_timeout - 0.1))
        self.advance(0.2)
        self.assertIn(b"RequestTimeout", self.served.received())

    def test_working(self) -> None:
        """We may take all the time we need."""
        self.served.send(GET % 1)
        self.assertFalse(self.advance(100_000))

    def test_silent_upload(self) -> None:
        """A client that stops sending is told so, by whoever reads."""
        _, done = gather(self.put(10))
        self.served.clock.pump([LIMITS.read_timeout - 0.1])
        self.assertNoResult(done)
        self.served.clock.advance(0.2)
        self.failureResultOf(done, BodyStalled)
        self.assertIn(b"Connection: close", self.respond(400))

    def test_slow_upload(self) -> None:
        """A body may take as long as it likes while it moves."""
        _, done = gather(self.put(10))
        for _ in range(10):
            self.assertFalse(self.advance(LIMITS.read_timeout - 1))
            self.served.send(b"x")
        self.successResultOf(done)

    def test_our_own_pause(self) -> None:
        """The time in which we do not read is not the client's."""
        request = self.put(10)
        _, done = gather(request)
        request.body.pauseProducing()
        self.served.clock.pump([LIMITS.read_timeout] * 3)
        request.body.resumeProducing()
        self.served.clock.advance(LIMITS.read_timeout - 0.1)
        self.assertNoResult(done)
        self.served.clock.advance(0.2)
        self.failureResultOf(done, BodyAborted)

    def test_unread_upload(self) -> None:
        """Nor is the time before somebody reads."""
        self.put(10)
        self.assertFalse(self.advance(LIMITS.read_timeout * 3))
        self.assertEqual(self.answers.lost, [])

    def test_nothing_is_left_behind(self) -> None:
        """A lost connection leaves no timer."""
        self.served.send(GET % 1)
        self.served.leave()
        self.assertEqual(self.served.clock.getDelayedCalls(), [])
        self.assertEqual(self.served.site.connections, set())
