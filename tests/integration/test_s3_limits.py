"""The front door: too many requests of one address, too many at once, and what is told of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import REGISTRY
from twisted.logger import LogEvent, globalLogPublisher

from tests.integration.asking import PATIENCE, UNSIGNED, Answer, Wire
from tests.integration.framing import FORMS, SIGNED_FORM, SMALL, UNSIGNED_FORM, with_length
from tests.integration.s3_server import ServerCase
from tests.integration.slow_backend import SlowBackend
from tests.running import wait_until

LARGE = bytes(8 << 20)
BURST = 4
PROXY = "127.0.0.100"
REFUSAL = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    "<Message>Please reduce your request rate.</Message><Resource>/photos</Resource>"
    "<RequestId>{0}</RequestId><HostId>{0}</HostId></Error>"
)
NAMES = "server date x-amz-request-id x-amz-id-2 content-type retry-after content-length"


class From(Wire):
    """A connection from a certain address; of 127.0.0.0/8 everybody has as many as he likes."""

    def __init__(self, address: tuple[str, int], source: str) -> None:
        self.socket = socket.create_connection(address, PATIENCE, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()


class LimitsCase(ServerCase):
    """Looks at audit lines and metrics as well."""

    @contextmanager
    def audited(self) -> Iterator[list[dict[str, Any]]]:
        """Gather the audit lines of requests that are answered within."""
        lines: list[dict[str, Any]] = []

        def observe(event: LogEvent) -> None:
            if event.get("audit") and event["event"].startswith("s3."):
                lines.append(dict(event))

        self.catch_up()
        globalLogPublisher.addObserver(observe)
        try:
            yield lines
        finally:
            self.catch_up()
            globalLogPublisher.removeObserver(observe)

    def catch_up(self) -> None:
        """Let the server finish what it does once an answer has left."""
        self.server.run(lambda: None)

    def counted(self, name: str, **labels: str) -> float:
        """What a metric says."""
        self.catch_up()
        return REGISTRY.get_sample_value(name, labels) or 0.0


class RateLimitTests(LimitsCase):
    """Each test asks from addresses of its own, and none lasts long enough for another token."""

    sections = (
        f"rate_limit: {{enabled: true, requests_per_sec: 0.01, burst: {BURST}, trusted_proxies: [{PROXY}]}}\n"
        "ui: {admin_token: admin-token-of-some-length}\n"
    )

    def connect(self, source: str) -> Wire:
        wire = From(self.server.address, source)
        self.addCleanup(wire.close)
        return wire

    def spent(self, source: str) -> Wire:
        """A connection of somebody who may not ask any more."""
        wire = self.connect(source)
        for _ in range(BURST):
            self.assertSucceeded(self.alice.ask("GET", "/photos", wire=wire))
        return wire

    def test_refusal(self) -> None:
        """The one too many is refused; the connection lives on, and others notice nothing."""
        wire = self.spent("127.0.0.2")
        before = self.counted("s3o_rate_limit_rejections_total")
        for _ in range(3):
            answer = self.alice.ask("GET", "/photos", wire=wire)
            self.assertRefused(answer, 429, "SlowDown")
            self.assertEqual(answer.body.decode(), REFUSAL.format(answer.header("x-amz-request-id")))
            self.assertEqual(" ".join(name for name, _ in answer.headers), NAMES)
            self.assertIn(int(answer.header("retry-after") or 0), range(90, 101))
        self.assertEqual(self.counted("s3o_rate_limit_rejections_total") - before, 3)
        self.assertRefused(self.alice.ask("GET", "/photos", wire=self.connect("127.0.0.2")), 429, "SlowDown")
        self.assertSucceeded(self.alice.ask("GET", "/photos", wire=self.connect("127.0.0.3")))

    def test_first_of_all(self) -> None:
        """Whatever is wrong with a request, it counts; and once there are too many nobody says what it is."""
        wire = self.connect("127.0.0.4")
        wire.send(self.alice.request("GET", "/photos", signed=False))
        self.assertRefused(wire.answer(), 403, "AccessDenied")
        wire.send(b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertRefused(wire.answer(), 400, "InvalidURI")
        wire.send(b"PATCH /photos HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertRefused(wire.answer(), 405, "MethodNotAllowed")
        wire.send(b"GET /photos/a HTTP/1.1\r\nHost: h\r\nX-Amz-Content-Sha256: x\r\n\r\n")
        self.assertEqual(wire.answer().status, 403)
        for target in (b"/photos", b"/%zz", b"/photos/a"):
            wire.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
            self.assertRefused(wire.answer(), 429, "SlowDown")

    def test_head(self) -> None:
        """HEAD has no body to say it in."""
        wire = self.spent("127.0.0.5")
        wire.send(self.alice.request("HEAD", "/photos"))
        answer = wire.answer("HEAD")
        self.assertEqual((answer.status, answer.body), (429, b""))
        self.assertRefused(self.alice.ask("GET", "/photos", wire=wire), 429, "SlowDown")

    def test_small_upload(self) -> None:
        """A small body that came along is dropped, and never taken for a request."""
        wire = self.spent("127.0.0.6")
        smuggled = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
        self.assertRefused(self.alice.ask("PUT", "/photos/a", smuggled, wire=wire), 429, "SlowDown")
        request = self.alice.request("PUT", "/photos/a", smuggled)
        wire.send(request)
        self.assertRefused(wire.answer("PUT"), 429, "SlowDown")  # without having waited for the body
        wire.send(smuggled)
        self.assertRefused(self.alice.ask("GET", "/photos", wire=wire), 429, "SlowDown")

    def test_expecting_upload(self) -> None:
        """Who asks first is spared sending the body: no 100, and the connection ends."""
        wire = self.spent("127.0.0.7")
        headers = {"content-length": str(len(LARGE)), "expect": "100-continue"}
        wire.send(self.alice.request("PUT", "/photos/a", headers=headers, payload_hash=UNSIGNED))
        answer = wire.answer("PUT")
        self.assertRefused(answer, 429, "SlowDown")
        self.assertEqual((answer.interim, answer.header("connection")), ((), "close"))
        self.assertTrue(wire.is_closed())

    def test_large_upload(self) -> None:
        """Who is sending already gets the answer all the same, and nothing of the body is understood."""
        wire = self.spent("127.0.0.8")
        body = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" * (len(LARGE) // 34)
        for headers in ({"content-length": str(len(body))}, {"transfer-encoding": "chunked"}):
            wire = self.connect("127.0.0.8")
            wire.send(self.alice.request("PUT", "/photos/a", headers=headers, payload_hash=UNSIGNED))
            if "transfer-encoding" in headers:
                wire.send(b"%x\r\n" % len(body))
            wire.send(body)
            answer = wire.answer("PUT")
            self.assertRefused(answer, 429, "SlowDown")
            self.assertEqual(answer.header("connection"), "close")
            self.assertEqual(wire.rest(), b"")

    def test_not_limited(self) -> None:
        """Balancers and operators are always heard."""
        wire = self.spent("127.0.0.9")
        for target in (b"/health", b"/health/ready"):
            wire.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
            self.assertEqual(wire.answer().status, 200)
        wire.send(
            b"GET /admin/api/status HTTP/1.1\r\nHost: h\r\nX-Admin-Token: admin-token-of-some-length\r\n\r\n"
        )
        self.assertEqual(wire.answer().status, 200)

    def test_behind_a_proxy(self) -> None:
        """The clients of a proxy that is trusted are limited one by one."""
        wire = self.connect(PROXY)
        for client in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
            statuses = [self._forwarded(wire, f"6.6.6.{n}, {client}").status for n in range(BURST + 1)]
            self.assertEqual(statuses, BURST * [200] + [429])
        self.assertEqual(self._forwarded(wire, "2001:db8::2").status, 429)
        self.assertEqual(self._forwarded(wire, "2001:db8:0:1::2").status, 200)
        self.assertEqual(self._forwarded(wire, "nonsense").status, 200)

    def test_header_of_a_stranger(self) -> None:
        """Nobody else changes who he is by saying so, in the limit or in the audit trail."""
        wire = self.connect("127.0.0.10")
        with self.audited() as lines:
            statuses = [self._forwarded(wire, f"203.0.113.{n}").status for n in range(BURST + 1)]
            self._forwarded(self.connect(PROXY), "203.0.113.77")
        self.assertEqual(statuses, BURST * [200] + [429])
        remotes = [line["remote"] for line in lines]
        self.assertEqual(remotes, (BURST + 1) * ["127.0.0.10"] + ["203.0.113.77"])

    def test_audited(self) -> None:
        """A refusal has one line, by a name of its own."""
        wire = self.spent("127.0.0.11")
        with self.audited() as lines:
            self.alice.ask("GET", "/photos", wire=wire)
        (line,) = lines
        self.assertEqual(line["event"], "s3.RateLimitRejected")
        self.assertEqual((line["method"], line["path"], line["remote"]), ("GET", "/photos", "127.0.0.11"))
        self.assertEqual((line["status"], line["error"]), (429, "SlowDown"))

    def test_guesses_at_the_token(self) -> None:
        """The admin API counts wrong tokens by client too, not by proxy."""
        wire = self.connect(PROXY)

        def guess(client: bytes) -> int:
            wire.send(
                b"GET /admin/api/status HTTP/1.1\r\nHost: h\r\nX-Admin-Token: guess\r\n"
                b"X-Forwarded-For: %b\r\n\r\n" % client
            )
            return wire.answer().status

        self.assertEqual([guess(b"203.0.113.50") for _ in range(6)], 5 * [401] + [429])
        self.assertEqual(guess(b"203.0.113.51"), 401)

    def _forwarded(self, wire: Wire, text: str) -> Answer:
        return self.alice.ask("GET", "/photos", headers={"x-forwarded-for": text}, wire=wire)


class RefusalNamesTests(LimitsCase):
    """Refusals are found in the audit trail by what they are."""

    def test_names(self) -> None:
        """Each has one line, which does not call it by what it would have been."""
        for request, event, status in (
            (b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "s3.InvalidPath", 400),
            (b"PATCH /photos HTTP/1.1\r\nHost: h\r\n\r\n", "s3.MethodNotAllowed", 405),
            (self.alice.request("GET", "/photos", signed=False), "s3.AuthFailure", 403),
            (self.server.caller("nobody").request("GET", "/photos"), "s3.AuthFailure", 403),
            (self.server.caller("bob").request("GET", "/photos/a"), "s3.BucketMismatch", 403),
            (self.server.caller("reader").request("GET", "/absent"), "s3.BucketMismatch", 403),
            (self.alice.request("GET", "/photos/none"), "s3.GetObject", 404),
        ):
            with self.subTest(event), Wire(self.server.address) as wire, self.audited() as lines:
                wire.send(request)
                self.assertEqual(wire.answer().status, status)
            self.assertEqual([(line["event"], line["status"]) for line in lines], [(event, status)])

    def test_bucket_of_others(self) -> None:
        """Who asks for a bucket of others is found with what was asked for; a copy asks for its source."""
        copy = {"x-amz-copy-source": "/documents/a"}
        for request, requested in (
            (self.server.caller("photoskey").request("GET", "/documents/a"), "documents"),
            (self.server.caller("photoskey").request("PUT", "/photos/a", headers=copy), "documents"),
        ):
            with Wire(self.server.address) as wire, self.audited() as lines:
                wire.send(request)
                self.assertEqual(wire.answer().status, 403)
            (line,) = lines
            self.assertEqual(line["event"], "s3.BucketMismatch")
            self.assertEqual((line["authorized_bucket"], line["requested_bucket"]), ("photos", requested))

    def test_early(self) -> None:
        """An upload that no backend may take is refused, and counted, before it is sent."""
        before = self.counted("s3o_early_rejections_total")
        with Wire(self.server.address) as wire:
            headers = {"content-length": "5000000000", "expect": "100-continue"}
            wire.send(self.alice.request("PUT", "/photos/huge", headers=headers, payload_hash=UNSIGNED))
            answer = wire.answer("PUT")
        self.assertEqual(answer.interim, ())
        self.assertRefused(answer, 507, "InsufficientStorage")
        self.assertEqual(self.counted("s3o_early_rejections_total") - before, 1)

    settings = {"max_object_size": "5GB"}


class CountingTests(LimitsCase):
    """Requests as Prometheus sees them."""

    def test_counted(self) -> None:
        """What clients ask is counted, with what became of it; what balancers ask is not."""
        put = {"method": "PUT", "status_code": "200"}
        before = (
            self.counted("s3o_requests_total", **put),
            self.counted("s3o_request_size_bytes_sum", method="PUT"),
        )
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", LARGE, payload_hash=UNSIGNED))
        after = (
            self.counted("s3o_requests_total", **put),
            self.counted("s3o_request_size_bytes_sum", method="PUT"),
        )
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (1, len(LARGE)))
        sent = self.counted("s3o_response_size_bytes_sum", method="GET")
        gets = self.counted("s3o_request_duration_seconds_count", method="GET")
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, LARGE)
        self.alice.ask_unsigned("GET", "/health")
        self.assertEqual(self.counted("s3o_response_size_bytes_sum", method="GET") - sent, len(LARGE))
        self.assertEqual(self.counted("s3o_request_duration_seconds_count", method="GET") - gets, 1)
        self.assertEqual(self.counted("s3o_inflight_requests", method="GET"), 0)

    def test_refused_before_anything(self) -> None:
        """So are answers to what is no request."""
        labels = {"method": "other", "status_code": "400"}
        before = self.counted("s3o_requests_total", **labels)
        with Wire(self.server.address) as wire:
            wire.send(b"nonsense\r\n\r\n")
            self.assertEqual(wire.answer().status, 400)
        self.assertEqual(self.counted("s3o_requests_total", **labels) - before, 1)

    def test_uploads_in_chunks(self) -> None:
        """They are counted by how they are signed, and refusals by what was wrong with the chunks."""
        spoiled = (
            ("signed", "signed", b"signature=", b"signature=0bad", "signature"),
            (SIGNED_FORM, "signed_trailer", b"crc32:", b"crc64:", "signature"),
            (UNSIGNED_FORM, "unsigned_trailer", b"3e8\r\n", b"3e8;\n\n", "framing"),
            (UNSIGNED_FORM, "unsigned_trailer", b"x-amz-checksum", b"x-amz-checkmate", "trailer"),
            (UNSIGNED_FORM, "unsigned_trailer", b"crc32:", b"crc32:AAAA", "framing"),
        )
        for name, variant, old, new, reason in spoiled:
            with self.subTest((variant, reason)):
                request = FORMS[name].request(self.alice, SMALL)
                body = FORMS[name].body(self.alice, request, SMALL, 1000)
                before = self._chunk_counters(variant, reason)
                for sent, status in ((body, 200), (body.replace(old, new, 1), None)):
                    with Wire(self.server.address) as wire:
                        wire.send(with_length(request, sent), sent)
                        answer = wire.answer("PUT")
                        self.assertTrue(answer.status == status or (status is None and answer.status >= 400))
                after = self._chunk_counters(variant, reason)
                self.assertEqual((after[0] - before[0], after[1] - before[1]), (2, 1), answer.body)

    def _chunk_counters(self, variant: str, reason: str) -> tuple[float, float]:
        return (
            self.counted("s3o_auth_streaming_requests_total", variant=variant),
            self.counted("s3o_auth_streaming_rejections_total", reason=reason),
        )

    def test_connections(self) -> None:
        """Open connections are counted until they are closed."""
        before = self.counted("s3o_connections")
        wires = [Wire(self.server.address) for _ in range(5)]
        for wire in wires:
            self.alice.ask("HEAD", "/photos", wire=wire)
        self.assertEqual(self.counted("s3o_connections") - before, 5)
        for wire in wires:
            wire.close()
        wait_until(lambda: self.counted("s3o_connections") == before, "connections are left", PATIENCE)


class AdmissionTests(LimitsCase):
    """One slot for writes, which waits, and one for reads."""

    memory_class = SlowBackend
    settings = {"max_concurrent_reads": 50, "max_concurrent_writes": 1, "admission_wait": "200ms"}

    def test_waiting_in_vain(self) -> None:
        """Who gets no slot in time is refused, counted and audited once; reads go on meanwhile."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        before = self.counted("s3o_admission_rejections_total")
        with Wire(self.server.address) as first, self.audited() as lines:
            first.send(self.alice.request("PUT", "/photos/a", b"data"), b"data")
            wait_until(lambda: backend.held, "nothing reaches the backend", PATIENCE)
            with Wire(self.server.address) as second:
                headers = {"content-length": "4", "expect": "100-continue"}
                second.send(self.alice.request("PUT", "/photos/b", headers=headers, payload_hash=UNSIGNED))
                self.assertSucceeded(self.alice.ask("GET", "/photos"))
                answer = second.answer("PUT")
            self.assertRefused(answer, 503, "SlowDown")
            self.assertEqual((answer.interim, answer.header("retry-after")), ((), "1"))
            self.server.run(backend.release)
            self.assertSucceeded(first.answer("PUT"))
        self.assertEqual(self.counted("s3o_admission_rejections_total") - before, 1)
        refused = [line for line in lines if line["event"] == "s3.AdmissionRejected"]
        self.assertEqual([(line["status"], line["key"]) for line in refused], [(503, "b")])

    def test_leaving_the_queue(self) -> None:
        """Who leaves while waiting is counted, and gives its place to the next."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        before = self.counted("s3o_admission_client_canceled_total")
        with Wire(self.server.address) as first:
            first.send(self.alice.request("PUT", "/photos/a", b"data"), b"data")
            wait_until(lambda: backend.held, "nothing reaches the backend", PATIENCE)
            with Wire(self.server.address) as second:
                second.send(self.alice.request("DELETE", "/photos/b"))
                wait_until(
                    lambda: self.counted("s3o_inflight_requests", method="DELETE"),
                    "it does not arrive",
                    PATIENCE,
                )
            wait_until(
                lambda: self.counted("s3o_admission_client_canceled_total") == before + 1,
                "it is not noticed",
                PATIENCE,
            )
            self.server.run(backend.release)
            self.assertSucceeded(first.answer("PUT"))
        self.assertEqual(self.alice.ask("DELETE", "/photos/a").status, 204)


class SheddingTests(LimitsCase):
    """Half of what comes is shed while the other slot is taken."""

    memory_class = SlowBackend
    settings = {"max_concurrent_requests": 2, "load_shed_threshold": 0.01}

    def test_shed(self) -> None:
        """Some are refused although there is a slot; counted and audited as such."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        shed = self.counted("s3o_load_shed_total")
        full = self.counted("s3o_admission_rejections_total")
        with Wire(self.server.address) as first, self.audited() as lines:
            first.send(self.alice.request("PUT", "/photos/a", b"data"), b"data")
            wait_until(lambda: backend.held, "nothing reaches the backend", PATIENCE)
            answers = [self.alice.ask("GET", "/photos") for _ in range(100)]
            self.server.run(backend.release)
            self.assertSucceeded(first.answer("PUT"))
        refused = [answer for answer in answers if answer.status != 200]
        self.assertIn(len(refused), range(10, 91))
        for answer in refused:
            self.assertRefused(answer, 503, "SlowDown")
            self.assertEqual(answer.header("retry-after"), "1")
        self.assertEqual(self.counted("s3o_load_shed_total") - shed, len(refused))
        self.assertEqual(self.counted("s3o_admission_rejections_total") - full, 0)
        self.assertEqual([line["event"] for line in lines].count("s3.LoadShed"), len(refused))
