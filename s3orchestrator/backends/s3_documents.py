"""Documents that S3 services send, and the one that we send to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import unquote_plus

from attrs import frozen

from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.xml import NAMESPACE, Reader, escape, malformed

MAX_ERROR = 64 * 1024
# A thousand names of a thousand bytes, every byte of them escaped and then some.
MAX_LISTING = 16 * 1024 * 1024

_IMPOSSIBLE = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]"
    rb"|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));",
    re.IGNORECASE,
)
# Ten times what a page of a thousand names has. Each costs a microsecond or two, which everybody waits for.
MAX_ELEMENTS = 100_000


@frozen
class Document:
    """
    The root's name, its children that are text, and those that have children of their own.

    An entry is the child's name with the texts in it; what lies deeper is left out.
    """

    root: str
    fields: dict[str, str]
    entries: Sequence[tuple[str, dict[str, str]]]


class _Reader(Reader):
    root = None
    max_bytes = MAX_LISTING

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.fields: dict[str, str] = {}
        self.entries: list[tuple[str, dict[str, str]]] = []
        self._entry: dict[str, str] = {}
        self._elements = 0

    def opened(self, depth: int, name: str) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise malformed()
        if depth == 1:
            self.name = name

    def closed(self, depth: int, name: str, text: str) -> None:
        if depth == 3:
            self._entry[name] = text
        elif depth == 2 and self._entry:
            self.entries.append((name, self._entry))
            self._entry = {}
        elif depth == 2:
            self.fields[name] = text


def read_document(data: bytes, *, strict: bool = False) -> Document | None:
    """
    Return what is in `data`, None if it is not a document that we can read.

    :param strict: do not overlook characters that XML has no place for. Services write them into
        names all the same, which is no matter where the name is not what we want to know.
    """
    # Long operations send white space to show that they live, before the declaration even.
    reader = _Reader()
    try:
        reader.feed(data.lstrip() if strict else _IMPOSSIBLE.sub(b"?", data.lstrip()))
        reader.close()
    except S3Error:
        return None
    return Document(reader.name, reader.fields, reader.entries)


@frozen
class Named:
    """One entry of a listing, its name in plain."""

    kind: str
    name: str
    fields: dict[str, str]


def named_entries(document: Document, kinds: Iterable[str], *, encoded: bool | None = None) -> list[Named]:
    """
    Return the entries of these kinds, with their names in plain.

    :param encoded: whether names are percent-encoded; unless given, the document says so.
    """
    wanted = frozenset(kinds)
    if encoded is None:
        encoded = is_encoded(document)
    return [
        Named(kind, plain(fields.get("Key", ""), encoded=encoded), fields)
        for kind, fields in document.entries
        if kind in wanted
    ]


def is_encoded(document: Document) -> bool:
    """Whether its names are percent-encoded: not every service does what it was asked."""
    return document.fields.get("EncodingType") == "url"


def plain(text: str, *, encoded: bool) -> str:
    """Decode a name; some services write a space as `+`, and all of them a plus as `%2B`."""
    return unquote_plus(text) if encoded else text


def milliseconds(text: str) -> int:
    """
    Read a time as documents have it.

    :raises BackendUnavailable: it is none.
    """
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BackendUnavailable(f"a listing with a time that is none: {text[:100]!r}") from None


def whole_number(text: str) -> int | None:
    """Read a number as documents have it; None if it is none, or has more digits than any size."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def complete_document(parts: Iterable[tuple[int, str]]) -> bytes:
    """Write the list of parts, each a number and an ETag, that make the object."""
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etag)}&quot;</ETag></Part>"
        for number, etag in parts
    )
    return f'<CompleteMultipartUpload xmlns="{NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()
