"""Heads of replies and bodies in chunks, well-formed or not, however they are cut."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.replies import MAX_HEAD, BadReply, Chunks, parse_head


class HeadTests(SynchronousTestCase):
    """What the head of a reply says."""

    def test_plain(self) -> None:
        """
        Names are lower-cased, values trimmed, repeated headers joined.
        """
        head = parse_head(b'HTTP/1.1 200 OK\r\nETag:  "x" \r\nContent-Length: 5\r\nVary: a\r\nVARY:b')
        self.assertEqual((head.status, head.phrase, head.length, head.keeps), (200, b"OK", 5, True))
        self.assertEqual(head.headers, {b"etag": b'"x"', b"content-length": b"5", b"vary": b"a, b"})

    def test_no_phrase(self) -> None:
        """
        The words after the status are optional.
        """
        self.assertEqual(parse_head(b"HTTP/1.1 204").status, 204)
        self.assertEqual(parse_head(b"HTTP/1.1 204 ").status, 204)

    def test_framing(self) -> None:
        """
        Chunks, a length, or everything until the connection closes.
        """
        for headers, expected in [
            (b"Transfer-Encoding: Chunked", (None, True, True)),
            (b"Content-Length: 0", (0, False, True)),
            (b"Content-Length: 7\r\nContent-Length: 7", (7, False, True)),
            (b"X: y", (None, False, False)),
        ]:
            head = parse_head(b"HTTP/1.1 200 OK\r\n" + headers)
            self.assertEqual((head.length, head.chunked, head.keeps), expected)

    def test_bodiless(self) -> None:
        """
        Some replies have no body whatever they say of its length.
        """
        for status in (100, 204, 304):
            self.assertEqual(parse_head(b"HTTP/1.1 %d X\r\nContent-Length: 7" % status).length, 0)
        self.assertEqual(parse_head(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked", bodiless=True).length, 0)

    def test_keeping(self) -> None:
        """
        HTTP/1.1 keeps connections unless it says otherwise, HTTP/1.0 the other way round.
        """
        for version, header, keeps in [
            (b"1.1", b"X: y", True),
            (b"1.1", b"Connection: Close", False),
            (b"1.1", b"Connection: x, close", False),
            (b"1.0", b"X: y", False),
            (b"1.0", b"Connection: Keep-Alive", True),
        ]:
            head = parse_head(b"HTTP/%s 200 OK\r\nContent-Length: 1\r\n%s" % (version, header))
            self.assertEqual(head.keeps, keeps)

    def test_refused(self) -> None:
        """
        What can be read in two ways is not read at all.
        """
        for head in [
            b"",
            b"HTTP/2 200 OK",
            b"HTTP/1.1 99 X",
            b"HTTP/1.1 600 X",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 OK\r\nno colon",
            b"HTTP/1.1 200 OK\r\n: value",
            b"HTTP/1.1 200 OK\r\nName : value",
            b"HTTP/1.1 200 OK\r\nA: b\r\n folded",
            b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5",
            b"HTTP/1.1 200 OK\r\nA: b\rc",
            b"HTTP/1.1 200 OK\r\nA: b\0c",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            b"HTTP/1.1 200 OK\r\nContent-Length: +5",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456789",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        ]:
            with self.assertRaises(BadReply, msg=head):
                parse_head(head)

    @given(st.binary())
    def test_anything(self, head: bytes) -> None:
        """
        Whatever bytes come, they are read or refused.
        """
        for data in (head, b"HTTP/1.1 200 OK\r\n" + head):
            try:
                found = parse_head(data)
            except BadReply:
                continue
            self.assertTrue(100 <= found.status < 600)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


class ChunksTests(SynchronousTestCase):
    """Bodies in chunks."""

    @given(
        st.lists(st.binary(min_size=1, max_size=40), max_size=5),
        st.binary(max_size=5),
        st.lists(st.integers(0, 300), max_size=30),
        st.sampled_from([b"", b"Trailer: x\r\n", b"A: b\r\nC: d\r\n"]),
    )
    def test_round_trip(self, pieces: list[bytes], after: bytes, cuts: list[int], trailers: bytes) -> None:
        """
        However the network cuts it, the same bytes come out, and what follows is kept apart.
        """
        framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        framed += b"0;last\r\n" + trailers + b"\r\n"
        chunks = Chunks()
        out, rest = b"", b""
        for data in _cut(framed + after, cuts):
            if chunks.done:
                rest += data
            else:
                out += chunks.feed(data)
        self.assertEqual(out, b"".join(pieces))
        self.assertTrue(chunks.done)
        self.assertEqual(chunks.rest + rest, after)

    def test_refused(self) -> None:
        """
        Sizes that are none, chunks longer than their size, and lines without end.
        """
        for data in [
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"1" * 16 + b"\r\n",
            b"1\r\nab\r\n",
            b"1" * 300,
            b"1;" + b"x" * 300 + b"\r\n",
        ]:
            with self.assertRaises(BadReply, msg=data):
                Chunks().feed(data)

    def test_tiny_chunks(self) -> None:
        """
        Many chunks in one read cost what few do: nothing is copied for each of them.
        """
        count = 256 * 1024 // 6
        spent = []
        for _ in range(3):
            begin = time.process_time()
            self.assertEqual(Chunks().feed(b"1\r\nx\r\n" * count), b"x" * count)
            spent.append(time.process_time() - begin)
        self.assertLess(min(spent), 0.1)

    def test_endless_trailers(self) -> None:
        """
        Trailers end in the end, whether they come in one read or in many.
        """
        line = b"a: b\r\n"
        with self.assertRaises(BadReply):
            Chunks().feed(b"0\r\n" + line * (MAX_HEAD // len(line) + 1))
        chunks = Chunks()
        chunks.feed(b"0\r\n")
        with self.assertRaises(BadReply):
            for _ in range(MAX_HEAD // len(line) + 1):
                chunks.feed(line)
        chunks = Chunks()
        chunks.feed(b"0\r\n" + line * 1000 + b"\r\nrest")
        self.assertEqual((chunks.done, chunks.rest), (True, b"rest"))

    @given(st.lists(st.binary(max_size=20), max_size=10))
    def test_anything(self, data: list[bytes]) -> None:
        """
        Whatever bytes come, they are decoded or refused.
        """
        chunks = Chunks()
        with self.assertRaisesNothingBut(BadReply):
            for each in data:
                if not chunks.done:
                    chunks.feed(each)

    def assertRaisesNothingBut(self, *allowed: type[Exception]) -> _NothingBut:
        return _NothingBut(allowed)


class _NothingBut:
    def __init__(self, allowed: tuple[type[Exception], ...]) -> None:
        self._allowed = allowed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._allowed)
