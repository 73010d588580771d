"""Signed requests to one bucket of an S3 service, and what it means when they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer

from s3orchestrator.backends.credentials import Credentials, Keys
from s3orchestrator.backends.dialling import Address
from s3orchestrator.backends.exchange import Reply
from s3orchestrator.backends.s3_chunks import SignedChunks
from s3orchestrator.backends.s3_documents import MAX_ERROR, Document, read_document
from s3orchestrator.backends.s3_errors import STALE_KEYS, Refusal
from s3orchestrator.backends.transport import HttpClient
from s3orchestrator.bodies.filtered import FilteredBody
from s3orchestrator.bodies.sources import BodyTooLong, BytesBody, collect
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.protocol.encoding import encode_key
from s3orchestrator.protocol.forms import UNSIGNED_PAYLOAD, PayloadForm
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.protocol.signer import Signer

_NOTHING = sha256(b"").hexdigest().encode()
_SIGNED_CHUNKS = PayloadForm.SIGNED_CHUNKS.value.encode()

# A body that is streamed asks for leave from this size on, so that one that is refused was
# never started and can go elsewhere. Below, the round trip would cost more than the body.
ASKS_FROM = 1024 * 1024


def place_of(address: Address, bucket: str, *, path_style: bool) -> tuple[Address, bytes]:
    """
    Return the host to talk to and the path before the key.

    The bucket is the host's first label where it can be: not below an address, and not with
    dots under TLS, whose certificates stand for one label.
    """
    plain = bucket.replace("-", "").replace(".", "")
    fits = plain.isalnum() and bucket.isascii() and bucket == bucket.lower()
    if address.secure and "." in bucket:
        fits = False
    if path_style or not fits or _is_literal(address.host):
        return address, f"{address.path}/{encode_key(bucket)}".encode()
    return address.below(bucket), address.path.encode()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


class Unreadable(BackendUnavailable):
    """It said yes, in a document that cannot be read."""


@define(eq=False)
class S3Requests:
    """
    Sends requests about one bucket.

    `prefix` is the path before a key, without the slash between. `unsigned`: sign bodies
    (False), don't (True), or do it where it costs nothing but time (None): bodies in memory.
    """

    name: str
    client: HttpClient
    prefix: bytes
    _region: str
    _credentials: Credentials
    _clock: IReactorTime
    _unsigned: bool | None = None
    _keys: Keys | None = field(init=False, default=None)
    _signer: Signer | None = field(init=False, default=None)
    _prepared: SigningKeys = Factory(SigningKeys)

    async def send(
        self,
        method: bytes,
        key: str,
        headers: dict[bytes, bytes],
        body: IBodyProducer | None = None,
        *,
        query: bytes = b"",
        repeatable: bool = True,
    ) -> Reply:
        """
        Send a request about `key`, or about the bucket if that is empty.

        `query` is spelled as it is signed. `headers` are added to.

        :raises BackendUnavailable: no answer.
        """
        keys = self._credentials.current() or await self._credentials.fetch()
        signer = self._signer_for(keys)
        path = self._path(key)
        payload = self._payload_hash(body)
        now = self._clock.seconds()
        if payload is _SIGNED_CHUNKS:
            assert body is not None
            headers[b"content-encoding"] = b"aws-chunked"
            headers[b"x-amz-decoded-content-length"] = b"%d" % body.length
        added = signer.sign(method, path, query, headers, payload, now=now)
        if payload is _SIGNED_CHUNKS:
            assert body is not None
            body = self._signed(body, keys, added)
        headers.update(added)
        asks = body is not None and not isinstance(body, BytesBody) and body.length >= ASKS_FROM
        target = b"%b?%b" % (path, query) if query else path
        reply = await self.client.request(
            method, target, headers.items(), body, repeatable=repeatable, asks=asks
        )
        return reply

    def _path(self, key: str) -> bytes:
        if not key:
            return self.prefix or b"/"
        return b"%b/%b" % (self.prefix, encode_key(key).encode())

    def _signer_for(self, keys: Keys) -> Signer:
        if keys is not self._keys or self._signer is None:
            self._keys = keys
            self._signer = Signer(
                self.client.host, self._region, keys.access_key_id, keys.secret, keys.token, self._prepared
            )
        return self._signer

    def _payload_hash(self, body: IBodyProducer | None) -> bytes:
        if body is None:
            return _NOTHING
        if self._unsigned:
            return UNSIGNED_PAYLOAD
        if isinstance(body, BytesBody):
            return (body.sha256 or sha256(body.data).hexdigest()).encode()
        return UNSIGNED_PAYLOAD if self._unsigned is None else _SIGNED_CHUNKS

    def _signed(self, body: IBodyProducer, keys: Keys, added: Mapping[bytes, bytes]) -> IBodyProducer:
        timestamp = added[b"x-amz-date"]
        scope = b"%b/%b/s3/aws4_request" % (timestamp[:8], self._region.encode())
        seed = added[b"authorization"].rpartition(b"Signature=")[2]
        key = self._prepared.key(keys.secret, timestamp[:8], self._region)
        return FilteredBody(body, SignedChunks(key, timestamp, scope, seed))

    # --- answers ----------------------------------------------------------------------------

    async def done(self, reply: Reply) -> Reply:
        """
        Return a reply that says yes, its body read and forgotten.

        :raises BackendError: it says something else.
        """
        if reply.status >= 300:
            await self.refuse(reply)
        await self.content(reply)
        return reply

    async def document(
        self, reply: Reply, root: str, limit: int = MAX_ERROR, *, strict: bool = False
    ) -> Document:
        """
        Return the document of a reply that says yes in its status *and* in the document.

        :param strict: see `read_document`.

        :raises BackendError: it says something else, or something that cannot be read.
        """
        if reply.status >= 300:
            await self.refuse(reply)
        document = read_document(await self.content(reply, limit), strict=strict)
        if document is not None and document.root == "Error":
            raise self._error(Refusal.of(reply.status, document))
        if document is None or document.root != root:
            raise Unreadable(f"{self.name}: it answered {reply.status} without a {root}")
        return document

    async def refuse(self, reply: Reply) -> None:
        """:raises BackendError: always; what the reply means."""
        raise self._error(await self.refusal(reply))

    async def refusal(self, reply: Reply) -> Refusal:
        """Read what a reply that says no has to say."""
        try:
            content = await collect(reply.body, MAX_ERROR)
        except BodyTooLong:
            return Refusal(reply.status)
        return Refusal.of(reply.status, read_document(content))

    def _error(self, refusal: Refusal) -> Exception:
        if refusal.code in STALE_KEYS and self._keys is not None:
            self._credentials.rejected(self._keys)
        return refusal.error(self.name)

    async def content(self, reply: Reply, limit: int = MAX_ERROR) -> bytes:
        """
        Return the body of a small reply.

        :raises BackendUnavailable: it broke off, or is larger than `limit`.
        """
        try:
            return await collect(reply.body, limit)
        except BodyTooLong as error:
            raise BackendUnavailable(f"{self.name}: too long an answer") from error
