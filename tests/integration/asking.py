"""
A raw client: it signs, sends exactly the bytes it is told to, and takes answers apart.

Every library would mend, refuse or hide some of what is to be tried out here.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import md5, sha256
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

from attrs import define, field, frozen

from s3orchestrator.protocol.canonical import canonical_path, canonical_query
from s3orchestrator.protocol.presigned import presign
from s3orchestrator.protocol.signer import Signer

PATIENCE = 10.0  # seconds; everything here takes milliseconds, on a busy machine perhaps a second
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"

UNSIGNED = b"UNSIGNED-PAYLOAD"

Headers = Mapping[str, str | bytes]


class Hangup(Exception):
    """The connection ended, or fell silent, before an answer was complete; holds what had come."""

    def __init__(self, received: bytes, why: str) -> None:
        super().__init__(f"{why} after {received[-300:]!r}")
        self.received = received


@frozen
class Answer:
    """One answer; header names are lower-case, `interim` are the 1xx statuses that came before it."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    interim: tuple[int, ...] = ()
    pieces: tuple[bytes, ...] = ()  # the chunks of a chunked body, as they were framed

    def header(self, name: str) -> str | None:
        """Return the only header of that name, None if there is none."""
        found = [value for known, value in self.headers if known == name]
        assert len(found) < 2, f"{name} comes {len(found)} times"
        return found[0] if found else None

    @property
    def document(self) -> ElementTree.Element:
        """The body as XML."""
        return ElementTree.fromstring(self.body)

    def text(self, path: str) -> str | None:
        """Return the text of an element of an S3 document (`Contents/Key`); None if it is not there."""
        return self.document.findtext("/".join(NAMESPACE + step for step in path.split("/")))

    def texts(self, path: str) -> list[str]:
        """Return the texts of all elements with that path."""
        found = self.document.findall("/".join(NAMESPACE + step for step in path.split("/")))
        return [element.text or "" for element in found]

    @property
    def code(self) -> str:
        """The `<Code>` of an error document, or of none the reason why it is none."""
        if not self.body:
            return "(no body)"
        try:
            root = self.document
        except ElementTree.ParseError:
            return "(no document)"
        return root.findtext("Code", "(no code)") if root.tag == "Error" else f"({root.tag})"

    def detail(self, name: str) -> str | None:
        """Return an element of an error document."""
        return self.document.findtext(name)


class Wire:
    """One connection to a server."""

    def __init__(self, address: tuple[str, int], receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send bytes as they are; a server that has closed already is no error."""
        try:
            for piece in pieces:
                self.socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before can still be read

    def end(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def answer(self, method: str = "GET") -> Answer:
        """
        Read one answer to a request of that method, and what came before it.

        :raises Hangup: it is not complete.
        """
        interim: list[int] = []
        while True:
            status, headers = self.head()
            if status >= 200:
                break
            interim.append(status)
        pieces: list[bytes] = []
        names = dict(headers)
        if method == "HEAD" or status in (204, 304):
            pass
        elif "chunked" in names.get("transfer-encoding", ""):
            pieces = self._chunks()
        elif "content-length" in names:
            pieces = [self._exactly(int(names["content-length"]))]
        else:
            pieces = [self.rest()]
        return Answer(status, headers, b"".join(pieces), tuple(interim), tuple(pieces))

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Read a status line and headers."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) .+", first)
        assert found, f"no status line: {first!r}"
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#-'*+.^-z|~0-9A-Z-]+", name), f"no header: {line!r}"
            headers.append((name.lower(), value.strip()))
        return int(found[1]), headers

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        try:
            while True:
                self._receive()
        except Hangup:
            return self._take(len(self._received))

    def is_closed(self) -> bool:
        """Tell whether the server has closed, or closes within a moment."""
        if self._received:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _chunks(self) -> list[bytes]:
        pieces = []
        while True:
            size = int(self._line(), 16)
            if not size:
                assert self._line() == b""
                return pieces
            pieces.append(self._exactly(size))
            assert self._line() == b""

    def _line(self) -> bytes:
        return self._until(b"\r\n")

    def _until(self, end: bytes) -> bytes:
        while (at := self._received.find(end)) < 0:
            self._receive()
        return self._take(at + len(end))[:at]

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive()
        return self._take(count)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _receive(self) -> None:
        why = "end"
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            data, why = b"", "silence"
        except ConnectionResetError:
            data, why = b"", "reset"
        if not data:
            raise Hangup(bytes(self._received), why)
        self._received += data


@define
class Caller:
    """
    Somebody with a key pair, who asks one server.

    `host` is what the Host header says, `ago` how many seconds behind the clock is.
    """

    address: tuple[str, int]
    access_key_id: str
    secret: str = field(repr=False)
    region: str = "us-east-1"
    host: str = ""
    ago: float = 0.0

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Headers | None = None,
        *,
        payload_hash: bytes | None = None,
        wire: Wire | None = None,
    ) -> Answer:
        """
        Make a signed request and return its answer, over a connection of its own unless one is given.

        The payload's hash is that of `body` unless it is given.
        """
        request = self.request(method, target, body, headers, payload_hash=payload_hash)
        if wire is not None:
            wire.send(request, body)
            return wire.answer(method)
        with Wire(self.address) as own:
            own.send(request, body)
            return own.answer(method)

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Headers | None = None,
        *,
        payload_hash: bytes | None = None,
        signed: bool = True,
    ) -> bytes:
        """
        Return the head of a request for `body`.

        `Content-Length` is added if there is a body or the method uploads, unless the headers
        say something of the body themselves.
        """
        sent = {name.lower(): _bytes(value) for name, value in (headers or {}).items()}
        if payload_hash is None:
            payload_hash = sha256(body).hexdigest().encode()
        if signed:
            sent |= self.sign(method, target, sent, payload_hash)
        sent.setdefault("host", self._host)
        says = "content-length" in sent or "transfer-encoding" in sent
        if not says and (body or method in ("PUT", "POST")):
            sent["content-length"] = str(len(body)).encode()
        return head(f"{method} {target} HTTP/1.1", sent.items())

    def sign(
        self, method: str, target: str, headers: Mapping[str, bytes], payload_hash: bytes
    ) -> dict[str, bytes]:
        """Return the headers that sign a request."""
        path, _, query = target.encode().partition(b"?")
        signer = Signer(self._host, self.region, self.access_key_id, self.secret)
        made = signer.sign(
            method.encode(),
            canonical_path(path),
            canonical_query(query),
            {name.encode(): value for name, value in headers.items()},
            payload_hash,
            now=self.now,
        )
        return {name.decode(): value for name, value in made.items()}

    def presigned(self, method: str, target: str, expires: int = 600, headers: Headers | None = None) -> str:
        """Return `target` with a signature in its query; `headers` must be sent with it."""
        path, _, query = target.encode().partition(b"?")
        whole = presign(
            method.encode(),
            self._host,
            path,
            query,
            access_key_id=self.access_key_id,
            secret=self.secret,
            region=self.region,
            now=self.now,
            expires=expires,
            headers={name.encode(): _bytes(value) for name, value in (headers or {}).items()},
        )
        return f"{path.decode()}?{whole.decode()}"

    def ask_unsigned(
        self, method: str, target: str, body: bytes = b"", headers: Headers | None = None
    ) -> Answer:
        """Make a request as it is: presigned, with a token, or by nobody."""
        with Wire(self.address) as wire:
            wire.send(self.request(method, target, body, headers, signed=False), body)
            return wire.answer(method)

    @property
    def now(self) -> float:
        """What this caller takes the time to be."""
        return time.time() - self.ago  # noqa: TID251 - a client has no reactor

    @property
    def _host(self) -> bytes:
        return (self.host or f"{self.address[0]}:{self.address[1]}").encode()


def head(line: str, headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a request line and headers as they are sent."""
    lines = [line.encode(), *(b"%s: %s" % (name.encode(), value) for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def etag(data: bytes) -> str:
    """Return the ETag, as headers show it, of an object that was put whole."""
    return f'"{md5(data).hexdigest()}"'


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
