"""
What the sink answers: of what was put it keeps names, sizes, ETags and descriptions, and no bytes.

But for one object, which says whose the bucket is, and is read again.

Only well-behaved clients are expected; nobody's signature is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from itertools import count
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from attrs import define, field, frozen

from s3orchestrator.domain.owning import MARKER

MAX_LISTED = 1000  # S3's own
KEPT = f"/{MARKER}"

_MODIFIED = "2026-01-01T00:00:00.000Z"
_REASONS = {
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    304: b"Not Modified",
    404: b"Not Found",
    412: b"Precondition Failed",
    416: b"Range Not Satisfiable",
    501: b"Not Implemented",
}


@frozen
class Held:
    """What is known of an object; `headers` are sent back as they came, and so is a body that was kept."""

    size: int
    etag: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None


@frozen
class Upload:
    """Parts that are to become an object."""

    headers: tuple[tuple[bytes, bytes], ...]
    parts: dict[int, Held] = field(factory=dict)

    def completed(self) -> Held:
        """Return the object; its ETag is made of the parts' as S3 makes it."""
        parts = [self.parts[number] for number in sorted(self.parts)]
        digest = md5(b"".join(bytes.fromhex(part.etag) for part in parts)).hexdigest()
        return Held(sum(part.size for part in parts), f"{digest}-{len(parts)}", self.headers)


@frozen
class Request:
    """A head, taken apart. `name` is the whole path, so one sink is any number of buckets."""

    method: bytes
    name: str
    query: Mapping[str, list[str]]
    headers: Mapping[bytes, bytes]

    @property
    def length(self) -> int:
        """Bytes of the body that follows."""
        return int(self.headers.get(b"content-length", b"0"))

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Read what comes before the empty line; only well-behaved clients are expected."""
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        path, _, query = target.decode().partition("?")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return cls(method, unquote(path), parse_qs(query, keep_blank_values=True) if query else {}, headers)


@frozen
class Answer:
    """A head and a small body, or a head and `length` bytes of nothing in particular."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    length: int | None = None

    def head(self) -> bytes:
        """The bytes up to the empty line, included."""
        length = len(self.body) if self.length is None else self.length
        lines = [b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n" % (self.status, _REASONS[self.status], length)]
        lines += [b"%s: %s\r\n" % header for header in self.headers]
        lines.append(b"\r\n")
        return b"".join(lines)


@define(eq=False)
class Shelf:
    """What was put, by name: decides what each request is answered."""

    _held: dict[str, Held] = field(factory=dict)
    _uploads: dict[str, Upload] = field(factory=dict)
    _made_up: count[int] = field(factory=lambda: count(1))

    def answer(self, request: Request, body: bytes | None) -> Answer:
        """
        Answer a request that has been read.

        `body` is None if it was too large to be looked at; then its ETag is made up.
        """
        match request.method:
            case b"GET" if "list-type" in request.query:
                return self._list(request)
            case b"GET" if "uploads" in request.query or "versions" in request.query:
                return _empty_list("ListMultipartUploads" if "uploads" in request.query else "ListVersions")
            case b"GET" | b"HEAD":
                return self._get(request)
            case b"PUT" if not request.query and b"x-amz-copy-source" in request.headers:
                return self._copy(request)
            case b"PUT" if not request.query:
                return self._put(request, body)
            case b"PUT" | b"POST" | b"DELETE" if "uploads" in request.query or "uploadId" in request.query:
                return self._upload(request, body)
            case b"DELETE" if not request.query:
                self._held.pop(request.name, None)
                return Answer(204)
        return _refusal(501, "NotImplemented")

    def _put(self, request: Request, body: bytes | None) -> Answer:
        if self._is_taken(request):
            return _refusal(412, "PreconditionFailed")
        etag = self._etag(body)
        kept = body if request.name.endswith(KEPT) else None
        self._held[request.name] = Held(request.length, etag, _description(request.headers), kept)
        return Answer(200, (_etag_header(etag),))

    def _is_taken(self, request: Request) -> bool:
        return b"if-none-match" in request.headers and request.name in self._held

    def _etag(self, body: bytes | None) -> str:
        return f"{next(self._made_up):032x}" if body is None else md5(body).hexdigest()

    def _copy(self, request: Request) -> Answer:
        source = self._held.get("/" + unquote(request.headers[b"x-amz-copy-source"].decode()).lstrip("/"))
        if source is None:
            return _refusal(404, "NoSuchKey")
        wanted = request.headers.get(b"x-amz-copy-source-if-match", source.etag.encode())
        if wanted.strip(b'"') != source.etag.encode() or self._is_taken(request):
            return _refusal(412, "PreconditionFailed")
        etag = source.etag if "-" not in source.etag else self._etag(None)
        self._held[request.name] = Held(source.size, etag, _description(request.headers))
        return _document(
            f"<CopyObjectResult><ETag>&quot;{etag}&quot;</ETag>"
            f"<LastModified>{_MODIFIED}</LastModified></CopyObjectResult>"
        )

    def _upload(self, request: Request, body: bytes | None) -> Answer:
        """Everything about multipart uploads, which are made of all their parts."""
        if "uploads" in request.query:
            upload_id = f"upload-{next(self._made_up)}"
            self._uploads[upload_id] = Upload(_description(request.headers))
            return _document(
                f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        upload_id = request.query["uploadId"][0]
        upload = self._uploads.get(upload_id)
        if upload is None:
            return _refusal(404, "NoSuchUpload")
        if request.method == b"PUT":
            etag = self._etag(body)
            upload.parts[int(request.query["partNumber"][0])] = Held(request.length, etag)
            return Answer(200, (_etag_header(etag),))
        if request.method == b"POST" and self._is_taken(request):
            return _refusal(412, "PreconditionFailed")
        del self._uploads[upload_id]
        if request.method == b"DELETE":
            return Answer(204)
        self._held[request.name] = made = upload.completed()
        return _document(
            f"<CompleteMultipartUploadResult><ETag>&quot;{made.etag}&quot;</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    def _get(self, request: Request) -> Answer:
        held = self._held.get(request.name)
        if held is None:
            return _refusal(404, "NoSuchKey")
        etag = b'"%s"' % held.etag.encode()
        if request.headers.get(b"if-match", etag) not in (etag, etag.strip(b'"'), b"*"):
            return _refusal(412, "PreconditionFailed")
        if request.headers.get(b"if-none-match") in (etag, etag.strip(b'"'), b"*"):
            return Answer(304, (_etag_header(held.etag),))
        headers = (
            _etag_header(held.etag),
            (b"Last-Modified", b"Thu, 01 Jan 2026 00:00:00 GMT"),
            *held.headers,
        )
        wanted = request.headers.get(b"range")
        if held.body is not None:
            return Answer(200, headers, held.body)
        if wanted is None:
            return Answer(200, headers, length=held.size)
        first, last = _range(wanted, held.size)
        if first > last:
            return _refusal(416, "InvalidRange")
        content_range = (b"Content-Range", b"bytes %d-%d/%d" % (first, last, held.size))
        return Answer(206, (*headers, content_range), length=last - first + 1)

    def _list(self, request: Request) -> Answer:
        def given(name: str) -> str:
            return request.query.get(name, [""])[0]

        bucket = request.name.strip("/")
        start = f"/{bucket}/"
        after = given("start-after") or given("continuation-token")
        keys = sorted(
            name.removeprefix(start)
            for name in self._held
            if name.startswith(start + given("prefix")) and name.removeprefix(start) > after
        )
        limit = min(int(given("max-keys") or MAX_LISTED), MAX_LISTED)
        more = len(keys) > limit
        entries = "".join(self._entry(start, key) for key in keys[:limit])
        token = f"<NextContinuationToken>{escape(keys[limit - 1])}</NextContinuationToken>" if more else ""
        return _document(
            f"<ListBucketResult><Name>{escape(bucket)}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}</ListBucketResult>"
        )

    def _entry(self, start: str, key: str) -> str:
        held = self._held[start + key]
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_MODIFIED}</LastModified>"
            f"<ETag>&quot;{held.etag}&quot;</ETag><Size>{held.size}</Size></Contents>"
        )


def _etag_header(etag: str) -> tuple[bytes, bytes]:
    return b"ETag", b'"%s"' % etag.encode()


def _description(headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (name, value)
        for name, value in headers.items()
        if name.startswith(b"x-amz-meta-") or name == b"content-type"
    )


def _range(wanted: bytes, size: int) -> tuple[int, int]:
    """The first and the last byte of `bytes=A-B` or `bytes=A-`, as our own backend asks."""
    first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
    return int(first), min(int(last), size - 1) if last else size - 1


def _document(text: str) -> Answer:
    return Answer(200, ((b"Content-Type", b"application/xml"),), text.encode())


def _empty_list(what: str) -> Answer:
    return _document(f"<{what}Result><IsTruncated>false</IsTruncated></{what}Result>")


def _refusal(status: int, code: str) -> Answer:
    return Answer(status, body=f"<Error><Code>{code}</Code></Error>".encode())
