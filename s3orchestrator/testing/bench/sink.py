"""
A backend that costs next to nothing, so that a benchmark sees what stands in front of it.

It answers as S3 does, for one process that talks to it over plain HTTP. What it is sent
it throws away in the kernel, and what it sends comes out of the kernel: only names,
sizes, ETags and descriptions are kept. So a GET has as many bytes as were put, but others.
Nobody's signature is checked.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import md5
from itertools import count
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from attrs import define, field, frozen

PIECE = 64 << 20  # what GETs are made of, over and over
SMALL = 64 << 10  # bodies up to here are read, so that their ETags can be MD5s as S3's are
MAX_LISTED = 1000  # S3's own

_READ = 256 << 10
_DISCARDED = bytearray(1 << 20)  # never written to: MSG_TRUNC copies nothing
_MODIFIED = "2026-01-01T00:00:00.000Z"
_REASONS = {
    100: b"Continue",
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    404: b"Not Found",
    412: b"Precondition Failed",
    416: b"Range Not Satisfiable",
    501: b"Not Implemented",
}


@frozen
class Held:
    """What is known of an object; `headers` are sent back as they came."""

    size: int
    etag: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


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
            case b"PUT" if not request.query and b"x-amz-copy-source" not in request.headers:
                return self._put(request, body)
            case b"DELETE" if not request.query:
                self._held.pop(request.name, None)
                return Answer(204)
        return _refusal(501, "NotImplemented")

    def _put(self, request: Request, body: bytes | None) -> Answer:
        if b"if-none-match" in request.headers and request.name in self._held:
            return _refusal(412, "PreconditionFailed")
        etag = f"{next(self._made_up):032x}" if body is None else md5(body).hexdigest()
        self._held[request.name] = Held(request.length, etag, _description(request.headers))
        return Answer(200, ((b"ETag", b'"%s"' % etag.encode()),))

    def _get(self, request: Request) -> Answer:
        held = self._held.get(request.name)
        if held is None:
            return _refusal(404, "NoSuchKey")
        etag = b'"%s"' % held.etag.encode()
        if request.headers.get(b"if-match", etag) not in (etag, etag.strip(b'"'), b"*"):
            return _refusal(412, "PreconditionFailed")
        headers = ((b"ETag", etag), (b"Last-Modified", b"Thu, 01 Jan 2026 00:00:00 GMT"), *held.headers)
        wanted = request.headers.get(b"range")
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


@define(eq=False)
class Connection:
    """
    One client: reading a head, throwing a body away, or sending.

    `_request` is set while its body is read. `_out` and then `_left` bytes of the piece are to be sent.
    """

    _socket: socket.socket
    _shelf: Shelf
    _piece: int
    _buffer: bytes = field(init=False, default=b"")
    _request: Request | None = field(init=False, default=None)
    _discard: int = field(init=False, default=0)
    _out: bytes = field(init=False, default=b"")
    _left: int = field(init=False, default=0)

    @property
    def is_sending(self) -> bool:
        """Whether the client has to take something before it is heard again."""
        return bool(self._out or self._left)

    def move(self) -> bool:
        """Go on as far as possible without waiting; False when the client has left."""
        try:
            while True:
                if self.is_sending:
                    self._send()
                elif self._discard:
                    if not self._throw_away():
                        return False
                elif not self._advance():
                    data = self._socket.recv(_READ)
                    if not data:
                        return False
                    self._buffer += data
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send(self) -> None:
        if self._out:
            more = socket.MSG_MORE if self._left else 0
            self._out = self._out[self._socket.send(self._out, more) :]
        elif self._left:
            start = -self._left % PIECE
            sent = os.sendfile(self._socket.fileno(), self._piece, start, min(self._left, PIECE - start))
            self._left -= sent

    def _throw_away(self) -> bool:
        wanted = min(self._discard, len(_DISCARDED))
        gone = self._socket.recv_into(_DISCARDED, wanted, socket.MSG_TRUNC)
        self._discard -= gone
        if not self._discard and self._request is not None:
            self._reply(self._request, None)
        return gone > 0

    def _advance(self) -> bool:
        """Do what the bytes that are here allow; False if more are needed."""
        if self._request is None:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return False
            self._request, self._buffer = Request.parse(head), rest
            if b"expect" in self._request.headers:
                self._out = b"HTTP/1.1 100 Continue\r\n\r\n"
        length = self._request.length
        if length > SMALL:
            # A client sends nothing after a body before it has heard of it.
            self._discard, self._buffer = length - len(self._buffer), b""
            if not self._discard:
                self._reply(self._request, None)
            return True
        if len(self._buffer) < length:
            return self.is_sending
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._reply(self._request, body)
        return True

    def _reply(self, request: Request, body: bytes | None) -> None:
        answer = self._shelf.answer(request, body)
        self._request = None
        self._out += answer.head()
        if request.method == b"HEAD":
            return
        self._out += answer.body
        left = answer.length or 0
        if left <= SMALL:
            self._out += bytes(left)
        else:
            self._left = left


@define(eq=False)
class Sink:
    """The event loop: `serve` runs until the process is told to stop."""

    _listening: socket.socket
    _shelf: Shelf = field(factory=Shelf)

    def serve(self) -> None:
        """Accept and answer, for ever."""
        piece = _piece()
        epoll, connections = select.epoll(), {}
        self._listening.setblocking(False)
        epoll.register(self._listening, select.EPOLLIN)
        while True:
            for number, _ in epoll.poll():
                if number == self._listening.fileno():
                    with suppress(BlockingIOError):
                        accepted = self._accept()
                        connections[accepted.fileno()] = (accepted, Connection(accepted, self._shelf, piece))
                        epoll.register(accepted, select.EPOLLIN)
                    continue
                accepted, connection = connections[number]
                waited_to_send = connection.is_sending
                if not connection.move():
                    del connections[number]
                    accepted.close()
                elif waited_to_send != connection.is_sending:
                    epoll.modify(number, select.EPOLLOUT if connection.is_sending else select.EPOLLIN)

    def _accept(self) -> socket.socket:
        accepted, _ = self._listening.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted


def _piece() -> int:
    """A file in memory, of which every page is there: a hole would be cheaper to send than any object."""
    descriptor = os.memfd_create("piece")
    block = bytes(range(256)) * 4096
    for _ in range(PIECE // len(block)):
        os.write(descriptor, block)
    return descriptor


def main() -> None:
    """Serve on a port of the loopback interface, the only argument."""
    Sink(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)).serve()


if __name__ == "__main__":
    main()
