"""Where bodies end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from s3orchestrator.protocol.transfer import (
    MAX_LINE,
    MAX_OVERHEAD,
    MAX_TRAILERS,
    ChunkedDecoder,
    LengthDecoder,
    MalformedChunks,
)


def decode(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    """The body, whether it is complete, and what followed."""
    decoder = ChunkedDecoder()
    body = b""
    rest = b""
    for piece in pieces:
        if decoder.is_finished:
            rest += piece
        else:
            body += decoder.update(piece)
            rest = decoder.rest
    return body, decoder.is_finished, rest


class LengthTests(SynchronousTestCase):
    @given(st.binary(max_size=40), st.integers(1, 20), st.lists(st.integers(1, 7)))
    def test_any_cut(self, wire: bytes, length: int, sizes: list[int]) -> None:
        """However it arrives, the body is the first `length` bytes and the rest is not."""
        decoder = LengthDecoder(length)
        body, left = b"", wire
        for size in [*sizes, *[len(wire) + 1]]:
            piece, left = left[:size], left[size:]
            if piece and not decoder.is_finished:
                body += decoder.update(piece)
                self.assertEqual(decoder.left, length - len(body))
            elif piece:
                decoder.rest += piece
        self.assertEqual(body, wire[:length])
        self.assertEqual(decoder.rest, wire[length:])
        self.assertEqual(decoder.is_finished, len(wire) >= length)


class ChunkTests(SynchronousTestCase):
    def test_chunks(self) -> None:
        """Chunks become one body; their sizes are hexadecimal in either case."""
        self.assertEqual(decode(b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n"), (b"abc0123456789", True, b""))

    def test_empty(self) -> None:
        """A body may consist of the last chunk."""
        self.assertEqual(decode(b"0\r\n\r\n"), (b"", True, b""))

    def test_what_follows(self) -> None:
        """What comes after the body is kept for whoever is next."""
        self.assertEqual(decode(b"1\r\na\r\n0\r\n\r\nGET /"), (b"a", True, b"GET /"))

    def test_extensions_and_trailers(self) -> None:
        """Both are read and forgotten."""
        wire = b"1;name=value\r\na\r\n0;last\r\nX-Checksum: abc\r\nX-Other:\r\n\r\n"
        self.assertEqual(decode(wire), (b"a", True, b""))

    def test_malformed(self) -> None:
        """The first byte that cannot be right is the last one that is read."""
        for wire in (
            b"\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1_0\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"1 ;x\r\n",
            b"1\n",
            b"1\r\r\n",
            b"1;\0\r\n",
            b"1;a\nb\r\n",
            b"1" * 16 + b"\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rX",
            b"1\r\nab\r\n",
            b"0\r\nno colon\r\n",
            b"0\r\n folded: x\r\n",
            b"0\r\nX: \x0b\r\n",
            b"0\r\nX : 1\r\n",
        ):
            self.assertRaises(MalformedChunks, decode, wire)

    def test_long_lines(self) -> None:
        """A size line may be so long and no longer, whether or not its end has come."""
        longest = b"1;" + b"x" * (MAX_LINE - 2)
        self.assertEqual(decode(longest + b"\r\na\r\n0\r\n\r\n")[0], b"a")
        self.assertEqual(decode(longest), (b"", False, b""))
        self.assertRaises(MalformedChunks, decode, longest + b"x\r\na\r\n")
        self.assertRaises(MalformedChunks, decode, longest + b"xx")

    def test_much_framing(self) -> None:
        """Extensions cannot be used to send much and mean little."""
        chunk = b"1;" + b"x" * 500 + b"\r\na\r\n"
        few, many = MAX_OVERHEAD // 500 - 1, MAX_OVERHEAD // 480 + 1
        self.assertEqual(decode(chunk * few)[0], b"a" * few)
        self.assertRaises(MalformedChunks, decode, chunk * many)

    def test_small_chunks_are_fine(self) -> None:
        """A client that sends byte by byte is slow, but not hostile."""
        self.assertEqual(decode(b"1\r\na\r\n" * 50_000)[0], b"a" * 50_000)

    def test_many_trailers(self) -> None:
        """Trailers are bounded in sum."""
        line = b"X: " + b"x" * 95 + b"\r\n"
        self.assertTrue(decode(b"0\r\n" + line * (MAX_TRAILERS // 100 - 1) + b"\r\n")[1])
        self.assertRaises(MalformedChunks, decode, b"0\r\n" + line * (MAX_TRAILERS // 100 + 1) + b"\r\n")

    @given(st.lists(st.binary(min_size=1, max_size=30)), st.binary(max_size=10), st.lists(st.integers(1, 9)))
    def test_any_cut(self, chunks: list[bytes], after: bytes, sizes: list[int]) -> None:
        """However the bytes arrive, they make the same body."""
        wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + after
        pieces = []
        for size in sizes:
            pieces.append(wire[:size])
            wire = wire[size:]
        self.assertEqual(decode(*pieces, wire), (b"".join(chunks), True, after))

    @given(
        st.lists(st.sampled_from([b"1", b"a", b"0", b"\r\n", b"\r", b"\n", b";", b" ", b"x:y"]), max_size=14)
    )
    def test_reads_as_twisted_does(self, parts: list[bytes]) -> None:
        """Whatever we take for a whole body, Twisted takes for the same body."""
        wire = b"".join(parts)
        try:
            body, complete, rest = decode(wire)
        except MalformedChunks:
            return
        if complete:
            seen: list[bytes] = []
            ends: list[bytes] = []
            http._ChunkedTransferDecoder(seen.append, ends.append).dataReceived(wire)
            self.assertEqual((b"".join(seen), ends), (body, [rest]))
