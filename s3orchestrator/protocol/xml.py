"""XML as S3 speaks it: escaping for the writer, and a reader that cannot be made to work hard."""

from __future__ import annotations

import re
from xml.parsers import expat

from s3orchestrator.protocol.errors import S3Error

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_DEPTH = 16  # no document of S3 is half as deep

# Expat looks again at the whole of a token that has not ended with every piece: fed with what packets
# bring, one long attribute costs the square of its length.
_PIECE = 64 * 1024

# A carriage return would come back as a newline. The others are what XML 1.0 cannot hold: S3
# writes references all the same, which lenient parsers read.
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Return `text` as the content of an element or attribute."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def _reference(found: re.Match[str]) -> str:
    character = found[0]
    return _NAMED.get(character) or f"&#x{ord(character):X};"


def malformed() -> S3Error:
    """Return the error for a document that is not what it should be."""
    return S3Error("MalformedXML")


class Reader:
    """
    Reads one document piece by piece, as the body comes; a mistake may be noticed only later.

    Subclasses say what they expect by `opened` and `closed`; depth 1 is the root. Names come
    without their namespace, which is optional in S3. Nothing is kept but the text of the
    innermost element. Document types and entities are refused, size and depth are bounded.

    :raises S3Error: from any method, `MalformedXML` or `MaxMessageLengthExceeded`.
    """

    root: str | None  # any, if None
    max_bytes: int

    def __init__(self) -> None:
        # UTF-8 whatever the declaration says (only a byte order mark can make it UTF-16): other
        # encodings would be looked up by name.
        parser = expat.ParserCreate("UTF-8", " ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        self._text: list[str] = []
        parser.CharacterDataHandler = self._text.append
        self._parser = parser
        self._depth = 0
        self._size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._broken: S3Error | None = None

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self._size

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size += len(data)
        if self._size > self.max_bytes:
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=self.max_bytes)
        if self._broken is not None:
            raise self._broken
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _PIECE:
            self._parse(self._collected(), False)

    def close(self) -> None:
        """The document is complete."""
        self._parse(self._collected(), True)

    def _collected(self) -> bytes:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        return data

    def opened(self, depth: int, name: str) -> None:
        """An element begins."""

    def closed(self, depth: int, name: str, text: str) -> None:
        """An element ends; `text` is what stood after the last tag before."""

    def _parse(self, data: bytes, final: bool) -> None:
        if self._broken is not None:
            raise self._broken
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError:
            self._broken = malformed()
            raise self._broken from None
        except S3Error as error:
            self._broken = error
            raise

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._text.clear()
        name = name.rpartition(" ")[2]
        if self._depth > MAX_DEPTH or (self._depth == 1 and self.root not in (None, name)):
            raise malformed()
        self.opened(self._depth, name)

    def _end(self, name: str) -> None:
        text = "".join(self._text)
        self._text.clear()
        self.closed(self._depth, name.rpartition(" ")[2], text)
        self._depth -= 1

    def _refuse(self, *_: object) -> None:
        raise malformed()
