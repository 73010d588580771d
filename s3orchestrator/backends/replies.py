"""
What a server's reply looks like on the wire: its head, and the framing of its body.

Pure: bytes in, values out. Strict, since a reply that can be read in two ways may be a
reply to somebody else's request: one length, no folded lines, no bare CR or LF.
"""

from __future__ import annotations

import re

from attrs import define

# More than the largest head that any service sends (2 KiB of user metadata and a policy or
# two), and little enough to hold for each of some hundred connections.
MAX_HEAD = 64 * 1024

# One look at all of it: names are tokens, nothing stands before a colon, no line is folded, and
# there is no stray CR, LF or NUL.
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\r\n\0]*))?"
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)*"
)
_SIZE_LINE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?")
_MAX_SIZE_LINE = 256  # a few digits; services have no extensions to speak of
_BODILESS = frozenset([204, 304])


class BadReply(Exception):
    """The server does not speak HTTP, or not unambiguously."""


@define(eq=False)
class Head:
    """
    Status and headers of a reply, with what they say about the body.

    Names are lower-case; a header that came several times is joined with commas. `length`
    is None for a body in chunks (`chunked`) and for one that lasts until the connection
    closes.
    """

    status: int
    phrase: bytes
    headers: dict[bytes, bytes]
    length: int | None
    chunked: bool
    keeps: bool


def parse_head(head: bytes, *, bodiless: bool = False) -> Head:
    """
    Read everything before the empty line.

    :param bodiless: the reply has no body whatever its headers say: it answers a HEAD.
    :raises BadReply: it is not well-formed.
    """
    found = _HEAD.fullmatch(head)
    if found is None:
        raise BadReply("not an HTTP reply" if not head.startswith(b"HTTP/1.") else "a malformed header")
    headers = _headers(head)
    status = int(found[2])
    connection = headers.get(b"connection", b"").lower()
    keeps = b"close" not in connection and (found[1] == b"1" or b"keep-alive" in connection)
    if bodiless or status in _BODILESS or status < 200:
        return Head(status, found[3] or b"", headers, 0, False, keeps)
    length, chunked = _framing(headers)
    return Head(status, found[3] or b"", headers, length, chunked, keeps and (chunked or length is not None))


def _headers(head: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        if name not in headers:
            headers[name] = value
        elif name != b"content-length":
            headers[name] += b", " + value
        elif headers[name] != value:
            raise BadReply("two different lengths")
    return headers


def _framing(headers: dict[bytes, bytes]) -> tuple[int | None, bool]:
    length = headers.get(b"content-length")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None or encoding.lower() != b"chunked":
            raise BadReply("an unknown transfer encoding, or a length beside it")
        return None, True
    if length is None:
        return None, False
    if not length.isdigit() or len(length) > 18:
        raise BadReply("a length that is not a number")
    return int(length), False


@define(eq=False)
class Chunks:
    """
    A body in chunks, decoded as it arrives.

    States: reading a size line, the data of a chunk, the line end after it, the trailers,
    done. `rest` holds what came after the end. All trailers together may be as long as a head.
    """

    done: bool = False
    rest: bytes = b""
    _buffer: bytes = b""
    _left: int = 0
    _reading: str = "size"
    _trailers: int = 0

    def feed(self, data: bytes) -> bytes:
        """
        Take the next bytes; return the data in them.

        :raises BadReply: they are not framed as they should be.
        """
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        out = []
        # An index, for whoever cuts off every line copies the rest of `data` as often as there are lines.
        at = 0
        while at < len(data) and not self.done:
            if self._reading == "data":
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._reading = "end"
                continue
            longest = MAX_HEAD if self._reading == "trailers" else _MAX_SIZE_LINE
            end = data.find(b"\r\n", at, at + longest + 2)
            if end < 0:
                if len(data) - at > longest:
                    raise BadReply("an endless line between chunks")
                self._buffer = data[at:]
                break
            self._line(data[at:end])
            at = end + 2
        if self.done:
            self.rest = data[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _line(self, line: bytes) -> None:
        if self._reading == "size":
            self._left = self._size(line)
            self._reading = "data" if self._left else "trailers"
        elif self._reading == "trailers":
            self.done = not line
            self._trailers += len(line) + 2
            if self._trailers > MAX_HEAD:
                raise BadReply("trailers without end")
        elif line:
            raise BadReply("a chunk longer than its size")
        else:
            self._reading = "size"

    @staticmethod
    def _size(line: bytes) -> int:
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise BadReply("a chunk without a size")
        return int(found[1], 16)
