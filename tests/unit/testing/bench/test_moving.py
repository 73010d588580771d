"""The benchmark's clients for large bodies, against the sink and a server that looks at what it is sent."""

from __future__ import annotations

import base64
import socket
import tempfile
import zlib
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.chunked import ChunkDecoder, SignatureChain
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.testing.bench.certificate import Certificate
from s3orchestrator.testing.bench.chunked import signed_chunks, unsigned_chunks
from s3orchestrator.testing.bench.load import UnexpectedAnswer, connect
from s3orchestrator.testing.bench.moving import Parts, Piece, ask, download, upload
from s3orchestrator.testing.bench.sdk import REGION, Sdk
from s3orchestrator.testing.bench.servers import Server, sink

PUT = b"PUT /b/k HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /b/k HTTP/1.1\r\n\r\n"
CONTENT = b"0123456789" * 100_000


class AgainstSinkTests(SynchronousTestCase):
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

    def test_bodies(self) -> None:
        """What goes up is as long as it was said to be, and what comes down is as long as that."""
        size = 3_000_001
        with closing(Piece.make(b"0123456789" * 1000)) as piece, closing(connect(self.server.port)) as client:
            upload(client, piece, [(PUT % size, size)])
            self.assertEqual(download(client, GET), size)
            self.assertEqual(download(client, GET), size)

    def test_refused_download(self) -> None:
        """A download that is refused has no length."""
        with closing(connect(self.server.port)) as client:
            self.assertRaises(UnexpectedAnswer, download, client, b"GET /b/none HTTP/1.1\r\n\r\n")

    def test_ask(self) -> None:
        """A small answer comes whole."""
        with closing(connect(self.server.port)) as client:
            ask(client, PUT % 3 + b"abc")
            answer = ask(client, GET)
        self.assertEqual(len(answer.partition(b"\r\n\r\n")[2]), 3)


class WhatIsSentTests(SynchronousTestCase):
    """Everything that is sent is read by somebody who can tell whether it is right."""

    def setUp(self) -> None:
        self.piece = Piece.make(CONTENT)
        self.addCleanup(self.piece.close)
        self.sdk = Sdk(b"127.0.0.1:9000", "key", "secret", lambda: 1_750_000_000.0)

    def sent(self, parts: Parts, size: int, tls: Certificate | None = None) -> tuple[bytes, bytes]:
        """The head and the body of `size` bytes, as the other side receives them."""
        received = bytearray()
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            hearing = Thread(target=_hear, args=(listening, tls, received, size))
            hearing.start()
            context = tls.client() if tls is not None else None
            with closing(connect(listening.getsockname()[1], tls=context)) as client:
                upload(client, self.piece, parts)
            hearing.join()
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        return head, body

    def test_repeated(self) -> None:
        """A body that is longer than the piece is the piece over and over, and so is its digest."""
        size = len(CONTENT) * 2 + 500_000
        _, body = self.sent([(PUT % size, size)], size)
        self.assertEqual(sha256(body).hexdigest().encode(), self.piece.digest(size))
        self.assertEqual(body[:size], (CONTENT * 3)[:size])

    def test_over_tls(self) -> None:
        """Over TLS the same bytes arrive."""
        size = len(CONTENT) + 3
        directory = Path(self.mktemp())
        directory.mkdir()
        _, body = self.sent([(PUT % size, size)], size, Certificate.make(directory))
        self.assertEqual(body, CONTENT + CONTENT[:3])

    def test_signed_chunks(self) -> None:
        """Each chunk's signature is right, and the length that was told is the length of all of it."""
        size = 200_001
        length = _length(next(iter(signed_chunks(self.sdk, b"/bench/k", self.piece, size)))[0])
        head, body = self.sent(signed_chunks(self.sdk, b"/bench/k", self.piece, size), length)
        self.assertEqual(len(body), length)
        fields = _fields(head)
        signature = fields[b"authorization"].rpartition(b"Signature=")[2]
        stamp = fields[b"x-amz-date"]
        key = SigningKeys().key("secret", stamp[:8], REGION)
        scope = stamp[:8] + b"/us-east-1/s3/aws4_request"
        decoder = ChunkDecoder(size, SignatureChain(key, stamp, scope, signature))
        self.assertEqual(decoder.update(body) + decoder.finish(), CONTENT[:65536] * 3 + CONTENT[:3393])

    def test_unsigned_chunks(self) -> None:
        """The checksum behind the last chunk is that of the data."""
        size = (1 << 20) + 5  # more than the piece has, of which a chunk is the beginning
        with closing(Piece.make(CONTENT * 2)) as self.piece:
            parts = unsigned_chunks(self.sdk, b"/bench/k", self.piece, size)
            length = _length(next(iter(parts))[0])
            _, body = self.sent(parts, length)
        decoder = ChunkDecoder(size, None, frozenset({b"x-amz-checksum-crc32"}), True)
        data = decoder.update(body) + decoder.finish()
        self.assertEqual((len(body), len(data)), (length, size))
        crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))
        self.assertEqual(decoder.trailers[b"x-amz-checksum-crc32"], crc)


def _hear(listening: socket.socket, tls: Certificate | None, received: bytearray, size: int) -> None:
    client, _ = listening.accept()
    if tls is not None:
        client = tls.server().wrap_socket(client, server_side=True)
    with closing(client):
        while len(received.partition(b"\r\n\r\n")[2]) < size:
            received += client.recv(1 << 20)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _fields(head: bytes) -> dict[bytes, bytes]:
    return dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)


def _length(head: bytes) -> int:
    return int(_fields(head.partition(b"\r\n\r\n")[0])[b"Content-Length"])
