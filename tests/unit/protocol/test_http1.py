"""Heads of requests: what is understood, and what is refused rather than guessed at."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.http1 import MAX_HEAD, Head, find_head, parse_head


def parse(*lines: bytes) -> Head:
    return parse_head(b"\r\n".join(lines))


class UnderstoodTests(SynchronousTestCase):
    def test_request_line_and_headers(self) -> None:
        """Method, target and headers come through as they were sent, but for the case of names."""
        head = parse(
            b"GET /b/a%2Fb//../c?x=1&y HTTP/1.1", b"Host: s3.example:9000", b"X-Amz-Date:\t20261121T021500Z "
        )
        self.assertEqual((head.method, head.target), (b"GET", b"/b/a%2Fb//../c?x=1&y"))
        self.assertEqual(head.headers, {b"host": [b"s3.example:9000"], b"x-amz-date": [b"20261121T021500Z"]})

    def test_repeated_headers_keep_their_order(self) -> None:
        """A header sent twice has two values."""
        head = parse(b"GET / HTTP/1.1", b"Host: h", b"X-Amz-Meta-A: 1", b"x-amz-meta-a: 2")
        self.assertEqual(head.headers[b"x-amz-meta-a"], [b"1", b"2"])

    def test_bytes_of_values(self) -> None:
        """Values keep bytes beyond ASCII, inner blanks and colons."""
        head = parse(b"GET / HTTP/1.1", b"Host: h", b"X-Amz-Meta-A: gr\xc3\xbc\xdfe:  a\tb")
        self.assertEqual(head.headers[b"x-amz-meta-a"], [b"gr\xc3\xbc\xdfe:  a\tb"])

    def test_no_body(self) -> None:
        """Without a length there is no body."""
        self.assertEqual(parse(b"GET / HTTP/1.1", b"Host: h").length, 0)

    def test_length(self) -> None:
        """`Content-Length` is the length; leading zeros do not matter."""
        self.assertEqual(parse(b"PUT / HTTP/1.1", b"Host: h", b"Content-Length: 0042").length, 42)

    def test_chunks(self) -> None:
        """A body in chunks has no known length."""
        self.assertIsNone(parse(b"PUT / HTTP/1.1", b"Host: h", b"Transfer-Encoding: Chunked").length)

    def test_expects_continue(self) -> None:
        """Only 100-continue is an expectation, and only in HTTP/1.1; others are ignored."""
        self.assertTrue(parse(b"PUT / HTTP/1.1", b"Host: h", b"Expect: 100-Continue").expects_continue)
        self.assertFalse(parse(b"PUT / HTTP/1.1", b"Host: h", b"Expect: wonders").expects_continue)
        self.assertFalse(parse(b"PUT / HTTP/1.0", b"Expect: 100-continue").expects_continue)

    def test_persistence(self) -> None:
        """HTTP/1.1 persists unless told to close; HTTP/1.0 never does."""
        self.assertTrue(parse(b"GET / HTTP/1.1", b"Host: h").is_persistent)
        self.assertFalse(parse(b"GET / HTTP/1.1", b"Host: h", b"Connection: TE, Close").is_persistent)
        self.assertFalse(parse(b"GET / HTTP/1.0", b"Connection: keep-alive").is_persistent)

    def test_absolute_target(self) -> None:
        """A target as sent to a proxy is taken apart, and its host counts (RFC 9112, 3.2.2)."""
        head = parse(b"GET http://s3.example:9000/b/k?q HTTP/1.1", b"Host: other")
        self.assertEqual((head.target, head.headers[b"host"]), (b"/b/k?q", [b"s3.example:9000"]))
        self.assertEqual(parse(b"GET HTTPS://h HTTP/1.1", b"Host: h").target, b"/")
        self.assertEqual(parse(b"GET http://h?q HTTP/1.1", b"Host: h").target, b"/?q")

    def test_bytes_of_targets(self) -> None:
        """Bytes beyond ASCII come through, although a client should have encoded them."""
        self.assertEqual(parse("GET /b/grüße HTTP/1.1".encode(), b"Host: h").target, "/b/grüße".encode())

    def test_unknown_method(self) -> None:
        """Any token is a method; what to make of it is decided elsewhere."""
        self.assertEqual(parse(b"BREW /pot HTTP/1.1", b"Host: h").method, b"BREW")


class RefusedTests(SynchronousTestCase):
    def assertRefused(self, *lines: bytes, code: str = "BadRequest") -> None:
        error = self.assertRaises(S3Error, parse, *lines)
        self.assertEqual(error.code, code)

    def test_request_lines(self) -> None:
        """A request line has three words, one blank apart, and a version we speak."""
        for line in (
            b"",
            b"GET",
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET / HTTP/2.0",
            b"GET / HTTP/1.2",
            b"GET / http/1.1",
            b"GET / HTTP/1.10",
            b"GET /a b HTTP/1.1",
            b"GE(T / HTTP/1.1",
            b"PRI * HTTP/2.0",
        ):
            self.assertRefused(line, b"Host: h")

    def test_targets(self) -> None:
        """A target is a path, or a URL of HTTP without a user."""
        for target in (
            b"*",
            b"b/k",
            b"h:9000",
            b"ftp://h/",
            b"http://",
            b"http:///k",
            b"http://u@h/",
            b"/a\tb",
            b"?q",
        ):
            self.assertRefused(b"GET " + target + b" HTTP/1.1", b"Host: h")

    def test_line_ends(self) -> None:
        """CR and LF come as a pair or not at all."""
        for line in (b"X-A: 1\nX-B: 2", b"X-A: 1\rX-B: 2", b"X-A: 1\r\r", b"\nX-A: 1", b"X-A: \r"):
            self.assertRefused(b"GET / HTTP/1.1", b"Host: h", line, b"X-C: 3")

    def test_control_characters(self) -> None:
        """NUL and other control characters are refused wherever they are."""
        for line in (b"X-A: a\0b", b"X-A: a\x0bb", b"X-A: a\x7f", b"X\0A: 1"):
            self.assertRefused(b"GET / HTTP/1.1", b"Host: h", line)
        self.assertRefused(b"GET /\0 HTTP/1.1", b"Host: h")

    def test_header_lines(self) -> None:
        """A header has a name that is a token, and a colon right behind it."""
        for line in (
            b"X-A : 1",
            b"X-A\t: 1",
            b" X-A: 1",
            b"\tfolded",
            b": 1",
            b"X-A",
            b"X(A): 1",
            b"X A: 1",
            b"\xc3\xbc: 1",
            b"",
        ):
            self.assertRefused(b"GET / HTTP/1.1", b"Host: h", line)

    def test_folded_header(self) -> None:
        """A value does not go on in the next line."""
        self.assertRefused(b"GET / HTTP/1.1", b"Host: h", b"X-A: 1", b"  2")

    def test_lengths(self) -> None:
        """There is one length, of decimal digits."""
        for value in (b"", b"-1", b"+1", b"0x10", b"1,1", b"1, 2", b"1 1", b"1_0", b"\xd9\xa1", b"9" * 19):
            self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", b"Content-Length: " + value)

    def test_two_lengths(self) -> None:
        """Two lengths are refused even if they agree."""
        self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", b"Content-Length: 1", b"Content-Length: 2")
        self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", b"Content-Length: 1", b"content-length: 1")

    def test_length_beside_chunks(self) -> None:
        """A length with chunking is refused, in either order."""
        self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", b"Content-Length: 1", b"Transfer-Encoding: chunked")
        self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", b"Transfer-Encoding: chunked", b"Content-Length: 1")

    def test_codings(self) -> None:
        """`chunked`, once, is the only transfer coding."""
        for value in (
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"chunked;q=1",
            b"",
            b"chunked,",
        ):
            self.assertRefused(
                b"PUT / HTTP/1.1", b"Host: h", b"Transfer-Encoding: " + value, code="NotImplemented"
            )
        twice = (b"Transfer-Encoding: chunked",) * 2
        self.assertRefused(b"PUT / HTTP/1.1", b"Host: h", *twice, code="NotImplemented")

    def test_chunks_in_http_1_0(self) -> None:
        """HTTP/1.0 has no chunks."""
        self.assertRefused(b"PUT / HTTP/1.0", b"Transfer-Encoding: chunked")

    def test_hosts(self) -> None:
        """HTTP/1.1 names one host, and it looks like one."""
        self.assertRefused(b"GET / HTTP/1.1")
        self.assertRefused(b"GET / HTTP/1.1", b"Host: a", b"Host: a")
        for host in (b"a b", b"a/b", b"u@h", b'a,"b'):
            self.assertRefused(b"GET / HTTP/1.1", b"Host: " + host)
        self.assertEqual(parse(b"GET / HTTP/1.0").headers, {})


class FindingTests(SynchronousTestCase):
    def test_end_of_head(self) -> None:
        """The head ends at the first empty line; before that, more is needed."""
        self.assertEqual(find_head(b"GET / HTTP/1.1\r\n\r\nbody\r\n\r\n"), 14)
        self.assertEqual(find_head(b"GET / HTTP/1.1\r\n\r"), -1)

    def test_longest_head(self) -> None:
        """A head may have 16 KiB, its empty line included, and not a byte more."""
        line = b"GET / HTTP/1.1\r\nX-A: "
        longest = line + b"a" * (MAX_HEAD - len(line) - 4) + b"\r\n\r\n"
        self.assertEqual(find_head(longest + b"body"), MAX_HEAD - 4)
        self.assertEqual(find_head(longest[:-1]), -1)
        for too_long in (b"a" + longest, b"a" * MAX_HEAD):
            error = self.assertRaises(S3Error, find_head, too_long)
            self.assertEqual(error.code, "RequestHeaderSectionTooLarge")

    def test_bare_line_feeds(self) -> None:
        """A client that ends its lines with LF hears so at once instead of waiting."""
        self.assertRaises(S3Error, find_head, b"GET / HTTP/1.1\nHost: h\n\n")


def twisted_reads(text: bytes) -> tuple[Any, ...] | None:
    """What Twisted's own channel makes of a head: None if it refuses."""
    seen: list[tuple[Any, ...]] = []

    class Seen(http.Request):
        def process(self) -> None:
            headers = {name.lower(): values for name, values in self.requestHeaders.getAllRawHeaders()}
            seen.append((self.method, self.uri, headers))

    channel = http.HTTPChannel()
    channel.requestFactory = Seen
    channel.callLater = Clock().callLater
    transport = StringTransport()
    channel.makeConnection(transport)
    # No byte of a body: Twisted then shows the request only if it believes there is none.
    channel.dataReceived(text)
    if transport.disconnecting or b" 400 " in transport.value():
        return None
    return seen[0] if seen else ()


FRAGMENTS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\0", b"\x0b", b"\x7f", b"\xff", b"\r\n\r\n"),
        *(b"/", b"?", b"a", b"+", b"-", b"0", b"GET ", b"HTTP/1.0", b"HTTP/1.1", b"http://h/"),
        *(b"Host: h", b"\r\nHost: h", b"\r\n folded", b"\r\nX-A: 1", b"\r\nX-A : 1", b"Content-Length"),
        *(b"\r\nContent-Length: 0", b"\r\nContent-Length: 5", b"\r\nContent-Length : 5"),
        *(b"\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding:\x0bchunked"),
        b"\r\nTransfer-Encoding: identity",
    ]
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A good head to which something was done."""
    text = draw(
        st.sampled_from(
            [
                b"GET /b/k?x=1 HTTP/1.1\r\nHost: h\r\nX-Amz-Date: now",
                b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-Amz-Meta-A: 1",
                b"POST /b?uploads HTTP/1.1\r\nHost: h\r\nConnection: close",
                b"GET / HTTP/1.0\r\nX-A: 1",
            ]
        )
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 3))
        text = text[:at] + draw(FRAGMENTS) + text[at + gone :]
    return text


class OracleTests(SynchronousTestCase):
    @given(mangled())
    def test_reads_as_twisted_does(self, text: bytes) -> None:
        """What both accept, both read the same; we accept nothing that Twisted refuses."""
        head = self.ours(text)
        if head is None or head.length != 0 or b"://" in text:
            return  # refusing more is our business; bodies and absolute targets have tests of their own
        if not head.target.isascii():
            return  # sent by careless clients, read by everybody alike, and refused by Twisted
        self.assertEqual((head.method, head.target, head.headers), twisted_reads(text + b"\r\n\r\n"))

    def ours(self, text: bytes) -> Head | None:
        try:
            end = find_head(text + b"\r\n\r\n")
            if end != len(text):
                return None  # an empty line within: there are two requests
            return parse_head(text)
        except S3Error:
            return None

    @given(st.binary(max_size=200))
    def test_never_fails_otherwise(self, data: bytes) -> None:
        """Whatever comes, it is a head, or more is needed, or it is refused."""
        try:
            end = find_head(data)
            if end >= 0:
                parse_head(data[:end])
        except S3Error:
            pass

    @given(st.binary(max_size=60), st.integers(0, 60))
    def test_the_end_does_not_move(self, data: bytes, cut: int) -> None:
        """Where a head ends does not depend on how it arrived."""
        whole = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + data
        self.assertIn(find_head(whole[:cut]), (-1, find_head(whole)))
