"""An upload's body: how long it is, how it is written, and what was promised about it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import define, field

from s3orchestrator.protocol import checksums
from s3orchestrator.protocol.checksums import BY_HEADER, FULL_OBJECT, Checksum, Headers
from s3orchestrator.protocol.chunked import ChunkDecoder, SignatureChain
from s3orchestrator.protocol.claims import joined
from s3orchestrator.protocol.digests import Digests, Verifier
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.forms import UNSIGNED_PAYLOAD, PayloadForm
from s3orchestrator.protocol.sigv4 import Verified

MAX_PUT_SIZE = 5 * 1024**3  # S3's own, for one PUT


class Filter(Protocol):
    """One stage in the life of a body: pure, incremental, raising if the bytes lie."""

    def resize(self, length: int) -> int: ...

    def update(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


@define(eq=False, repr=False)
class Payload:
    """
    What the headers of an upload say about its body.

    `length` is the size of what is inside, in bytes.
    """

    form: PayloadForm
    length: int
    _hash: bytes | None = None
    _md5: bytes | None = None
    _declared: Checksum | None = None
    _trailer: str | None = None
    _verified: Verified | None = None
    _trailers: Mapping[bytes, bytes] = field(init=False, factory=dict)
    _verifier: Verifier | None = field(init=False, default=None)
    _reported: str | None = field(init=False, default=None)

    @classmethod
    def of(cls, headers: Headers, verified: Verified | None, content_length: int | None) -> Payload:
        """
        Read the headers of a request with a body.

        `content_length` is None if the body says itself where it ends. `headers` include
        those that a presigned URL has in its query.

        :raises S3Error: a length is missing or too large; a digest is no digest; several
            checksums, or one that is announced and does not come.
        """
        payload_hash = verified.payload_hash if verified else joined(headers, b"x-amz-content-sha256")
        payload_hash = payload_hash or UNSIGNED_PAYLOAD
        form = PayloadForm.of(payload_hash)
        if form.is_signed_by_chunk and verified is None:
            raise S3Error("InvalidRequest", "Chunks can only be signed in a request that is signed.")
        declared, trailer = _checksums(headers, form)
        return cls(
            form=form,
            length=_length(headers, form, content_length),
            hash=payload_hash if form is PayloadForm.HASHED else None,
            md5=_content_md5(headers),
            declared=declared,
            trailer=trailer,
            verified=verified,
        )

    @property
    def algorithm(self) -> str | None:
        """The checksum algorithm the client uses, in a header or a trailer; None if it uses none."""
        return self._declared.algorithm if self._declared else self._trailer

    def filters(
        self, *, want_md5: bool = False, want_sha256: bool = False, want: str | None = None
    ) -> Sequence[Filter]:
        """
        Return the stages the body goes through, in order; none if there is nothing to do.

        Beside what the client declared they compute the MD5 (an ETag must be invented), the
        SHA-256 (integrity is to be kept) and the checksum `want`, each once. If a stage
        fails, what came out before is not the whole body: the last bytes are held back
        until everything is known to be right. Each call returns new stages.
        """
        stages: list[Filter] = []
        if self.form.is_chunked:
            decoder = self._decoder()
            self._trailers = decoder.trailers
            stages.append(decoder)
        self._reported = self.algorithm or want
        algorithms = {algorithm for algorithm in (self.algorithm, want) if algorithm is not None}
        if want_md5 or self._md5 is not None:
            algorithms.add("md5")
        if want_sha256 or self._hash is not None:
            algorithms.add("sha256")
        if algorithms or stages:
            self._verifier = Verifier(self.length, algorithms, self._md5, self._hash, self._told)
            stages.append(self._verifier)
        return stages

    def foretold(self) -> Digests:
        """Return what the digests are going to be if the body is what its headers say."""
        return Digests(md5=self._md5.hex() if self._md5 else None, checksum=self._declared)

    def digests(self) -> Digests:
        """
        Return what has been found out by the stages of the latest `filters`, once they have finished.

        The checksum is the client's, or else the wanted one.
        """
        return Digests(self._hex("md5"), self._hex("sha256"), self.computed(self._reported))

    def computed(self, algorithm: str | None) -> Checksum | None:
        """Return the checksum of an algorithm that was declared or wanted."""
        digest = self._verifier.digest(algorithm) if self._verifier and algorithm else None
        return None if digest is None or algorithm is None else Checksum.of_digest(algorithm, digest)

    def _hex(self, algorithm: str) -> str | None:
        digest = self._verifier.digest(algorithm) if self._verifier else None
        return None if digest is None else digest.hex()

    def _decoder(self) -> ChunkDecoder:
        chain = None
        if self._verified is not None and self.form.is_signed_by_chunk:
            found = self._verified
            chain = SignatureChain(found.key, found.timestamp, found.scope, found.signature)
        expected = {checksums.ALGORITHMS[self._trailer].header.encode()} if self._trailer else set()
        return ChunkDecoder(self.length, chain, frozenset(expected), self.form.has_trailer)

    def _told(self) -> Checksum | None:
        """The checksum the client sent, wherever it was."""
        if self._trailer is None:
            return self._declared
        header = checksums.ALGORITHMS[self._trailer].header
        value = self._trailers[header.encode()].decode("latin-1")
        try:
            found = Checksum.parse(self._trailer, value)
        except S3Error:
            found = None
        if found is None or found.kind != FULL_OBJECT:
            raise S3Error("InvalidRequest", f"Value for {header} trailing header is invalid.")
        return found


def _length(headers: Headers, form: PayloadForm, content_length: int | None) -> int:
    length = content_length
    if form.is_chunked:
        length = _decoded_length(headers)
        if content_length is not None and content_length < length:
            raise S3Error("IncompleteBody")
    if length is None:
        raise S3Error("MissingContentLength")
    if length > MAX_PUT_SIZE:
        raise S3Error("EntityTooLarge", ProposedSize=length, MaxSizeAllowed=MAX_PUT_SIZE)
    return length


def _decoded_length(headers: Headers) -> int:
    text = joined(headers, b"x-amz-decoded-content-length")
    if text is None:
        raise S3Error("MissingContentLength")
    # Nineteen digits are more than any machine has bytes.
    if not text.isdigit() or len(text) > 19:
        raise S3Error(
            "InvalidArgument",
            ArgumentName="x-amz-decoded-content-length",
            ArgumentValue=text.decode("utf-8", "replace"),
        )
    return int(text)


def _content_md5(headers: Headers) -> bytes | None:
    text = joined(headers, b"content-md5")
    if text is None:
        return None
    try:
        digest = b64decode(text, validate=True)
    except NotBase64:
        digest = b""
    if len(digest) != 16 or b64encode(digest) != text:
        raise S3Error("InvalidDigest")
    return digest


def _checksums(headers: Headers, form: PayloadForm) -> tuple[Checksum | None, str | None]:
    """The checksum in the headers, and the algorithm of the one in the trailer: at most one of them."""
    declared = checksums.in_headers(headers)
    if declared is not None and declared.kind != FULL_OBJECT:
        raise S3Error("InvalidRequest", f"Value for {declared.header} header is invalid.")
    trailer = _announced(headers, form)
    if declared is not None and trailer is not None:
        checksums.refuse_several()
    _check_sdk_algorithm(headers, declared.algorithm if declared else trailer)
    return declared, trailer


def _announced(headers: Headers, form: PayloadForm) -> str | None:
    text = joined(headers, b"x-amz-trailer")
    if not text:
        return None
    if not form.has_trailer:
        raise S3Error("InvalidRequest", "The x-amz-trailer header needs a payload that has a trailer.")
    names = [name.strip().lower() for name in text.split(b",")]
    if any(name not in BY_HEADER for name in names):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    if len(names) > 1:
        checksums.refuse_several()
    return BY_HEADER[names[0]].name


def _check_sdk_algorithm(headers: Headers, used: str | None) -> None:
    text = joined(headers, b"x-amz-sdk-checksum-algorithm")
    if text is None:
        return
    named = checksums.algorithm_named(text.decode("latin-1"), "x-amz-sdk-checksum-algorithm")
    if used is None:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer"
            " headers were found.",
        )
    if used != named:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
