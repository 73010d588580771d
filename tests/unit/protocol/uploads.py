"""Bodies as clients frame them, and how they come through a payload's filters."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256

from attrs import define

from s3orchestrator.protocol import checksums
from s3orchestrator.protocol.claims import Credential, Kind
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.protocol.payload import Filter
from s3orchestrator.protocol.sigv4 import Verified
from tests.unit.protocol.signing import ACCESS_KEY, REGION, SECRET

STAMP = b"20130524T000000Z"
SCOPE = b"20130524/us-east-1/s3/aws4_request"
KEY = SigningKeys().key(SECRET, b"20130524", REGION)

SIGNED = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def verified(payload_hash: bytes, seed: str = "5eed" * 16) -> Verified:
    """A request that was found to be signed."""
    credential = Credential(ACCESS_KEY, b"20130524", REGION, SCOPE)
    return Verified(credential, Kind.HEADER, STAMP, seed.encode(), payload_hash, KEY)


@define
class Chain:
    """Signs chunks one after the other, as clients do."""

    previous: str = "5eed" * 16

    def chunk(self, data: bytes) -> bytes:
        """A whole chunk."""
        return b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), self.sign(data), data)

    def last(self) -> bytes:
        return b"0;chunk-signature=%s\r\n" % self.sign(b"")

    def sign(self, data: bytes) -> bytes:
        nothing = sha256(b"").hexdigest()
        return self._next("AWS4-HMAC-SHA256-PAYLOAD", f"{nothing}\n{sha256(data).hexdigest()}")

    def trailer(self, lines: bytes) -> bytes:
        return self._next("AWS4-HMAC-SHA256-TRAILER", sha256(lines).hexdigest())

    def _next(self, algorithm: str, content: str) -> bytes:
        text = f"{algorithm}\n{STAMP.decode()}\n{SCOPE.decode()}\n{self.previous}\n{content}"
        self.previous = KEY.hexdigest(text.encode())
        return self.previous.encode()


def signed(chunks: Iterable[bytes]) -> bytes:
    """Frame chunks, every one signed."""
    chain = Chain()
    return b"".join([*(chain.chunk(chunk) for chunk in chunks), chain.last(), b"\r\n"])


def signed_with_trailer(chunks: Sequence[bytes], trailer: bytes) -> bytes:
    """Frame chunks, every one signed, and the trailer (`name:value`) as well."""
    chain = Chain()
    framed = [*(chain.chunk(chunk) for chunk in chunks), chain.last()]
    signature = chain.trailer(trailer + b"\n")
    return b"".join([*framed, trailer, b"\r\nx-amz-trailer-signature:", signature, b"\r\n\r\n"])


def unsigned(chunks: Iterable[bytes], trailer: bytes = b"") -> bytes:
    """Frame chunks, nothing signed; `trailer` with its line breaks."""
    return b"".join(
        [*(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n", trailer, b"\r\n"]
    )


def value_of(algorithm: str, data: bytes) -> bytes:
    """A checksum as it is written."""
    hasher = checksums.new(algorithm)
    hasher.update(data)
    return b64encode(hasher.digest())


def trailer_of(algorithm: str, data: bytes) -> bytes:
    return b"x-amz-checksum-%s:%s" % (algorithm.encode(), value_of(algorithm, data))


@define
class Passage:
    """What came out of some filters: `out` before the end, `last` at it."""

    filters: Sequence[Filter]
    out: bytes = b""
    last: bytes | None = None

    def send(self, *pieces: bytes) -> bytes:
        """Send a whole body in pieces; return what it is in the end."""
        for piece in pieces:
            self.out += self._pass(piece, self.filters)
        self.last = b""
        for position, stage in enumerate(self.filters):
            self.last += self._pass(stage.finish(), self.filters[position + 1 :])
        return self.out + self.last

    @staticmethod
    def _pass(data: bytes, filters: Sequence[Filter]) -> bytes:
        for stage in filters:
            # As bodies do: what is not there is not written.
            data = stage.update(data) if data else b""
        return data
